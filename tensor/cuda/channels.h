// Work on the columns (channels) of a [rows, channels] array: how the threads of a launch share it out, and
// sums over all rows. Each block sums a strip of the rows into a partial sum, and a small kernel adds those
// in their order, so that the result is the same from run to run.
#pragma once

#include <algorithm>
#include <bit>

#include "tensor/cuda/kernel.h"
#include "tensor/tensor.h"

namespace la::cuda {

constexpr int channel_threads = 256;

/// A block takes a tile of neighboring channels: its threads take `packs` packs of them side by side, in so
/// many rows at once that all have something to do; then it goes on by the rows that all blocks take at once.
struct ChannelTiling {
  int64_t rows, channels;
  int packs;  // a power of two, at most a warp's width
  dim3 blocks;

  /// At least `rows_per_thread` rows for each thread, and at most `most_blocks` blocks where there are more.
  ChannelTiling(const Tensor& x, int width, int64_t rows_per_thread, int64_t most_blocks)
      : rows(x.numel() / std::max<int64_t>(x.size(-1), 1)), channels(x.size(-1)) {
    const int64_t packs_of_row = channels / width;
    packs = std::min(static_cast<int>(std::bit_ceil(static_cast<uint64_t>(packs_of_row))), warp_size);
    blocks.y = blocks_for(packs_of_row, packs);
    const int64_t strips = blocks_for(rows, rows_per_thread * (channel_threads / packs));
    blocks.x = static_cast<unsigned>(
        std::clamp<int64_t>(strips, rows > 0, std::max<int64_t>(most_blocks / std::max(blocks.y, 1u), 1)));
  }

  LaunchShape shape() const { return {blocks, channel_threads}; }
};

/// Blocks that keep all multiprocessors busy, if each runs that many at once (as __launch_bounds__ makes it
/// do). More would have fewer rows each, and read more often what a thread reads once for its channels.
inline int64_t busy_blocks(int at_once) { return int64_t{at_once} * device_properties().multiprocessors; }

/// The first channel of this thread's packs; all are beyond the last where the tile is wider than the array.
template <int width>
__device__ int64_t first_channel(const ChannelTiling& tiling) {
  return (int64_t{blockIdx.y} * tiling.packs + threadIdx.x % tiling.packs) * width;
}

/// use(offset, load(offset)) for the offsets of all packs of this thread, which are of the same channels in
/// different rows. A few are loaded before the first of them is used, for memory answers late.
template <int width, class Load, class Use>
__device__ void for_each_pack(const ChannelTiling& tiling, Load load, Use use) {
  constexpr int loads_at_once = 2;
  const int64_t channel = first_channel<width>(tiling);
  if (channel >= tiling.channels) return;
  const int64_t rows_at_once = channel_threads / tiling.packs;
  const int64_t step = gridDim.x * rows_at_once * tiling.channels, end = tiling.rows * tiling.channels;
  int64_t at = (blockIdx.x * rows_at_once + threadIdx.x / tiling.packs) * tiling.channels + channel;
  for (; at + (loads_at_once - 1) * step < end; at += loads_at_once * step) {
    decltype(load(at)) loaded[loads_at_once];
    for (int i = 0; i < loads_at_once; ++i) loaded[i] = load(at + i * step);
    for (int i = 0; i < loads_at_once; ++i) use(at + i * step, loaded[i]);
  }
  for (; at < end; at += step) use(at, load(at));
}

/// partial [blocks.x, sums, channels] <- this block's part of `sums` sums over the rows. add(offset,
/// load(offset), own) adds a pack's terms to the thread's own sums [sums][width].
template <int width, int sums, class Load, class Add>
__device__ void sum_over_rows(const ChannelTiling& tiling, float* partial, Load load, Add add) {
  struct Own {
    float of_thread[sums][channel_threads * width];
  };
  float own[sums][width] = {};
  for_each_pack<width>(tiling, load, [&](int64_t offset, const auto& pack) { add(offset, pack, own); });

  // Thread t has row t / packs, pack t % packs: one after the other they are rows of the tile.
  Own& shared = shared_memory<Own>();
  const int thread = static_cast<int>(threadIdx.x), tile = tiling.packs * width;
  for (int s = 0; s < sums; ++s)
    for (int e = 0; e < width; ++e) shared.of_thread[s][thread * width + e] = own[s][e];
  __syncthreads();
  for (int c = thread; c < tile; c += channel_threads) {
    const int64_t channel = int64_t{blockIdx.y} * tile + c;
    if (channel >= tiling.channels) break;
    for (int s = 0; s < sums; ++s) {
      float total = 0.0f;
      for (int at = c; at < channel_threads * width; at += tile) total += shared.of_thread[s][at];
      partial[(int64_t{blockIdx.x} * sums + s) * tiling.channels + channel] = total;
    }
  }
}

constexpr int most_total_warps = 32;  // of a block

/// Adds `parts` partial sums in double precision and calls f(channel, totals) for each channel, where totals
/// is double[sums]. A block has a warp's width of channels, whose parts its warps take in turn.
template <int sums, class F>
__device__ void add_partial_sums(int64_t parts, int64_t channels, const float* partial, F f) {
  struct OfWarps {
    double value[sums][most_total_warps][warp_size];
  };
  const int warps = static_cast<int>(blockDim.x) / warp_size;
  OfWarps& shared = shared_memory<OfWarps>();
  const int64_t channel = int64_t{blockIdx.x} * warp_size + lane_id();
  double own[sums] = {};
  if (channel < channels)
    for (int64_t part = warp_id(); part < parts; part += warps)
      for (int s = 0; s < sums; ++s)
        own[s] += static_cast<double>(partial[(part * sums + s) * channels + channel]);
  for (int s = 0; s < sums; ++s) shared.value[s][warp_id()][lane_id()] = own[s];
  __syncthreads();
  if (warp_id() != 0 || channel >= channels) return;
  double totals[sums] = {};
  for (int s = 0; s < sums; ++s)
    for (int w = 0; w < warps; ++w) totals[s] += shared.value[s][w][lane_id()];
  f(channel, totals);
}

/// The launch of a kernel that calls add_partial_sums.
inline LaunchShape shape_of_totals(int64_t parts, int64_t channels) {
  const auto warps = static_cast<int>(std::clamp<int64_t>(parts / 4, 1, most_total_warps));
  return {blocks_for(channels, warp_size), warps * warp_size};
}

}  // namespace la::cuda
