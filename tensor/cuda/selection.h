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

constexpr int list_capacity = 1 << 14;

/// f32 [rows, n], each row `stride` floats behind the one before; the first is row `first_row`
/// of the caller's.
struct Scores {
  float* data;
  int64_t rows, n, stride, first_row = 0;

  __device__ float* row(int64_t r) const { return data + r * stride; }
  /// Room for candidates of a row.
  LA_HD int64_t list_length() const { return n < list_capacity ? n : list_capacity; }
};

/// Most rows of scores that one call selects from.
constexpr int64_t most_score_rows = 65535;

/// Bytes that selecting k of n takes for each row, besides the scores.
int64_t selection_bytes(int64_t n, int64_t k);

/// The keys of the k largest scores of each row, i64 [rows, k], in no particular order; 1 <= k <= n. Of a
/// row with a NaN, whose keys may be anything, `nan_report` is told the number.
Tensor select_largest(const Scores& scores, int64_t k, const Reporter& nan_report);

/// Of rows of `queries` and rows of `table`, f32 with `depth` columns: the dot products.
struct Products {
  const float *queries, *table;
  int64_t depth;
};

/// scores <- all products, the table having scores.n rows.
void compute_products(const Products& products, const Scores& scores);

/// Whether selecting by estimates is possible, and worth it, for so many scores a row.
bool selects_by_estimates(int64_t n, int64_t k);

/// The same for products of which only estimates are known, each within errors[row] (f32, on the device) of
/// the product: those that may be among the k largest are computed. The estimates are lost.
Tensor select_largest_products(const Products& products, const Scores& estimates, const float* errors,
                               int64_t k, const Reporter& nan_report);

/// From the largest score down; or by ascending index.
enum class SelectionOrder { by_score, by_index };

/// Sorts the keys, whose contents are lost, and writes what they stand for.
void write_selection(const Tensor& keys, SelectionOrder order, const TopK& out);

/// dots_i <- the dot product of rows a_i and b_i, by one warp, `width` elements a load; every lane has it.
/// Several at once keep more loads under way.
template <int width, int count>
__device__ void warp_dots(const float* const (&a)[count], const float* const (&b)[count], int64_t depth,
                          float (&dots)[count]) {
  using Floats = Pack<float, width>;
  float sums[count] = {};
  for (int64_t d = lane_id() * width; d < depth; d += warp_size * width) {
    Floats x[count], y[count];
    for (int i = 0; i < count; ++i) {
      x[i] = Floats::load(a[i] + d);
      y[i] = Floats::load(b[i] + d);
    }
    for (int i = 0; i < count; ++i)
      for (int e = 0; e < width; ++e) sums[i] += x[i].value[e] * y[i].value[e];
  }
  for (int i = 0; i < count; ++i) dots[i] = warp_reduce(sums[i], Sum());
}

/// The dot product of two rows by one warp.
template <int width>
__device__ float warp_dot(const float* a, const float* b, int64_t depth) {
  float dot[1];
  warp_dots<width, 1>({a}, {b}, depth, dot);
  return dot[0];
}

}  // namespace la::cuda
