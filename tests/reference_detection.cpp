// Reference loops of object detection.
#include <algorithm>
#include <numeric>

#include "tests/reference.h"

namespace la::reference {
namespace {

/// Where the samples of one cell lie along an axis.
std::vector<Bounded> positions(const Bounded& low, const Bounded& high, int cell, int cells,
                               const RegionGrid& grid) {
  const Bounded scale(grid.spatial_scale), count(cells), number(cell);
  Bounded begin = low * scale, end = high * scale;
  if (grid.samples == RegionGrid::Samples::at_corners) {
    if (cells == 1) return {begin + Bounded(0.5) * (end - begin)};
    if (cell == cells - 1) return {end};
    return {begin + number / (count - Bounded(1)) * (end - begin)};
  }
  if (grid.aligned) {
    begin = begin - Bounded(0.5);
    end = end - Bounded(0.5);
  } else if (end.value - begin.value < 1) {
    end = begin + Bounded(1);
  }
  const Bounded size = (end - begin) / count;
  const int samples =
      grid.sampling_ratio > 0 ? grid.sampling_ratio : std::max(0, static_cast<int>(std::ceil(size.value)));
  std::vector<Bounded> result;
  for (int s = 0; s < samples; ++s)
    result.push_back(begin + (number + Bounded(s + 0.5) * (Bounded(1) / Bounded(samples))) * size);
  return result;
}

/// The part of pixel q in a linear sample: 1 at its center, falling to 0 at its neighbors.
Bounded part_of(int64_t q, Bounded position, int64_t extent, double reach) {
  const auto last = static_cast<double>(extent - 1);
  if (!(position.value >= -reach && position.value <= last + reach)) return {};
  position.value = std::clamp(position.value, 0.0, last);
  const double distance = std::abs(position.value - static_cast<double>(q));
  if (distance > 1 + position.error) return {};
  return Bounded(std::max(0.0, 1 - distance), position.error).rounded(2);
}

/// Calls f(cell [r, i, j], pixel (n, h, w), weight) for all pairs of a cell and a pixel in one of its
/// samples.
template <class F>
void for_each_sample(const Array& boxes, const Array& pictures, const Shape& x, const RegionGrid& grid, F f) {
  const double reach = grid.samples == RegionGrid::Samples::at_corners ? 0 : 1;
  for (int64_t r = 0; r < boxes.size(0); ++r)
    for (int i = 0; i < grid.height; ++i)
      for (int j = 0; j < grid.width; ++j) {
        const auto down = positions(boxes.at(r, 1), boxes.at(r, 3), i, grid.height, grid);
        const auto across = positions(boxes.at(r, 0), boxes.at(r, 2), j, grid.width, grid);
        const Bounded share = Bounded(1) / Bounded(static_cast<double>(down.size() * across.size()));
        for (const Bounded& y : down)
          for (const Bounded& z : across)
            for (int64_t h = 0; h < x[1]; ++h) {
              const Bounded above = part_of(h, y, x[1], reach);
              if (above.value == 0 && above.error == 0) continue;
              for (int64_t w = 0; w < x[2]; ++w) {
                const Bounded weight = above * part_of(w, z, x[2], reach) * share;
                if (weight.value == 0 && weight.error == 0) continue;
                f((r * grid.height + i) * grid.width + j, (pictures.index(r) * x[1] + h) * x[2] + w, weight);
              }
            }
      }
}

Array totals(const std::vector<Sum>& sums, const Shape& shape, DType dtype) {
  Array y(shape, dtype);
  std::transform(sums.begin(), sums.end(), y.values.begin(), [](const Sum& sum) { return sum.total(); });
  return y;
}

struct Extents {
  Bounded width, height, x, y;  // of the center

  Extents(const Array& boxes, int64_t i, float extent)
      : width(boxes.at(i, 2) - boxes.at(i, 0) + Bounded(extent)),
        height(boxes.at(i, 3) - boxes.at(i, 1) + Bounded(extent)),
        x(boxes.at(i, 0) + Bounded(0.5) * width),
        y(boxes.at(i, 1) + Bounded(0.5) * height) {}
};

Bounded overlap(const Array& a, int64_t i, const Array& b, int64_t j, float extent) {
  const auto side = [&](int low) {
    const Bounded& end =
        a.at(i, low + 2).value < b.at(j, low + 2).value ? a.at(i, low + 2) : b.at(j, low + 2);
    const Bounded& begin = a.at(i, low).value > b.at(j, low).value ? a.at(i, low) : b.at(j, low);
    return positive_part(end - begin + Bounded(extent));
  };
  const Extents first(a, i, extent), second(b, j, extent);
  const Bounded intersection = side(0) * side(1);
  const Bounded both = first.width * first.height + second.width * second.height - intersection;
  return both.value > 0 ? intersection / both : Bounded();
}

}  // namespace

Array sample_regions(const Array& x, const Array& boxes, const Array& pictures, const RegionGrid& grid) {
  const Shape shape{boxes.size(0), grid.height, grid.width, x.shape[3]};
  std::vector<Sum> sums(static_cast<size_t>(shape.numel()));
  for_each_sample(boxes, pictures, x.shape, grid, [&](int64_t cell, int64_t pixel, const Bounded& weight) {
    for (int64_t c = 0; c < x.columns(); ++c)
      sums[static_cast<size_t>(cell * x.columns() + c)].add(weight * x.at(pixel, c));
  });
  return totals(sums, shape, x.dtype);
}

Array sample_regions_backward(const Array& dy, const Array& boxes, const Array& pictures,
                              const Shape& x_shape, const RegionGrid& grid) {
  std::vector<Sum> sums(static_cast<size_t>(x_shape.numel()));
  for_each_sample(boxes, pictures, x_shape, grid, [&](int64_t cell, int64_t pixel, const Bounded& weight) {
    for (int64_t c = 0; c < dy.columns(); ++c)
      sums[static_cast<size_t>(pixel * dy.columns() + c)].add(weight * dy.at(cell, c));
  });
  return totals(sums, x_shape, dy.dtype);
}

// Overlaps are compared with the threshold as f32 numbers: exact where coordinates are small integers.
Arrays nms(const Array& boxes, const Array& scores, const NmsOptions& options) {
  std::vector<int64_t> order(static_cast<size_t>(boxes.size(0))), kept;
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return scores[a].value > scores[b].value; });
  for (int64_t i : order) {
    if (static_cast<int64_t>(kept.size()) == options.most) break;
    const bool overlaps = std::any_of(kept.begin(), kept.end(), [&](int64_t k) {
      return static_cast<float>(overlap(boxes, k, boxes, i, options.extent).value) > options.iou_threshold;
    });
    if (!overlaps) kept.push_back(i);
  }
  Array indices({std::min(options.most, boxes.size(0))}, DType::i32), count({1}, DType::i32);
  std::fill(indices.values.begin(), indices.values.end(), Bounded(-1));
  std::transform(kept.begin(), kept.end(), indices.values.begin(),
                 [](int64_t i) { return Bounded(static_cast<double>(i)); });
  count[0] = Bounded(static_cast<double>(kept.size()));
  return {indices, count};
}

Array encode_boxes(const Array& anchors, const Array& boxes, const BoxCoding& coding) {
  Array codes(boxes.shape);
  for (int64_t i = 0; i < boxes.rows(); ++i) {
    const Extents anchor(anchors, i, coding.extent), box(boxes, i, coding.extent);
    codes.at(i, 0) = Bounded(coding.weights[0]) * (box.x - anchor.x) / anchor.width;
    codes.at(i, 1) = Bounded(coding.weights[1]) * (box.y - anchor.y) / anchor.height;
    codes.at(i, 2) = Bounded(coding.weights[2]) * log(box.width / anchor.width);
    codes.at(i, 3) = Bounded(coding.weights[3]) * log(box.height / anchor.height);
  }
  return codes;
}

Array decode_boxes(const Array& anchors, const Array& codes, const BoxCoding& coding) {
  Array boxes(codes.shape);
  const int64_t each = codes.columns() / 4;
  for (int64_t i = 0; i < codes.numel() / 4; ++i) {
    const Extents anchor(anchors, i / each, coding.extent);
    const auto code = [&](int k) { return codes[4 * i + k] / Bounded(coding.weights[k]); };
    const auto ratio = [&](Bounded log_ratio) {
      log_ratio.value = std::min(log_ratio.value, static_cast<double>(coding.most_log_ratio));
      return exp(log_ratio);
    };
    const Bounded x = code(0) * anchor.width + anchor.x, y = code(1) * anchor.height + anchor.y;
    const Bounded half_width = Bounded(0.5) * ratio(code(2)) * anchor.width,
                  half_height = Bounded(0.5) * ratio(code(3)) * anchor.height;
    boxes[4 * i] = x - half_width;
    boxes[4 * i + 1] = y - half_height;
    boxes[4 * i + 2] = x + half_width;
    boxes[4 * i + 3] = y + half_height;
  }
  return boxes;
}

Array box_iou(const Array& a, const Array& b, float extent) {
  Array y({a.size(0), b.size(0)});
  for (int64_t i = 0; i < a.size(0); ++i)
    for (int64_t j = 0; j < b.size(0); ++j) y.at(i, j) = overlap(a, i, b, j, extent);
  return y;
}

Bounded smooth_l1(const Bounded& d, float sigma) {
  const Bounded square = Bounded(sigma) * Bounded(sigma), size(std::abs(d.value), d.error);
  if (size.value < 1 / square.value) return Bounded(0.5) * square * d * d;
  return size - Bounded(0.5) / square;
}

Bounded smooth_l1_slope(const Bounded& d, float sigma) {
  const Bounded square = Bounded(sigma) * Bounded(sigma);
  if (std::abs(d.value) < 1 / square.value) return square * d;
  return d.value > 0 ? 1 : -1;
}

}  // namespace la::reference
