// Sums of rows by a block of warps.
#pragma once

#include "tensor/cuda/kernel.h"

namespace la::cuda {

/// y[column] <- the sum of what the warps of the block have, added in their order, for the 32 packs of columns from first_column
/// on, of `depth` columns in all. own: what this lane has of its pack.
template <int warps, int width>
__device__ void add_warps(const Pack<float, width>& own, int64_t first_column, int64_t depth, float* y) {
  struct Sums {
    float of_warp[warps][warp_size * width];
  };
  Sums& shared = shared_memory<Sums>();
  own.store(&shared.of_warp[warp_id()][lane_id() * width]);
  __syncthreads();
  for (int c = static_cast<int>(threadIdx.x); c < warp_size * width && first_column + c < depth;
       c += warps * warp_size) {
    float total = 0.0f;
    for (int w = 0; w < warps; ++w) total += shared.of_warp[w][c];
    y[first_column + c] = total;
  }
}

}  // namespace la::cuda
