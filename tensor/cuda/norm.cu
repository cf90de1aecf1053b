// Batch normalization on the GPU, fused with the residual sum and ReLU. Two passes over memory forward
// (statistics; normalize), two backward (sums; gradient), with a small kernel between them.
#include <cmath>
#include <limits>

#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/norm.h"

namespace la {
namespace {

using namespace cuda;

// As forward_blocks.
constexpr int gradient_blocks = 3, frozen_blocks = 2;

/// normalized = a x + b, with a = weight * inverse_std and b = bias - mean * a. Forward and backward compute
/// it in the same way, so that they agree on where ReLU let through.
struct Affine {
  const float *weight, *bias, *mean, *inverse_std;

  Affine(const BatchNormState& state, const Tensor& means, const Tensor& inverse_stds)
      : weight(state.weight.data<float>()),
        bias(state.bias.data<float>()),
        mean(means.data<float>()),
        inverse_std(inverse_stds.data<float>()) {}
};

/// Its coefficients for one pack of channels.
template <int width>
struct Coefficients {
  float a[width] = {}, b[width] = {}, mean[width] = {};

  __device__ Coefficients(const Affine& affine, int64_t channel, int64_t channels) {
    if (channel >= channels) return;
    float weight[width], bias[width], inverse_std[width];
    load_floats(affine.weight + channel, weight);
    load_floats(affine.bias + channel, bias);
    load_floats(affine.mean + channel, mean);
    load_floats(affine.inverse_std + channel, inverse_std);
    for (int e = 0; e < width; ++e) {
      a[e] = weight[e] * inverse_std[e];
      b[e] = std::fma(-mean[e], a[e], bias[e]);
    }
  }
  __device__ float normalize(float x, int e) const { return std::fma(a[e], x, b[e]); }
};

// ---- Forward ----------------------------------------------------------------------------------------------

struct Statistics {
  float *mean, *inverse_std, *running_mean, *running_variance;
  float momentum, epsilon;
};

/// The statistics of the batch from the partial sums, and with them the running ones.
template <class T>
__global__ void finish_statistics_kernel(int64_t parts, int64_t rows, int64_t channels, const float* partial,
                                         const T* x, Statistics out) {
  add_partial_sums<2>(parts, channels, partial, [&](int64_t c, const double(&sum)[2]) {
    const auto n = static_cast<double>(rows);
    const MeanAndVariance of_batch(x[c], sum, n);
    const double variance = of_batch.variance;
    const auto mean = static_cast<float>(of_batch.mean);
    const auto unbiased = static_cast<float>(variance * n / (n - 1));
    out.mean[c] = mean;
    out.inverse_std[c] = static_cast<float>(1.0 / std::sqrt(variance + static_cast<double>(out.epsilon)));
    out.running_mean[c] += out.momentum * (mean - out.running_mean[c]);
    out.running_variance[c] += out.momentum * (unbiased - out.running_variance[c]);
  });
}

/// y = a x + b (+ residual), then ReLU if asked for. Reads x and the residual once, writes y once.
template <int width, bool has_residual, class T>
__global__ void __launch_bounds__(channel_threads, forward_blocks)
    normalize_kernel(ChannelTiling tiling, Affine affine, const T* x, const T* residual, bool relu, T* y) {
  using Values = Pack<T, width>;
  struct Loaded {
    Values x, residual;
  };
  const Coefficients<width> coefficients(affine, first_channel<width>(tiling), tiling.channels);
  const float floor = relu ? 0.0f : -std::numeric_limits<float>::infinity();
  const auto load = [&](int64_t offset) {
    Loaded from{Values::load(x + offset), {}};
    if constexpr (has_residual) from.residual = Values::load(residual + offset);
    return from;
  };
  for_each_pack<width>(tiling, load, [&](int64_t offset, const Loaded& from) {
    Values to;
    for (int e = 0; e < width; ++e) {
      float value = coefficients.normalize(static_cast<float>(from.x.value[e]), e);
      if constexpr (has_residual) value += static_cast<float>(from.residual.value[e]);
      to.value[e] = T(value < floor ? floor : value);  // keeps NaN
    }
    to.store(y + offset);
  });
}

__global__ void inverse_std_kernel(int64_t channels, const float* variance, float epsilon,
                                   float* inverse_std) {
  for (int64_t c = global_thread(); c < channels; c += global_threads())
    inverse_std[c] = 1.0f / std::sqrt(variance[c] + epsilon);
}

// ---- Backward ---------------------------------------------------------------------------------------------

/// How to know where ReLU let the gradient through: y > 0, or, without a residual, a x + b > 0, which saves
/// reading y.
enum class Mask { none, from_x, from_y };

template <class T>
struct BackwardArrays {
  const T *dy, *more, *x, *y;  // `more` is only read by kernels of two gradients
  T *dresidual, *dx;
};

/// Partial sums of g and of g (x - mean), where g is the gradient past ReLU; with Mask::from_y, g is written
/// to dresidual, which it is. Reads dy (and the second gradient, with `two`) and x once; with Mask::from_y,
/// reads y and writes dresidual too. With `frozen` statistics, dx = a g is written too.
template <int width, Mask mask, bool two, bool frozen, class T>
__global__ void __launch_bounds__(channel_threads, frozen ? frozen_blocks : gradient_blocks)
    sum_gradients_kernel(ChannelTiling tiling, Affine affine, BackwardArrays<T> p, float* partial) {
  using Values = Pack<T, width>;
  struct Loaded {
    Values dy, more, x, y;
  };
  const Coefficients<width> coefficients(affine, first_channel<width>(tiling), tiling.channels);
  const auto load = [&](int64_t offset) {
    Loaded from{Values::load(p.dy + offset), {}, Values::load(p.x + offset), {}};
    if constexpr (two) from.more = Values::load(p.more + offset);
    if constexpr (mask == Mask::from_y) from.y = Values::load(p.y + offset);
    return from;
  };
  const auto add = [&](int64_t offset, const Loaded& from, float(&own)[2][width]) {
    Values g = from.dy;
    for (int e = 0; e < width; ++e) {
      const auto value = static_cast<float>(from.x.value[e]);
      if constexpr (two)
        g.value[e] = T(static_cast<float>(g.value[e]) + static_cast<float>(from.more.value[e]));
      if (mask == Mask::from_x && !(coefficients.normalize(value, e) > 0.0f)) g.value[e] = T(0.0f);
      if (mask == Mask::from_y && !(static_cast<float>(from.y.value[e]) > 0.0f)) g.value[e] = T(0.0f);
      const auto gradient = static_cast<float>(g.value[e]);
      own[0][e] += gradient;
      own[1][e] = std::fma(gradient, value - coefficients.mean[e], own[1][e]);
    }
    if constexpr (mask == Mask::from_y) g.store(p.dresidual + offset);
    if constexpr (frozen) {
      for (int e = 0; e < width; ++e) g.value[e] = T(coefficients.a[e] * static_cast<float>(g.value[e]));
      g.store(p.dx + offset);
    }
  };
  sum_over_rows<width, 2>(tiling, partial, load, add);
}

struct ParameterGradients {
  float *dweight, *dbias;
  float *slope, *offset;  // of x - mean in dx
};

/// With n rows:  dbias = sum g,  dweight = sum g xhat,  xhat = (x - mean) * inverse_std,
/// dx = a (g - dbias / n - xhat dweight / n) = a g + slope (x - mean) + offset.
__global__ void finish_gradients_kernel(int64_t parts, int64_t rows, int64_t channels, const float* partial,
                                        Affine affine, ParameterGradients out) {
  add_partial_sums<2>(parts, channels, partial, [&](int64_t c, const double(&sum)[2]) {
    const auto n = static_cast<double>(rows);
    const double inverse_std = affine.inverse_std[c], a = affine.weight[c] * affine.inverse_std[c];
    const double dweight = sum[1] * inverse_std;
    out.dbias[c] = static_cast<float>(sum[0]);
    out.dweight[c] = static_cast<float>(dweight);
    out.slope[c] = static_cast<float>(-a * inverse_std * dweight / n);
    out.offset[c] = static_cast<float>(-a * sum[0] / n);
  });
}

/// dbias = sum g,  dweight = sum g xhat, with the statistics constant.
__global__ void finish_frozen_gradients_kernel(int64_t parts, int64_t channels, const float* partial,
                                               const float* inverse_std, float* dweight, float* dbias) {
  add_partial_sums<2>(parts, channels, partial, [&](int64_t c, const double(&sum)[2]) {
    dbias[c] = static_cast<float>(sum[0]);
    dweight[c] = static_cast<float>(sum[1] * static_cast<double>(inverse_std[c]));
  });
}

/// dx = a g + slope (x - mean) + offset. Reads g (dy or dresidual) and x once, writes dx once.
template <int width, Mask mask, class T>
__global__ void __launch_bounds__(channel_threads, gradient_blocks)
    write_gradient_kernel(ChannelTiling tiling, Affine affine, BackwardArrays<T> p, const float* slopes,
                          const float* offsets) {
  using Values = Pack<T, width>;
  struct Loaded {
    Values g, x;
  };
  const int64_t channel = first_channel<width>(tiling);
  const Coefficients<width> coefficients(affine, channel, tiling.channels);
  float slope[width] = {}, constant[width] = {};
  if (channel < tiling.channels) {
    load_floats(slopes + channel, slope);
    load_floats(offsets + channel, constant);
  }
  const T* gradients = mask == Mask::from_y ? p.dresidual : p.dy;
  const auto load = [&](int64_t offset) {
    return Loaded{Values::load(gradients + offset), Values::load(p.x + offset)};
  };
  for_each_pack<width>(tiling, load, [&](int64_t offset, const Loaded& from) {
    Values dx;
    for (int e = 0; e < width; ++e) {
      const auto value = static_cast<float>(from.x.value[e]);
      const bool passes = mask != Mask::from_x || coefficients.normalize(value, e) > 0.0f;
      const float gradient = passes ? static_cast<float>(from.g.value[e]) : 0.0f;
      const float rest = std::fma(slope[e], value - coefficients.mean[e], constant[e]);
      dx.value[e] = T(std::fma(coefficients.a[e], gradient, rest));
    }
    dx.store(p.dx + offset);
  });
}

// ---- Launches ---------------------------------------------------------------------------------------------

template <int width, class T>
void compute_statistics(const Tensor& x, const BatchNormState& state, const BatchNormOptions& options,
                        const BatchNormResult& out) {
  const ChannelTiling tiling(x, width, rows_per_thread, busy_blocks(forward_blocks));
  const Tensor partial = sum_deviations<width, T>(tiling, x);
  const Statistics statistics{out.mean.data<float>(),
                              out.inverse_std.data<float>(),
                              state.running_mean.data<float>(),
                              state.running_variance.data<float>(),
                              options.momentum,
                              options.epsilon};
  launch("batch_norm_statistics", finish_statistics_kernel<T>,
         shape_of_totals(tiling.blocks.x, tiling.channels), tiling.blocks.x, tiling.rows, tiling.channels,
         partial.data<float>(), x.data<T>(), statistics);
}

template <int width, class T>
void normalize(const Tensor& x, const Affine& affine, const Tensor& residual, bool relu, const Tensor& y) {
  const ChannelTiling tiling(x, width, rows_per_thread, busy_blocks(forward_blocks));
  const bool has_residual = residual.defined();
  launch("batch_norm_normalize",
         has_residual ? normalize_kernel<width, true, T> : normalize_kernel<width, false, T>, tiling.shape(),
         tiling, affine, x.data<T>(), has_residual ? residual.data<T>() : nullptr, relu, y.data<T>());
}

template <int width, Mask mask, class T>
void backward_passes(const Tensor& x, const Affine& affine, const BackwardArrays<T>& arrays,
                     const BatchNormGradients& out) {
  const ChannelTiling tiling(x, width, rows_per_thread, busy_blocks(gradient_blocks));
  const Tensor partial = floats({tiling.blocks.x, 2, tiling.channels}), slope = floats({tiling.channels}),
               offset = floats({tiling.channels});
  // Two gradients where their sum is written anyway.
  const bool two = mask == Mask::from_y && arrays.more != nullptr;
  launch("batch_norm_backward_sums",
         two ? sum_gradients_kernel<width, mask, mask == Mask::from_y, false, T>
             : sum_gradients_kernel<width, mask, false, false, T>,
         tiling.shape(), tiling, affine, arrays, partial.data<float>());
  launch("batch_norm_backward_finish", finish_gradients_kernel,
         shape_of_totals(tiling.blocks.x, tiling.channels), tiling.blocks.x, tiling.rows, tiling.channels,
         partial.data<float>(), affine,
         ParameterGradients{out.dweight.data<float>(), out.dbias.data<float>(), slope.data<float>(),
                            offset.data<float>()});
  launch("batch_norm_backward", write_gradient_kernel<width, mask, T>, tiling.shape(), tiling, affine, arrays,
         slope.data<float>(), offset.data<float>());
}

template <int width, Mask mask, class T>
void frozen_backward_pass(const Tensor& x, const Affine& affine, const BackwardArrays<T>& arrays,
                          const BatchNormGradients& out) {
  const ChannelTiling tiling(x, width, rows_per_thread, busy_blocks(frozen_blocks));
  const Tensor partial = floats({tiling.blocks.x, 2, tiling.channels});
  const bool two = mask == Mask::from_y && arrays.more != nullptr;
  launch("batch_norm_frozen_backward",
         two ? sum_gradients_kernel<width, mask, mask == Mask::from_y, true, T>
             : sum_gradients_kernel<width, mask, false, true, T>,
         tiling.shape(), tiling, affine, arrays, partial.data<float>());
  launch("batch_norm_frozen_finish", finish_frozen_gradients_kernel,
         shape_of_totals(tiling.blocks.x, tiling.channels), tiling.blocks.x, tiling.channels,
         partial.data<float>(), affine.inverse_std, out.dweight.data<float>(), out.dbias.data<float>());
}

/// Calls f(std::integral_constant<Mask, ...>) with the mask that these gradients need.
template <class F>
void dispatch_mask(bool relu, const BatchNormGradients& out, F f) {
  if (!relu)
    f(std::integral_constant<Mask, Mask::none>());
  else if (out.dresidual.defined())
    f(std::integral_constant<Mask, Mask::from_y>());
  else
    f(std::integral_constant<Mask, Mask::from_x>());
}

template <class T>
BackwardArrays<T> arrays_of(const Tensor& dy, const Tensor& more, const Tensor& x, const Tensor& y,
                            const BatchNormGradients& out) {
  return {dy.data<T>(),
          more.defined() ? more.data<T>() : nullptr,
          x.data<T>(),
          y.data<T>(),
          out.dresidual.defined() ? out.dresidual.data<T>() : nullptr,
          out.dx.data<T>()};
}

Tensor inverse_deviations(const Tensor& variance, float epsilon) {
  const Tensor inverse_std = floats(variance.shape());
  launch("batch_norm_inverse_std", inverse_std_kernel,
         {blocks_for(inverse_std.numel(), channel_threads), channel_threads}, inverse_std.numel(),
         variance.data<float>(), epsilon, inverse_std.data<float>());
  return inverse_std;
}

}  // namespace

void CudaBackend::batch_norm(const Tensor& x, const BatchNormState& state, const Tensor& residual,
                             const BatchNormOptions& options, const BatchNormResult& out) {
  const auto run = [&]<class T, class Width>(T, Width) {
    compute_statistics<Width::value, T>(x, state, options, out);
    normalize<Width::value, T>(x, Affine(state, out.mean, out.inverse_std), residual, options.relu, out.y);
  };
  dispatch(x, run, residual, out.y, state.weight, state.bias, out.mean, out.inverse_std);
}

void CudaBackend::batch_norm_inference(const Tensor& x, const BatchNormState& state, const Tensor& residual,
                                       const BatchNormOptions& options, const Tensor& y) {
  const Tensor inverse_std = inverse_deviations(state.running_variance, options.epsilon);
  const auto run = [&]<class T, class Width>(T, Width) {
    normalize<Width::value, T>(x, Affine(state, state.running_mean, inverse_std), residual, options.relu, y);
  };
  dispatch(x, run, residual, y, state.weight, state.bias, state.running_mean);
}

void CudaBackend::batch_norm_backward(const Tensor& dy, const Tensor& more, const Tensor& x,
                                      const BatchNormResult& forward, const BatchNormState& state,
                                      const BatchNormOptions& options, const BatchNormGradients& out) {
  const Affine affine(state, forward.mean, forward.inverse_std);
  const auto run = [&]<class T, class Width>(T, Width) {
    const auto arrays = arrays_of<T>(dy, more, x, forward.y, out);
    dispatch_mask(options.relu, out, [&]<Mask mask>(std::integral_constant<Mask, mask>) {
      backward_passes<Width::value, mask, T>(x, affine, arrays, out);
    });
  };
  dispatch(x, run, dy, more, forward.y, out.dresidual, out.dx, state.weight, state.bias, forward.mean,
           forward.inverse_std);
}

void CudaBackend::batch_norm_inference_backward(const Tensor& dy, const Tensor& more, const Tensor& x,
                                                const Tensor& y, const BatchNormState& state,
                                                const BatchNormOptions& options,
                                                const BatchNormGradients& out) {
  const Tensor inverse_std = inverse_deviations(state.running_variance, options.epsilon);
  const Affine affine(state, state.running_mean, inverse_std);
  const auto run = [&]<class T, class Width>(T, Width) {
    const auto arrays = arrays_of<T>(dy, more, x, y, out);
    dispatch_mask(options.relu, out, [&]<Mask mask>(std::integral_constant<Mask, mask>) {
      frozen_backward_pass<Width::value, mask, T>(x, affine, arrays, out);
    });
  };
  dispatch(x, run, dy, more, y, out.dresidual, out.dx, state.weight, state.bias, state.running_mean);
}

}  // namespace la
