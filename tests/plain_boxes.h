// Boxes as plain loops take them, and a choice without chance.
#pragma once

#include <algorithm>
#include <array>
#include <vector>

#include "tensor/tensor.h"

namespace la {

/// The first of them, and again from the first where they are too few.
inline std::vector<int32_t> choose_first(const std::vector<int32_t>& from, int64_t count) {
  std::vector<int32_t> chosen;
  for (size_t i = 0; static_cast<int64_t>(i) < count; ++i) chosen.push_back(from[i % from.size()]);
  return chosen;
}

using PlainBox = std::array<double, 4>;

inline std::vector<PlainBox> plain(const Tensor& boxes) {
  const auto values = boxes.to_vector<float>();
  std::vector<PlainBox> result(values.size() / 4);
  for (size_t i = 0; i < values.size(); ++i) result[i / 4][i % 4] = values[i];
  return result;
}

/// Of boxes whose x2 and y2 are their last pixels, by counting in one axis after the other.
inline double overlap(const PlainBox& a, const PlainBox& b) {
  const auto common = [&](size_t axis) {
    return std::max(0.0, std::min(a[axis + 2], b[axis + 2]) + 1 - std::max(a[axis], b[axis]));
  };
  const auto area = [](const PlainBox& x) { return (x[2] - x[0] + 1) * (x[3] - x[1] + 1); };
  const double both = common(0) * common(1);
  return both / (area(a) + area(b) - both);
}

}  // namespace la
