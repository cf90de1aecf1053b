// Batch norm of rows that are cut into parts, on the GPU: the moments of a part, those of all, and the gradient by way
// of them.
#include "tensor/moments.h"

#include <cmath>

#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/norm.h"

namespace la {
namespace {

using namespace cuda;

/// Mean and variance of each channel from the partial sums, and the number of rows.
template <class T>
__global__ void finish_moments_kernel(int64_t parts, int64_t rows, int64_t channels, const float* partial,
                                      const T* x, float* moments) {
  if (global_thread() == 0) moments[2 * channels] = static_cast<float>(rows);
  add_partial_sums<2>(parts, channels, partial, [&](int64_t c, const double(&sum)[2]) {
    const MeanAndVariance of_part(x[c], sum, static_cast<double>(rows));
    moments[c] = static_cast<float>(of_part.mean);
    moments[channels + c] = static_cast<float>(of_part.variance);
  });
}

struct RunningStatistics {
  float *mean, *variance;
  float momentum;
};

__global__ void combine_moments_kernel(int64_t count, int64_t channels, const float* parts,
                                       RunningStatistics running, float* moments) {
  for (int64_t c = global_thread(); c < channels; c += global_threads()) {
    const ChannelMoments all = combined_moments(parts, count, channels, c);
    const auto mean = static_cast<float>(all.mean);
    const auto unbiased = static_cast<float>(all.unbiased_variance());
    moments[c] = mean;
    moments[channels + c] = static_cast<float>(all.variance());
    if (c == 0) moments[2 * channels] = static_cast<float>(all.rows);
    running.mean[c] += running.momentum * (mean - running.mean[c]);
    running.variance[c] += running.momentum * (unbiased - running.variance[c]);
  }
}

__global__ void moments_gradient_kernel(int64_t channels, const float* weight, const float* moments,
                                        const float* sums, float epsilon, float* slopes, float* offsets) {
  for (int64_t c = global_thread(); c < channels; c += global_threads()) {
    const auto line = MomentsGradient::of(weight, moments, sums, epsilon, channels, c);
    slopes[c] = line.slope;
    offsets[c] = line.offset;
  }
}

/// dx += slope (x - mean) + offset. Reads dx and x once, writes dx once.
template <int width, class T>
__global__ void __launch_bounds__(channel_threads, forward_blocks)
    add_lines_kernel(ChannelTiling tiling, const float* slopes, const float* offsets, const float* means,
                     const T* x, T* dx) {
  using Values = Pack<T, width>;
  struct Loaded {
    Values dx, x;
  };
  const int64_t channel = first_channel<width>(tiling);
  float slope[width] = {}, mean[width] = {}, constant[width] = {};
  if (channel < tiling.channels) {
    load_floats(slopes + channel, slope);
    load_floats(offsets + channel, constant);
    load_floats(means + channel, mean);
  }
  const auto load = [&](int64_t offset) {
    return Loaded{Values::load(dx + offset), Values::load(x + offset)};
  };
  for_each_pack<width>(tiling, load, [&](int64_t offset, const Loaded& from) {
    Values to;
    for (int e = 0; e < width; ++e) {
      const float rest = std::fma(slope[e], static_cast<float>(from.x.value[e]) - mean[e], constant[e]);
      to.value[e] = T(static_cast<float>(from.dx.value[e]) + rest);
    }
    to.store(dx + offset);
  });
}

LaunchShape of_channels(int64_t channels) { return {blocks_for(channels, channel_threads), channel_threads}; }

}  // namespace

void CudaBackend::batch_moments(const Tensor& x, const Tensor& moments) {
  const auto run = [&]<class T, class Width>(T, Width) {
    const ChannelTiling tiling(x, Width::value, rows_per_thread, busy_blocks(forward_blocks));
    const Tensor partial = sum_deviations<Width::value, T>(tiling, x);
    launch("batch_norm_moments", finish_moments_kernel<T>, shape_of_totals(tiling.blocks.x, tiling.channels),
           tiling.blocks.x, tiling.rows, tiling.channels, partial.data<float>(), x.data<T>(),
           moments.data<float>());
  };
  dispatch(x, run);
}

void CudaBackend::combine_moments(const Tensor& parts, const Tensor& running_mean,
                                  const Tensor& running_variance, float momentum, const Tensor& moments) {
  const int64_t channels = running_mean.numel();
  launch("batch_norm_combine_moments", combine_moments_kernel, of_channels(channels), parts.size(0), channels,
         parts.data<float>(),
         RunningStatistics{running_mean.data<float>(), running_variance.data<float>(), momentum},
         moments.data<float>());
}

void CudaBackend::add_moments_gradient(const Tensor& dx, const Tensor& x, const Tensor& weight,
                                       const Tensor& moments, const Tensor& sums, float epsilon) {
  const int64_t channels = x.size(-1);
  const Tensor slopes = floats({channels}), offsets = floats({channels});
  launch("batch_norm_moments_gradient", moments_gradient_kernel, of_channels(channels), channels,
         weight.data<float>(), moments.data<float>(), sums.data<float>(), epsilon, slopes.data<float>(),
         offsets.data<float>());
  const auto run = [&]<class T, class Width>(T, Width) {
    const ChannelTiling tiling(x, Width::value, rows_per_thread, busy_blocks(forward_blocks));
    launch("batch_norm_add_moments_gradient", add_lines_kernel<Width::value, T>, tiling.shape(), tiling,
           slopes.data<float>(), offsets.data<float>(), moments.data<float>(), x.data<T>(), dx.data<T>());
  };
  dispatch(x, run, dx, moments);
}

}  // namespace la
