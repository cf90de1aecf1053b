// Operations on rows and channels on the GPU.
#include <cmath>

#include "tensor/cuda/channels.h"
#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/kernel.h"

namespace la {
namespace {

using namespace cuda;

constexpr int threads = 256;
constexpr int warps = threads / warp_size;

// ---- Channels ---------------------------------------------------------------------------------------------

/// y = x + bias of the channel. Reads x and writes y once.
template <int width, class T>
__global__ void add_bias_kernel(ChannelTiling tiling, const T* x, const float* bias, T* y) {
  float own[width] = {};
  const int64_t channel = first_channel<width>(tiling);
  for (int e = 0; e < width && channel < tiling.channels; ++e) own[e] = bias[channel + e];
  const auto load = [&](int64_t offset) { return Pack<T, width>::load(x + offset); };
  for_each_pack<width>(tiling, load, [&](int64_t offset, Pack<T, width> pack) {
    for (int e = 0; e < width; ++e) pack.value[e] = T(static_cast<float>(pack.value[e]) + own[e]);
    pack.store(y + offset);
  });
}

/// Partial sums of the columns. Reads x once.
template <int width, class T>
__global__ void sum_rows_kernel(ChannelTiling tiling, const T* x, float* partial) {
  sum_over_rows<width, 1>(
      tiling, partial, [&](int64_t offset) { return Pack<T, width>::load(x + offset); },
      [&](int64_t, const Pack<T, width>& pack, float(&own)[1][width]) {
        for (int e = 0; e < width; ++e) own[0][e] += static_cast<float>(pack.value[e]);
      });
}

__global__ void finish_sums_kernel(int64_t parts, int64_t channels, const float* partial, float* y) {
  add_partial_sums<1>(parts, channels, partial,
                      [&](int64_t c, const double(&sum)[1]) { y[c] = static_cast<float>(sum[0]); });
}

/// y[n, p, c] = x[n, p, c] * s[n, c]. Reads x and writes y once; s stays in the cache.
template <class T>
__global__ void scale_channels_kernel(int64_t n, int64_t positions, int64_t channels, const T* x, const T* s,
                                      T* y) {
  for (int64_t i = global_thread(); i < n; i += global_threads()) {
    const int64_t picture = i / (positions * channels), channel = i % channels;
    y[i] = T(static_cast<float>(x[i]) * static_cast<float>(s[picture * channels + channel]));
  }
}

/// y[n, c] = sum over p of a[n, p, c] * b[n, p, c], one thread each. Reads a and b once.
template <class T>
__global__ void sum_product_spatial_kernel(int64_t n, int64_t positions, int64_t channels, const T* a,
                                           const T* b, T* y) {
  for (int64_t i = global_thread(); i < n; i += global_threads()) {
    const int64_t first = i / channels * positions * channels + i % channels;
    float sum = 0.0f;
    for (int64_t at = first; at < first + positions * channels; at += channels)
      sum = std::fma(static_cast<float>(a[at]), static_cast<float>(b[at]), sum);
    y[i] = T(sum);
  }
}

// ---- All elements, rows -----------------------------------------------------------------------------------

/// y = the mean of x, by one block: x is as long as a batch. Reads x once.
__global__ void mean_kernel(int64_t n, const float* x, float* y) {
  double sum = 0.0;
  for (int64_t i = threadIdx.x; i < n; i += threads) sum += static_cast<double>(x[i]);
  sum = block_reduce(sum, Sum(), 0.0);
  if (threadIdx.x == 0) *y = static_cast<float>(sum / static_cast<double>(n));
}

/// The sum over the columns of a[c] * b[c], by one warp; each lane has it.
__device__ float dot(const float* a, const float* b, int64_t columns) {
  float sum = 0.0f;
  for (int64_t c = lane_id(); c < columns; c += warp_size) sum = std::fma(a[c], b[c], sum);
  return warp_reduce(sum, Sum());
}

__device__ float inverse_of(float norm) { return norm == 0.0f ? 0.0f : 1.0f / norm; }

/// y = x / norm, one warp for each row. Reads x twice, the second time from the cache, and writes y once.
__global__ void l2_normalize_kernel(int64_t rows, int64_t columns, const float* x, float* y, float* norms) {
  const int64_t row = global_thread() / warp_size;
  if (row >= rows) return;
  const float* from = x + row * columns;
  const float norm = std::sqrt(dot(from, from, columns)), inverse = inverse_of(norm);
  for (int64_t c = lane_id(); c < columns; c += warp_size) y[row * columns + c] = from[c] * inverse;
  if (lane_id() == 0) norms[row] = norm;
}

/// dx = (dy - (dy . y) y) / norm, one warp for each row. Reads dy and y twice, the second time from the
/// cache, and writes dx once.
__global__ void l2_normalize_backward_kernel(int64_t rows, int64_t columns, const float* dy, const float* y,
                                             const float* norms, float* dx) {
  const int64_t row = global_thread() / warp_size;
  if (row >= rows) return;
  const float *g = dy + row * columns, *unit = y + row * columns;
  const float along = dot(g, unit, columns), inverse = inverse_of(norms[row]);
  for (int64_t c = lane_id(); c < columns; c += warp_size)
    dx[row * columns + c] = (g[c] - along * unit[c]) * inverse;
}

/// Calls f(T(), width) with the type of x and the widest access that rows of it allow.
template <class F>
void dispatch(const Tensor& x, bool aligned, F f) {
  dispatch_float(x.dtype(), [&]<class T>(T type) {
    dispatch_width<T>(x.size(-1), aligned, [&](auto width) { f(type, width); });
  });
}

bool is_aligned(const Tensor& x) { return aligned_for_vectors(static_cast<const std::byte*>(x.raw())); }

}  // namespace

void CudaBackend::add_bias(const Tensor& x, const Tensor& bias, const Tensor& y) {
  dispatch(x, is_aligned(x) && is_aligned(y), [&]<class T, class Width>(T, Width) {
    const ChannelTiling tiling(x, Width::value, 4, int64_t{1} << 30);
    launch("add_bias", add_bias_kernel<Width::value, T>, tiling.shape(), tiling, x.data<T>(),
           bias.data<float>(), y.data<T>());
  });
}

void CudaBackend::sum_rows(const Tensor& x, const Tensor& y) {
  dispatch(x, is_aligned(x), [&]<class T, class Width>(T, Width) {
    const ChannelTiling tiling(x, Width::value, 4, busy_blocks(4));
    const Tensor partial({tiling.blocks.x, tiling.channels}, DType::f32, Device::cuda());
    launch("sum_rows", sum_rows_kernel<Width::value, T>, tiling.shape(), tiling, x.data<T>(),
           partial.data<float>());
    launch("sum_rows_finish", finish_sums_kernel, shape_of_totals(tiling.blocks.x, tiling.channels),
           tiling.blocks.x, tiling.channels, partial.data<float>(), y.data<float>());
  });
}

void CudaBackend::mean(const Tensor& x, const Tensor& y) {
  launch("mean", mean_kernel, {1, threads}, x.numel(), x.data<float>(), y.data<float>());
}

void CudaBackend::scale_channels(const Tensor& x, const Tensor& s, const Tensor& y) {
  dispatch_float(x.dtype(), [&]<class T>(T) {
    launch("scale_channels", scale_channels_kernel<T>, {blocks_for(x.numel(), threads), threads}, x.numel(),
           x.size(1) * x.size(2), x.size(3), x.data<T>(), s.data<T>(), y.data<T>());
  });
}

void CudaBackend::sum_product_spatial(const Tensor& a, const Tensor& b, const Tensor& y) {
  dispatch_float(a.dtype(), [&]<class T>(T) {
    launch("sum_product_spatial", sum_product_spatial_kernel<T>, {blocks_for(y.numel(), threads), threads},
           y.numel(), a.size(1) * a.size(2), a.size(3), a.data<T>(), b.data<T>(), y.data<T>());
  });
}

void CudaBackend::l2_normalize(const Tensor& x, const Normalized& out) {
  launch("l2_normalize", l2_normalize_kernel, {blocks_for(x.size(0), warps), threads}, x.size(0), x.size(1),
         x.data<float>(), out.y.data<float>(), out.norm.data<float>());
}

void CudaBackend::l2_normalize_backward(const Tensor& dy, const Normalized& forward, const Tensor& dx) {
  launch("l2_normalize_backward", l2_normalize_backward_kernel, {blocks_for(dy.size(0), warps), threads},
         dy.size(0), dy.size(1), dy.data<float>(), forward.y.data<float>(), forward.norm.data<float>(),
         dx.data<float>());
}

}  // namespace la
