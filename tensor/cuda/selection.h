// Exact selection of the k largest of each row of scores. What is selected is kept as keys: 64-bit numbers
// whose order is that of the scores, and of equal scores that of the falling index, so that no two are equal.
#pragma once

#include "tensor/cuda/kernel.h"
#include "tensor/op_types.h"

namespace la::cuda {

using Key = unsigned long long;

/// Floats and the unsigned integers of the same order; zeros of both signs are equal.
__device__ inline uint32_t order_of(float score) {
  const uint32_t bits = __float_as_uint(score + 0.0f);  // turns -0 into 0
  return bits ^ (bits >> 31 != 0 ? 0xffffffffu : 0x80000000u);
}
__device__ inline Key key_of(float score, int64_t index) {
  return Key{order_of(score)} << 32 | (0xffffffffu - static_cast<uint32_t>(index));
}
__device__ inline float score_of(Key key) {
  const auto order = static_cast<uint32_t>(key >> 32);
  return __uint_as_float(order ^ (order >> 31 != 0 ? 0x80000000u : 0xffffffffu));
}
__device__ inline int32_t index_of(Key key) {
  return static_cast<int32_t>(0xffffffffu - static_cast<uint32_t>(key));
}

/// The keys of the k largest scores of each row, i64 [R, k], in no particular order. scores: f32 [R, N], 1 <=
/// k
/// <= N. Of a NaN, `nan_report` is told the row.
Tensor select_largest(const Tensor& scores, int64_t k, const Reporter& nan_report);

/// From the largest score down; or by ascending index.
enum class SelectionOrder { by_score, by_index };

/// Sorts the keys, whose contents are lost, and writes what they stand for.
void write_selection(const Tensor& keys, SelectionOrder order, const TopK& out);

}  // namespace la::cuda
