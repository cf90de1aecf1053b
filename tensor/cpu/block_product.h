// Products of matrices that lie in the caches, in f32: the inner part of Winograd's convolutions. The columns
// of the result are as many as some SIMD registers hold; a row and a register are one chain of multiply-adds
// in the order of the depth.
#pragma once

#include "tensor/vector_math.h"

namespace la {

// A tile of 6 rows of sums fills the registers: 6 x 4 of 32 with AVX-512, 6 x 2 of 16 before.
constexpr int product_rows = 6;
constexpr int product_vectors = simd_lanes == 16 ? 4 : 2;
constexpr int product_width = product_vectors * simd_lanes;

/// A matrix in memory: element (i, j) is at data[i * row + j * column].
struct MatrixView {
  float* data;
  int64_t row, column;

  MatrixView from_row(int64_t i) const { return {data + i * row, row, column}; }
  MatrixView transposed() const { return {data, column, row}; }
};

namespace detail {

template <int rows, int vectors>
void multiply_tile(const MatrixView& a, const MatrixView& b, int64_t depth, bool add, const MatrixView& c) {
  Floats sums[rows][vectors];
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < vectors; ++v) sums[r][v] = add ? load(c.data + r * c.row + v * simd_lanes) : Floats{};
  const float *left = a.data, *right = b.data;
  for (int64_t k = 0; k < depth; ++k, left += a.column, right += b.row) {
    Floats columns[vectors];
    for (int v = 0; v < vectors; ++v) columns[v] = load(right + v * simd_lanes);
    for (int r = 0; r < rows; ++r)
      for (int v = 0; v < vectors; ++v) sums[r][v] += left[r * a.row] * columns[v];
  }
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < vectors; ++v) store(c.data + r * c.row + v * simd_lanes, sums[r][v]);
}

template <int vectors>
void multiply_rows(const MatrixView& a, const MatrixView& b, int64_t rows, int64_t depth, bool add,
                   const MatrixView& c) {
  for (int64_t r = 0; r < rows; r += product_rows) {
    const MatrixView from = a.from_row(r), to = c.from_row(r);
    switch (rows - r) {
      case 1:
        multiply_tile<1, vectors>(from, b, depth, add, to);
        break;
      case 2:
        multiply_tile<2, vectors>(from, b, depth, add, to);
        break;
      case 3:
        multiply_tile<3, vectors>(from, b, depth, add, to);
        break;
      case 4:
        multiply_tile<4, vectors>(from, b, depth, add, to);
        break;
      case 5:
        multiply_tile<5, vectors>(from, b, depth, add, to);
        break;
      default:
        multiply_tile<product_rows, vectors>(from, b, depth, add, to);
    }
  }
}

}  // namespace detail

/// c = a b, or c + a b with `add`: a [rows, depth], b [depth, columns], c [rows, columns]; columns of b and c
/// lie side by side, at most product_width of them and a multiple of simd_lanes.
inline void block_product(const MatrixView& a, const MatrixView& b, int64_t rows, int64_t columns,
                          int64_t depth, bool add, const MatrixView& c) {
  static_assert(product_vectors == 4 || product_vectors == 2);
  switch (columns / simd_lanes) {
    case 1:
      return detail::multiply_rows<1>(a, b, rows, depth, add, c);
    case 2:
      return detail::multiply_rows<2>(a, b, rows, depth, add, c);
    case 3:
      return detail::multiply_rows<3>(a, b, rows, depth, add, c);
    default:
      return detail::multiply_rows<product_vectors>(a, b, rows, depth, add, c);
  }
}

}  // namespace la
