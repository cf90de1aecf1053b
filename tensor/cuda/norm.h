// What the kernels of batch norm share: sums over a batch for its mean and variance, and how accesses get their width.
#pragma once

#include <cmath>

#include "tensor/cuda/channels.h"
#include "tensor/cuda/kernel.h"

namespace la::cuda {

constexpr int64_t rows_per_thread = 4;  // at least
// Blocks a multiprocessor runs at once: as many as the registers allow that the kernels need.
constexpr int forward_blocks = 4;

inline Tensor floats(const Shape& shape) { return Tensor(shape, DType::f32, Device::cuda()); }

/// to <- from, 16 bytes at a time if there are so many.
template <int width>
__device__ void load_floats(const float* from, float (&to)[width]) {
  constexpr int piece = width < vector_width<float> ? 1 : vector_width<float>;
  for (int i = 0; i < width; i += piece) {
    const auto pack = Pack<float, piece>::load(from + i);
    for (int e = 0; e < piece; ++e) to[i + e] = pack.value[e];
  }
}

/// Partial sums of x - origin and of its square, where the origin is the channel's first value: they do not
/// cancel where the mean is large beside the deviation. Reads x once.
template <int width, class T>
__global__ void __launch_bounds__(channel_threads, forward_blocks)
    sum_deviations_kernel(ChannelTiling tiling, const T* x, float* partial) {
  float origin[width] = {};
  const int64_t channel = first_channel<width>(tiling);
  for (int e = 0; e < width && channel < tiling.channels; ++e) origin[e] = static_cast<float>(x[channel + e]);
  using Values = Pack<T, width>;
  sum_over_rows<width, 2>(
      tiling, partial, [&](int64_t offset) { return Values::load(x + offset); },
      [&](int64_t, const Values& from, float(&own)[2][width]) {
        for (int e = 0; e < width; ++e) {
          const float d = static_cast<float>(from.value[e]) - origin[e];
          own[0][e] += d;
          own[1][e] = std::fma(d, d, own[1][e]);
        }
      });
}

template <int width, class T>
Tensor sum_deviations(const ChannelTiling& tiling, const Tensor& x) {
  const Tensor partial = floats({tiling.blocks.x, 2, tiling.channels});
  launch("batch_norm_sums", sum_deviations_kernel<width, T>, tiling.shape(), tiling, x.data<T>(),
         partial.data<float>());
  return partial;
}

/// Of a channel, from its first value and the two sums over its n values.
struct MeanAndVariance {
  double mean, variance;

  template <class T>
  __device__ MeanAndVariance(T first, const double (&sum)[2], double n) {
    const double offset = sum[0] / n, square = sum[1] / n - offset * offset;
    mean = static_cast<double>(static_cast<float>(first)) + offset;
    variance = square < 0.0 ? 0.0 : square;  // keeps NaN
  }
};

/// Calls f(T(), width) with the type of x and the widest access that these tensors allow; undefined ones do
/// not matter.
template <class F, class... Tensors>
void dispatch(const Tensor& x, F f, const Tensors&... others) {
  const auto is_aligned = [](const Tensor& t) {
    return !t.defined() || aligned_for_vectors(static_cast<const std::byte*>(t.raw()));
  };
  const bool aligned = is_aligned(x) && (is_aligned(others) && ...);
  dispatch_float(x.dtype(), [&]<class T>(T type) {
    dispatch_width<T>(x.size(-1), aligned, [&](auto width) { f(type, width); });
  });
}

}  // namespace la::cuda
