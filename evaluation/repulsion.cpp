#include "evaluation/repulsion.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "tensor/parallel.h"

namespace la {
namespace {

constexpr int64_t support = 4;        // nodes that a spline touches along a side
constexpr int64_t most_cells = 1000;  // along a side

using Weights = std::array<float, support>;

/// The cell along one side, and the spline's values at the nodes around it.
struct Place {
  int64_t cell;
  Weights weights;
};

Place place_of(float coordinate, float corner, float spacing) {
  const float u = (coordinate - corner) / spacing;
  const float floor = std::floor(u), t = u - floor, s = 1 - t;
  return {static_cast<int64_t>(floor),
          {s * s * s / 6, (t * t * (3 * t - 6) + 4) / 6, (s * s * (3 * s - 6) + 4) / 6, t * t * t / 6}};
}

/// What a point gets of itself by way of the grid: a little less or more than w^2 = 1.
float share_of_itself(const GridConvolution& convolution, const Weights& across, const Weights& down) {
  float sum = 0;
  for (int64_t dx = 0; dx < support; ++dx)
    for (int64_t dy = 0; dy < support; ++dy) {
      float x = 0, y = 0;  // pairs of nodes that far apart
      for (int64_t j = 0; j + dx < support; ++j) x += across[j] * across[j + dx];
      for (int64_t j = 0; j + dy < support; ++j) y += down[j] * down[j + dy];
      const float directions = (dx == 0 ? 1.0f : 2.0f) * (dy == 0 ? 1.0f : 2.0f);
      sum += directions * x * y * convolution.between(dx, dy);
    }
  return sum;
}

}  // namespace

void Repulsion::compute(const std::vector<MapPoint>& points) {
  lay_grid(points);
  sort_by_row(points);
  spread(points);
  convolution_->apply(a_, nodes_);
  convolution_->apply(b_, nodes_);
  read(points);
}

void Repulsion::lay_grid(const std::vector<MapPoint>& points) {
  const auto [left, right] = std::minmax_element(
      points.begin(), points.end(), [](const MapPoint& p, const MapPoint& q) { return p.x < q.x; });
  const auto [bottom, top] = std::minmax_element(
      points.begin(), points.end(), [](const MapPoint& p, const MapPoint& q) { return p.y < q.y; });
  const float side = std::max(right->x - left->x, top->y - bottom->y);
  float spacing = finest_spacing;
  while (spacing * static_cast<float>(most_cells) < side) spacing *= 2;
  corner_ = {left->x, bottom->y};
  nodes_ = static_cast<int64_t>(side / spacing) + support;
  if (convolution_ == nullptr || spacing != spacing_ ||
      GridConvolution::size_for(nodes_) != convolution_->size())
    convolution_ = std::make_unique<GridConvolution>(nodes_, [&](double cells_squared) {
      const double w = 1 / (1 + cells_squared * spacing * spacing);
      return w * w;
    });
  spacing_ = spacing;
}

void Repulsion::sort_by_row(const std::vector<MapPoint>& points) {
  first_of_row_.assign(static_cast<size_t>(nodes_ + 1), 0);
  for (const MapPoint& p : points) ++first_of_row_[place_of(p.y, corner_.y, spacing_).cell + 1];
  std::partial_sum(first_of_row_.begin(), first_of_row_.end(), first_of_row_.begin());
  std::vector<int64_t> next(first_of_row_);
  order_.resize(points.size());
  for (size_t i = 0; i < points.size(); ++i)
    order_[next[place_of(points[i].y, corner_.y, spacing_).cell]++] = static_cast<int32_t>(i);
}

/// Row by row, so that each has one thread, and sums have one order.
void Repulsion::spread(const std::vector<MapPoint>& points) {
  const int64_t size = convolution_->size();
  a_.assign(static_cast<size_t>(nodes_ * size), 0);
  b_.assign(static_cast<size_t>(nodes_ * size), 0);
  parallel_for(nodes_, 32, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      for (int64_t cell = std::max<int64_t>(row - support + 1, 0); cell <= row; ++cell)
        for (int64_t i = first_of_row_[cell]; i < first_of_row_[cell + 1]; ++i) {
          const MapPoint& p = points[order_[i]];
          const float down = place_of(p.y, corner_.y, spacing_).weights[row - cell];
          const auto [column, weights] = place_of(p.x, corner_.x, spacing_);
          const std::complex<float> a(1, p.x), b(p.y, p.x * p.x + p.y * p.y);
          for (int64_t j = 0; j < support; ++j) {
            a_[row * size + column + j] += down * weights[j] * a;
            b_[row * size + column + j] += down * weights[j] * b;
          }
        }
  });
}

/// 1 / (1 + d^2) = (1 + d^2) w^2, and d^2 = |y_i|^2 - 2 y_i . y_j + |y_j|^2.
void Repulsion::read(const std::vector<MapPoint>& points) {
  const int64_t size = convolution_->size(), n = std::ssize(points);
  sums_.resize(points.size());
  totals_.resize(points.size());
  parallel_for(n, 1024, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const MapPoint& p = points[i];
      const auto [column, across] = place_of(p.x, corner_.x, spacing_);
      const auto [row, down] = place_of(p.y, corner_.y, spacing_);
      std::complex<float> a, b;
      for (int64_t r = 0; r < support; ++r)
        for (int64_t c = 0; c < support; ++c) {
          const int64_t node = (row + r) * size + column + c;
          a += down[r] * across[c] * a_[node];
          b += down[r] * across[c] * b_[node];
        }
      const float itself = share_of_itself(*convolution_, across, down);
      a -= itself * std::complex<float>(1, p.x);
      b -= itself * std::complex<float>(p.y, p.x * p.x + p.y * p.y);
      totals_[i] = (1 + double{p.x} * p.x + double{p.y} * p.y) * a.real() -
                   2 * (double{p.x} * a.imag() + double{p.y} * b.real()) + b.imag();
      sums_[i] = {1 + a.real(), {p.x + a.imag(), p.y + b.real()}};
    }
  });
  total_ = std::accumulate(totals_.begin(), totals_.end(), 0.0);
}

}  // namespace la
