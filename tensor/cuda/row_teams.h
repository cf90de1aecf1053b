// Work on the rows of a matrix: a team of threads takes each row, a warp, or a whole block where rows are
// long. Its threads read neighboring packs, and combine what they have in an order that depends on the row's
// length alone.
#pragma once

#include "tensor/cuda/kernel.h"
#include "tensor/tensor.h"

namespace la::cuda {

constexpr int row_threads = 256;  // of a block

/// `size` threads: warp_size or row_threads.
template <int size>
struct Team {
  __device__ static int64_t row() { return global_thread() / size; }
  __device__ static bool leads() { return threadIdx.x % size == 0; }

  /// f(first column) for each pack of `width` columns of this thread.
  template <int width, class F>
  __device__ static void for_each_pack(int64_t columns, F f) {
    for (int64_t c = threadIdx.x % size * width; c < columns; c += size * width) f(c);
  }

  /// The values of all threads combined by f, for each of them.
  template <class T, class F>
  __device__ static T reduce(T value, F f, T neutral) {
    if constexpr (size == warp_size)
      return warp_reduce(value, f);
    else
      return block_reduce(value, f, neutral);
  }

  static LaunchShape shape(int64_t rows) { return {blocks_for(rows, row_threads / size), row_threads}; }
};

/// Calls f(Team, T(), std::integral_constant<int, width>()) for rows of type T with so many columns, where
/// `aligned` says that the arrays allow 16-byte accesses.
template <class F>
void dispatch_rows(DType dtype, int64_t columns, bool aligned, F&& f) {
  constexpr int64_t long_row = 2048;
  dispatch_float(dtype, [&]<class T>(T type) {
    dispatch_width<T>(columns, aligned, [&](auto width) {
      if (columns >= long_row)
        f(Team<row_threads>(), type, width);
      else
        f(Team<warp_size>(), type, width);
    });
  });
}

/// Whether both allow 16-byte accesses.
inline bool both_aligned(const Tensor& a, const Tensor& b) {
  return aligned_for_vectors(static_cast<const std::byte*>(a.raw()), static_cast<const std::byte*>(b.raw()));
}

}  // namespace la::cuda
