// Plane: a small gray picture as registration computes with it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

#include "evaluation/gray_thumbnail.h"
#include "tensor/vector_math.h"

namespace la {

/// A picture with brightness from 0 to 1.
struct Plane {
  static constexpr int margin =
      2;  // pixels around a framed plane that repeat its border, for the cubic filter
  static constexpr int stride = 32;  // floats from row to row
  static_assert(GrayThumbnail::most_side + 2 * margin <= stride && stride % simd_lanes == 0);
  using Row = std::array<float, stride>;
  using Rows = std::array<Row, stride>;

  int height, width;
  alignas(64) Rows rows;  // 0 beyond the picture, as far as a framed one goes

  Plane(int h, int w) : height(h), width(w) { std::fill_n(rows.begin(), h + 2 * margin, Row{}); }
  float* row(int y) { return rows[static_cast<size_t>(y)].data(); }
  const float* row(int y) const { return rows[static_cast<size_t>(y)].data(); }
  int longer() const { return std::max(height, width); }
};

/// Below which a picture is flat: a variance of a hundredth of the step between two values of a byte.
constexpr float least_variance = 0.01f / 255.0f / 255.0f;

}  // namespace la
