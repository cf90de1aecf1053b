#include "tensor/cpu/panels.h"

#include <algorithm>

#include "tensor/cpu/transpose.h"

namespace la {

void pack_panel(const float* columns, int64_t n, int64_t stride, int64_t depth, float* panel) {
  const int64_t squares = n / simd_lanes, deep = depth - depth % simd_lanes;
  for (int64_t v = 0; v < squares; ++v)
    for (int64_t d = 0; d < deep; d += simd_lanes) {
      Floats x[simd_lanes];
      for (int i = 0; i < simd_lanes; ++i) x[i] = load(columns + (v * simd_lanes + i) * stride + d);
      transpose(x);
      for (int i = 0; i < simd_lanes; ++i) store(panel + (d + i) * panel_width + v * simd_lanes, x[i]);
    }
  for (int64_t d = 0; d < depth; ++d) {  // what the squares left
    float* line = panel + d * panel_width;
    for (int64_t c = d < deep ? squares * simd_lanes : 0; c < n; ++c) line[c] = columns[c * stride + d];
    std::fill(line + n, line + panel_width, 0.0f);
  }
}

}  // namespace la
