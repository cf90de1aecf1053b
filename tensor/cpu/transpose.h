// Transposing in SIMD registers.
#pragma once

#include "tensor/vector_math.h"

namespace la {

/// Transposes a square of registers: each round interleaves the lanes of the first half of the registers with
/// those of the second, which moves one bit of the row number into the lane number.
inline void transpose(Floats (&x)[simd_lanes]) {
  constexpr int half = simd_lanes / 2;
  const auto low = [](int i) { return i / 2 + i % 2 * simd_lanes; };
  const auto high = [](int i) { return half + i / 2 + i % 2 * simd_lanes; };
  for (int round = 1; round < simd_lanes; round *= 2) {
    Floats y[simd_lanes];
    for (int i = 0; i < half; ++i) {
      y[2 * i] = shuffled(x[i], x[i + half], low);
      y[2 * i + 1] = shuffled(x[i], x[i + half], high);
    }
    for (int i = 0; i < simd_lanes; ++i) x[i] = y[i];
  }
}

}  // namespace la
