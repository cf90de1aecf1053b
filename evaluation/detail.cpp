#include "evaluation/detail.h"

#include <cmath>

namespace la {
namespace {

/// A Gaussian blur; of a picture's border, the mean of what is within.
class Blur {
 public:
  explicit Blur(double sigma) : reach_(static_cast<int>(std::ceil(3 * sigma))) {
    for (int i = -reach_; i <= reach_; ++i)
      weights_[place(i)] = static_cast<float>(std::exp(-0.5 * i * i / (sigma * sigma)));
  }

  Plane operator()(const Plane& in) const {
    Plane out(in.height, in.width);
    Plane::Row shares = {};
    for (int x = 0; x < in.width; ++x) shares[static_cast<size_t>(x)] = 1 / weight_within(x, in.width);
    std::array<float, Plane::stride + 2 * most_reach> along = {};  // zero beyond the picture
    for (int y = 0; y < in.height; ++y) {
      const float share = 1 / weight_within(y, in.height);
      const int begin = std::max(0, y - reach_), end = std::min(in.height, y + reach_ + 1);
      for (int x = 0; x < in.width; x += simd_lanes) {
        Floats sum = {};
        for (int from = begin; from < end; ++from) sum += weights_[place(from - y)] * load(in.row(from) + x);
        store(along.data() + reach_ + x, share * sum);
      }
      for (int x = 0; x < in.width; x += simd_lanes) {
        Floats sum = {};
        for (int i = 0; i <= 2 * reach_; ++i)
          sum += weights_[static_cast<size_t>(i)] * load(along.data() + i + x);
        store(out.row(y) + x, sum * load(shares.data() + x));
      }
    }
    return out;
  }

 private:
  static constexpr int most_reach = 9;

  size_t place(int i) const { return static_cast<size_t>(i + reach_); }
  float weight_within(int at, int side) const {
    float sum = 0;
    for (int i = std::max(0, at - reach_); i <= std::min(side - 1, at + reach_); ++i)
      sum += weights_[place(i - at)];
    return sum;
  }
  int reach_;
  std::array<float, 2 * most_reach + 1> weights_ = {};
};

/// What is finer than a blur of 3 pixels and coarser than one of 1; of mean 0.
Plane detail(const Plane& plane) {
  static const Blur fine(1), coarse(3);
  Plane result = fine(plane);
  const Plane ground = coarse(plane);
  float sum = 0;
  for (int y = 0; y < plane.height; ++y)
    for (int x = 0; x < plane.width; ++x) sum += result.row(y)[x] -= ground.row(y)[x];
  const float mean = sum / static_cast<float>(plane.height * plane.width);
  for (int y = 0; y < plane.height; ++y)
    for (int x = 0; x < plane.width; ++x) result.row(y)[x] -= mean;
  return result;
}

double dot(const Plane& a, const Plane& b) {
  double sum = 0;
  for (int y = 0; y < a.height; ++y) {
    float of_row = 0;
#pragma omp simd reduction(+ : of_row)
    for (int x = 0; x < a.width; ++x) of_row += a.row(y)[x] * b.row(y)[x];
    sum += of_row;
  }
  return sum;
}

/// The second derivative, of which a blurred picture has lost some.
Plane laplacian(const Plane& plane) {
  Plane result(plane.height, plane.width);
  for (int y = 0; y < plane.height; ++y) {
    const float *row = plane.row(y), *above = plane.row(std::max(y - 1, 0)),
                *below = plane.row(std::min(y + 1, plane.height - 1));
    for (int x = 0; x < plane.width; ++x)
      result.row(y)[x] =
          above[x] + below[x] + row[std::max(x - 1, 0)] + row[std::min(x + 1, plane.width - 1)] - 4 * row[x];
  }
  return result;
}

/// Takes from a its part along a plane of length 1, or 0.
void subtract_part(Plane& a, const Plane& unit) {
  const auto part = static_cast<float>(dot(a, unit));
  for (int y = 0; y < a.height; ++y)
    for (int x = 0; x < a.width; ++x) a.row(y)[x] -= part * unit.row(y)[x];
}
/// To length 1; to 0 if the square of its length is not larger than that.
void normalize(Plane& a, double least_square) {
  const double square = dot(a, a);
  const auto factor = square > least_square ? static_cast<float>(1 / std::sqrt(square)) : 0.0f;
  for (int y = 0; y < a.height; ++y)
    for (int x = 0; x < a.width; ++x) a.row(y)[x] *= factor;
}

/// The multiple correlation of t with w, w^2 and the second derivative of w, all of them the detail: t that of the
/// original, w that of the copy.
float correlation_with(const Plane& t, const Plane& copy, Plane w) {
  Plane squares(copy.height, copy.width);
  for (int y = 0; y < copy.height; ++y)
    for (int x = 0; x < copy.width; ++x) squares.row(y)[x] = copy.row(y)[x] * copy.row(y)[x];
  Plane q = detail(squares), l = detail(laplacian(copy));
  // What adds next to nothing would be noise, scaled up.
  const double least_part = 1e-4 * dot(w, w);
  normalize(w, 0);
  subtract_part(q, w);
  normalize(q, least_part);
  subtract_part(l, w);
  subtract_part(l, q);
  normalize(l, least_part);
  double explained = 0;
  for (const Plane* regressor : {&w, &q, &l}) explained += std::pow(dot(t, *regressor), 2);
  return static_cast<float>(std::sqrt(std::min(explained / dot(t, t), 1.0)));
}

}  // namespace

float correlation_of_detail(const Plane& a, const Plane& b) {
  constexpr float hopeless = 0.95f;
  const Plane of_a = detail(a), of_b = detail(b);
  const double least = least_variance * a.height * a.width;
  if (dot(of_a, of_a) < least || dot(of_b, of_b) < least || dot(of_a, of_b) <= 0) return 0;
  const float one_way = correlation_with(of_a, b, of_b);
  return one_way < hopeless ? one_way : std::max(one_way, correlation_with(of_b, a, of_a));
}

}  // namespace la
