// Softmax and layer normalization on the CPU: each row in a few passes, while it lies in the cache.
#include <algorithm>
#include <cmath>
#include <limits>

#include "tensor/cpu/column_sums.h"
#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/simd.h"
#include "tensor/vector_math.h"

namespace la {
namespace {

/// Calls row(r, r * columns) for each row of x [R, C].
template <class Row>
void for_each_row(const Tensor& x, Row&& row) {
  const int64_t columns = x.size(1), grain = (1 << 12) / std::max<int64_t>(columns, 1) + 1;
  parallel_for(x.size(0), grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) row(r, r * columns);
  });
}

/// The sum of f(j), j = 0 ... n - 1; its order depends on n alone.
template <class F>
float sum_of(int64_t n, F f) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < n; ++j) sum += f(j);
  return sum;
}

}  // namespace

void CpuBackend::softmax(const Tensor& x, bool logarithm, const Tensor& y) {
  const int64_t n = x.size(1);
  dispatch_float(x.dtype(), [&]<class T>(T) {
    for_each_row(x, [=, from = x.data<T>(), to = y.data<T>()](int64_t, int64_t offset) {
      const T* s = from + offset;
      T* out = to + offset;
      float max = -std::numeric_limits<float>::infinity();
#pragma omp simd reduction(max : max)
      for (int64_t j = 0; j < n; ++j) max = std::max(max, value_of(s[j]));
      const float sum = sum_of(n, [=](int64_t j) { return simd_exp(value_of(s[j]) - max); });
      const float share = 1.0f / sum, log_sum = std::log(sum);
      if (logarithm) {
#pragma GCC ivdep
        for (int64_t j = 0; j < n; ++j) out[j] = T((value_of(s[j]) - max) - log_sum);
      } else {
#pragma GCC ivdep
        for (int64_t j = 0; j < n; ++j) out[j] = T(simd_exp(value_of(s[j]) - max) * share);
      }
    });
  });
}

// Of p = softmax(x): dx = p (dy - dy . p). Of its logarithm: dx = dy - p sum dy.
void CpuBackend::softmax_backward(const Tensor& dy, const Tensor& y, bool logarithm, const Tensor& dx) {
  const int64_t n = y.size(1);
  dispatch_float(y.dtype(), [&]<class T>(T) {
    for_each_row(
        y, [=, gradient = dy.data<T>(), result = y.data<T>(), to = dx.data<T>()](int64_t, int64_t offset) {
          const T *g = gradient + offset, *p = result + offset;
          T* out = to + offset;
          if (logarithm) {
            const float sum = sum_of(n, [=](int64_t j) { return value_of(g[j]); });
#pragma GCC ivdep
            for (int64_t j = 0; j < n; ++j) out[j] = T(value_of(g[j]) - simd_exp(value_of(p[j])) * sum);
          } else {
            const float along = sum_of(n, [=](int64_t j) { return value_of(g[j]) * value_of(p[j]); });
#pragma GCC ivdep
            for (int64_t j = 0; j < n; ++j) out[j] = T(value_of(p[j]) * (value_of(g[j]) - along));
          }
        });
  });
}

void CpuBackend::layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, float epsilon,
                            const LayerNormResult& out) {
  const int64_t n = x.size(1);
  const float *w = weight.data<float>(), *b = bias.data<float>();
  float *means = out.mean.data<float>(), *inverse_stds = out.inverse_std.data<float>();
  dispatch_float(x.dtype(), [&]<class T>(T) {
    for_each_row(x, [=, values = x.data<T>(), result = out.y.data<T>()](int64_t r, int64_t offset) {
      const T* from = values + offset;
      T* to = result + offset;
      const auto count = static_cast<float>(n);
      const float mean = sum_of(n, [=](int64_t j) { return value_of(from[j]); }) / count;
      const float squares = sum_of(n, [=](int64_t j) {
        const float deviation = value_of(from[j]) - mean;
        return deviation * deviation;
      });
      const float inverse_std = 1.0f / std::sqrt(squares / count + epsilon);
#pragma GCC ivdep
      for (int64_t j = 0; j < n; ++j) to[j] = T((value_of(from[j]) - mean) * inverse_std * w[j] + b[j]);
      means[r] = mean;
      inverse_stds[r] = inverse_std;
    });
  });
}

// With n = (x - mean) inverse_std and g = dy weight: dx = inverse_std (g - mean(g) - n mean(g n)), row by
// row; dweight = sum dy n, dbias = sum dy, over the rows.
void CpuBackend::layer_norm_backward(const Tensor& dy, const Tensor& x, const LayerNormResult& forward,
                                     const Tensor& weight, const LayerNormGradients& out) {
  const int64_t n = x.size(1);
  const float *w = weight.data<float>(), *means = forward.mean.data<float>(),
              *inverse_stds = forward.inverse_std.data<float>();
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const T *values = x.data<T>(), *gradient = dy.data<T>();
    for_each_row(x, [=, result = out.dx.data<T>()](int64_t r, int64_t offset) {
      const T *from = values + offset, *d = gradient + offset;
      T* to = result + offset;
      const float mean = means[r], inverse_std = inverse_stds[r], share = 1.0f / static_cast<float>(n);
      const auto normalized = [=](int64_t j) { return (value_of(from[j]) - mean) * inverse_std; };
      const float level = share * sum_of(n, [=](int64_t j) { return value_of(d[j]) * w[j]; });
      const float along = share * sum_of(n, [=](int64_t j) { return value_of(d[j]) * w[j] * normalized(j); });
#pragma GCC ivdep
      for (int64_t j = 0; j < n; ++j)
        to[j] = T(inverse_std * (value_of(d[j]) * w[j] - level - normalized(j) * along));
    });
    const auto add_row = [=](int64_t r, float* sums) {
      const T *from = values + r * n, *d = gradient + r * n;
#pragma GCC ivdep
      for (int64_t j = 0; j < n; ++j) {
        sums[j] += value_of(d[j]) * ((value_of(from[j]) - means[r]) * inverse_stds[r]);
        sums[n + j] += value_of(d[j]);
      }
    };
    sum_columns(x.size(0), 2 * n, add_row,
                [=, dweight = out.dweight.data<float>(), dbias = out.dbias.data<float>()](
                    int64_t c, float sum) { (c < n ? dweight[c] : dbias[c - n]) = sum; });
  });
}

}  // namespace la
