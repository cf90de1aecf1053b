// Operations on rows and channels on the CPU.
#include <cmath>
#include <vector>

#include "tensor/cpu/column_sums.h"
#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/simd.h"
#include "tensor/vector_math.h"

namespace la {

void CpuBackend::add_bias(const Tensor& x, const Tensor& bias, const Tensor& y) {
  const int64_t columns = x.size(-1);
  const float* b = bias.data<float>();
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const T* from = x.data<T>();
    T* to = y.data<T>();
    parallel_for(x.numel() / std::max<int64_t>(columns, 1), elements_per_thread / columns,
                 [=](int64_t begin, int64_t end) {
                   for (int64_t r = begin; r < end; ++r) {
#pragma GCC ivdep
                     for (int64_t c = 0; c < columns; ++c)
                       to[r * columns + c] = T(value_of(from[r * columns + c]) + b[c]);
                   }
                 });
  });
}

void CpuBackend::sum_rows(const Tensor& x, const Tensor& y) {
  const int64_t columns = x.size(-1), rows = x.numel() / std::max<int64_t>(columns, 1);
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const auto add_row = [=, from = x.data<T>()](int64_t r, float* sum) {
#pragma GCC ivdep
      for (int64_t c = 0; c < columns; ++c) sum[c] += value_of(from[r * columns + c]);
    };
    sum_columns(rows, columns, add_row, [to = y.data<float>()](int64_t c, float sum) { to[c] = sum; });
  });
}

void CpuBackend::mean(const Tensor& x, const Tensor& y) {
  double sum = 0;
  const float* from = x.data<float>();
  for (int64_t i = 0; i < x.numel(); ++i) sum += from[i];
  y.data<float>()[0] = static_cast<float>(sum / static_cast<double>(x.numel()));
}

void CpuBackend::scale_channels(const Tensor& x, const Tensor& s, const Tensor& y) {
  const int64_t positions = x.size(1) * x.size(2), channels = x.size(3);
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const T *from = x.data<T>(), *factors = s.data<T>();
    T* to = y.data<T>();
    parallel_for(x.size(0), 1, [=](int64_t begin, int64_t end) {
      for (int64_t row = begin * positions; row < end * positions; ++row) {
        const T* factor = factors + row / positions * channels;
#pragma GCC ivdep
        for (int64_t c = 0; c < channels; ++c)
          to[row * channels + c] = T(value_of(from[row * channels + c]) * value_of(factor[c]));
      }
    });
  });
}

void CpuBackend::sum_product_spatial(const Tensor& a, const Tensor& b, const Tensor& y) {
  const int64_t positions = a.size(1) * a.size(2), channels = a.size(3);
  dispatch_float(a.dtype(), [&]<class T>(T) {
    const T *left = a.data<T>(), *right = b.data<T>();
    T* to = y.data<T>();
    parallel_for(a.size(0), 1, [=](int64_t begin, int64_t end) {
      std::vector<float> sums(static_cast<size_t>(channels));
      float* sum = sums.data();
      for (int64_t n = begin; n < end; ++n) {
        std::fill(sums.begin(), sums.end(), 0.0f);
        for (int64_t row = n * positions; row < (n + 1) * positions; ++row) {
#pragma GCC ivdep
          for (int64_t c = 0; c < channels; ++c)
            sum[c] += value_of(left[row * channels + c]) * value_of(right[row * channels + c]);
        }
        for (int64_t c = 0; c < channels; ++c) to[n * channels + c] = T(sum[c]);
      }
    });
  });
}

void CpuBackend::l2_normalize(const Tensor& x, const Normalized& out) {
  const int64_t columns = x.size(1);
  const float* from = x.data<float>();
  float *to = out.y.data<float>(), *norms = out.norm.data<float>();
  parallel_for(x.size(0), 16, [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float* row = from + r * columns;
      norms[r] = std::sqrt(dot(row, row, columns));
      const float inverse = norms[r] == 0.0f ? 0.0f : 1.0f / norms[r];
#pragma GCC ivdep
      for (int64_t c = 0; c < columns; ++c) to[r * columns + c] = row[c] * inverse;
    }
  });
}

void CpuBackend::l2_normalize_backward(const Tensor& dy, const Normalized& forward, const Tensor& dx) {
  const int64_t columns = dy.size(1);
  const float *gradient = dy.data<float>(), *unit = forward.y.data<float>(),
              *norms = forward.norm.data<float>();
  float* to = dx.data<float>();
  parallel_for(dy.size(0), 16, [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float *g = gradient + r * columns, *y = unit + r * columns;
      const float along = dot(g, y, columns);
      const float inverse = norms[r] == 0.0f ? 0.0f : 1.0f / norms[r];
#pragma GCC ivdep
      for (int64_t c = 0; c < columns; ++c) to[r * columns + c] = (g[c] - along * y[c]) * inverse;
    }
  });
}

}  // namespace la
