// Softmax and layer normalization on the GPU: a team of threads reads its row two or three times, from the
// second time on from the cache, and writes it once. The formulas are those of the CPU
// (tensor/cpu/row_norms.cpp).
#include <cmath>
#include <limits>

#include "tensor/cuda/channels.h"
#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/kernel.h"
#include "tensor/cuda/row_teams.h"

namespace la {
namespace {

using namespace cuda;

/// The sum over a row of f(values of x, columns), where f takes a pack of each array and the first column.
template <class Team, int width, class F, class... T>
__device__ float sum_row(int64_t columns, F f, const T*... x) {
  float sum = 0.0f;
  Team::template for_each_pack<width>(columns, [&](int64_t c) {
    [&](const Pack<T, width>&... pack) {
      for (int e = 0; e < width; ++e) sum += f(c + e, static_cast<float>(pack.value[e])...);
    }(Pack<T, width>::load(x + c)...);
  });
  return Team::reduce(sum, Sum(), 0.0f);
}

/// y[c] <- f(c, x[c] ...) for each column.
template <class Team, int width, class T, class F, class... X>
__device__ void map_row(int64_t columns, T* y, F f, const X*... x) {
  Team::template for_each_pack<width>(columns, [&](int64_t c) {
    Pack<T, width> result;
    [&](const Pack<X, width>&... pack) {
      for (int e = 0; e < width; ++e) result.value[e] = T(f(c + e, static_cast<float>(pack.value[e])...));
    }(Pack<X, width>::load(x + c)...);
    result.store(y + c);
  });
}

template <class Team, int width, class T>
__global__ void softmax_kernel(int64_t rows, int64_t columns, const T* x, bool logarithm, T* y) {
  const int64_t row = Team::row();
  if (row >= rows) return;
  const T* from = x + row * columns;
  T* to = y + row * columns;
  constexpr float infinity = std::numeric_limits<float>::infinity();
  float max = -infinity;
  Team::template for_each_pack<width>(columns, [&](int64_t c) {
    const auto pack = Pack<T, width>::load(from + c);
    for (int e = 0; e < width; ++e) max = Max()(max, static_cast<float>(pack.value[e]));
  });
  max = Team::reduce(max, Max(), -infinity);
  const float sum = sum_row<Team, width>(
      columns, [=](int64_t, float value) { return std::exp(value - max); }, from);
  const float share = 1.0f / sum, log_sum = std::log(sum);
  map_row<Team, width>(
      columns, to,
      [=](int64_t, float value) {
        return logarithm ? (value - max) - log_sum : std::exp(value - max) * share;
      },
      from);
}

template <class Team, int width, class T>
__global__ void softmax_backward_kernel(int64_t rows, int64_t columns, const T* dy, const T* y,
                                        bool logarithm, T* dx) {
  const int64_t row = Team::row();
  if (row >= rows) return;
  const T *gradient = dy + row * columns, *result = y + row * columns;
  const float sum = sum_row<Team, width>(
      columns, [=](int64_t, float g, float p) { return logarithm ? g : g * p; }, gradient, result);
  map_row<Team, width>(
      columns, dx + row * columns,
      [=](int64_t, float g, float p) { return logarithm ? g - std::exp(p) * sum : p * (g - sum); }, gradient,
      result);
}

template <class Team, int width, class T>
__global__ void layer_norm_kernel(int64_t rows, int64_t columns, const T* x, const float* weight,
                                  const float* bias, float epsilon, T* y, float* means, float* inverse_stds) {
  const int64_t row = Team::row();
  if (row >= rows) return;
  const T* from = x + row * columns;
  const auto count = static_cast<float>(columns);
  const float mean = sum_row<Team, width>(
                         columns, [](int64_t, float value) { return value; }, from) /
                     count;
  const float squares = sum_row<Team, width>(
      columns, [=](int64_t, float value) { return (value - mean) * (value - mean); }, from);
  const float inverse_std = 1.0f / std::sqrt(squares / count + epsilon);
  map_row<Team, width>(
      columns, y + row * columns,
      [=](int64_t c, float value) { return (value - mean) * inverse_std * weight[c] + bias[c]; }, from);
  if (!Team::leads()) return;
  means[row] = mean;
  inverse_stds[row] = inverse_std;
}

/// The gradient of x.
template <class Team, int width, class T>
__global__ void layer_norm_backward_kernel(int64_t rows, int64_t columns, const T* dy, const T* x,
                                           const float* means, const float* inverse_stds, const float* weight,
                                           T* dx) {
  const int64_t row = Team::row();
  if (row >= rows) return;
  const T *gradient = dy + row * columns, *from = x + row * columns;
  const float mean = means[row], inverse_std = inverse_stds[row], share = 1.0f / static_cast<float>(columns);
  const float level = share * sum_row<Team, width>(
                                  columns, [=](int64_t c, float g) { return g * weight[c]; }, gradient);
  const float along = share * sum_row<Team, width>(
                                  columns,
                                  [=](int64_t c, float g, float value) {
                                    return g * weight[c] * ((value - mean) * inverse_std);
                                  },
                                  gradient, from);
  map_row<Team, width>(
      columns, dx + row * columns,
      [=](int64_t c, float g, float value) {
        return inverse_std * (g * weight[c] - level - (value - mean) * inverse_std * along);
      },
      gradient, from);
}

/// Partial sums over the rows of the gradients of weight and bias. Reads dy and x once.
template <int width, class T>
__global__ void layer_norm_parameters_kernel(ChannelTiling tiling, const T* dy, const T* x,
                                             const float* means, const float* inverse_stds, float* partial) {
  using Values = Pack<T, width>;
  struct Loaded {
    Values dy, x;
    float mean, inverse_std;
  };
  const auto load = [&](int64_t offset) {
    const int64_t row = offset / tiling.channels;
    return Loaded{Values::load(dy + offset), Values::load(x + offset), means[row], inverse_stds[row]};
  };
  sum_over_rows<width, 2>(tiling, partial, load, [&](int64_t, const Loaded& from, float(&own)[2][width]) {
    for (int e = 0; e < width; ++e) {
      const auto g = static_cast<float>(from.dy.value[e]);
      const float deviation = static_cast<float>(from.x.value[e]) - from.mean;
      own[0][e] += g * (deviation * from.inverse_std);
      own[1][e] += g;
    }
  });
}

__global__ void finish_parameters_kernel(int64_t parts, int64_t columns, const float* partial, float* dweight,
                                         float* dbias) {
  add_partial_sums<2>(parts, columns, partial, [&](int64_t c, const double(&sum)[2]) {
    dweight[c] = static_cast<float>(sum[0]);
    dbias[c] = static_cast<float>(sum[1]);
  });
}

}  // namespace

void CudaBackend::softmax(const Tensor& x, bool logarithm, const Tensor& y) {
  dispatch_rows(x.dtype(), x.size(1), both_aligned(x, y), [&]<class Team, class T>(Team, T, auto width) {
    launch("softmax", softmax_kernel<Team, width(), T>, Team::shape(x.size(0)), x.size(0), x.size(1),
           x.data<T>(), logarithm, y.data<T>());
  });
}

void CudaBackend::softmax_backward(const Tensor& dy, const Tensor& y, bool logarithm, const Tensor& dx) {
  const bool aligned = both_aligned(dy, y) && both_aligned(dx, dx);
  dispatch_rows(y.dtype(), y.size(1), aligned, [&]<class Team, class T>(Team, T, auto width) {
    launch("softmax_backward", softmax_backward_kernel<Team, width(), T>, Team::shape(y.size(0)), y.size(0),
           y.size(1), dy.data<T>(), y.data<T>(), logarithm, dx.data<T>());
  });
}

void CudaBackend::layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, float epsilon,
                             const LayerNormResult& out) {
  dispatch_rows(x.dtype(), x.size(1), both_aligned(x, out.y), [&]<class Team, class T>(Team, T, auto width) {
    launch("layer_norm", layer_norm_kernel<Team, width(), T>, Team::shape(x.size(0)), x.size(0), x.size(1),
           x.data<T>(), weight.data<float>(), bias.data<float>(), epsilon, out.y.data<T>(),
           out.mean.data<float>(), out.inverse_std.data<float>());
  });
}

void CudaBackend::layer_norm_backward(const Tensor& dy, const Tensor& x, const LayerNormResult& forward,
                                      const Tensor& weight, const LayerNormGradients& out) {
  const float *means = forward.mean.data<float>(), *inverse_stds = forward.inverse_std.data<float>();
  const bool aligned = both_aligned(dy, x) && both_aligned(out.dx, out.dx);
  dispatch_rows(x.dtype(), x.size(1), aligned, [&]<class Team, class T>(Team, T, auto width) {
    launch("layer_norm_backward", layer_norm_backward_kernel<Team, width(), T>, Team::shape(x.size(0)),
           x.size(0), x.size(1), dy.data<T>(), x.data<T>(), means, inverse_stds, weight.data<float>(),
           out.dx.data<T>());
  });
  dispatch_float(x.dtype(), [&]<class T>(T) {
    dispatch_width<T>(x.size(1), aligned, [&](auto width) {
      const ChannelTiling tiling(x, width(), 4, busy_blocks(4));
      const Tensor partial({tiling.blocks.x, 2, tiling.channels}, DType::f32, Device::cuda());
      launch("layer_norm_parameters", layer_norm_parameters_kernel<width(), T>, tiling.shape(), tiling,
             dy.data<T>(), x.data<T>(), means, inverse_stds, partial.data<float>());
      launch("layer_norm_parameters_finish", finish_parameters_kernel,
             shape_of_totals(tiling.blocks.x, tiling.channels), tiling.blocks.x, tiling.channels,
             partial.data<float>(), out.dweight.data<float>(), out.dbias.data<float>());
    });
  });
}

}  // namespace la
