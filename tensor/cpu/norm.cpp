// Batch normalization on the CPU, fused with the residual sum and ReLU. Two passes over memory forward
// (statistics; normalize), two backward (sums; gradient).
//
// x is seen as rows of C channels. Where C is small, several rows are seen as one wide row in which the
// channels repeat, so that the inner loops are long enough for SIMD registers.
#include <cmath>
#include <vector>

#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/simd.h"

namespace la {
namespace {

constexpr int64_t wide_row = 128;        // elements that a wide row should have
constexpr int64_t rows_per_block = 128;  // summed in f32, before the sum goes on in double precision

struct Layout {
  int64_t channels, width, rows;  // of a wide row; width is a multiple of channels

  explicit Layout(const Tensor& x) : channels(x.size(-1)), width(channels) {
    const int64_t elements = x.numel();
    while (width < wide_row && elements % (2 * width) == 0) width *= 2;
    rows = elements / width;
  }
  int64_t rows_per_thread() const { return std::max<int64_t>(1, elements_per_thread / width); }
  double count() const { return static_cast<double>(rows * (width / channels)); }
};

/// Per-channel values repeated along a wide row.
std::vector<float> widen(const Layout& layout, const std::vector<float>& values) {
  std::vector<float> wide;
  while (static_cast<int64_t>(wide.size()) < layout.width)
    wide.insert(wide.end(), values.begin(), values.end());
  return wide;
}

struct Sums {
  std::vector<double> first, second;  // by channel
};

/// Sums two values over all rows: `add(begin, end, first, second)` adds those of wide rows [begin, end) to
/// the f32 sums of the columns. The order of the summation depends on the number of threads alone.
template <class AddRows>
Sums sum_by_channel(const Layout& layout, AddRows add) {
  const int64_t width = layout.width;
  const auto threads = static_cast<size_t>(num_threads());
  std::vector<std::vector<double>> partial(threads, std::vector<double>(static_cast<size_t>(2 * width), 0.0));
  parallel_for(layout.rows, layout.rows_per_thread(), [&](int64_t begin, int64_t end) {
    double* total = partial[static_cast<size_t>(omp_get_thread_num())].data();
    std::vector<float> sums(static_cast<size_t>(2 * width));
    float* sum = sums.data();
    for (int64_t row = begin; row < end; row += rows_per_block) {
      std::fill(sums.begin(), sums.end(), 0.0f);
      add(row, std::min(row + rows_per_block, end), sum, sum + width);
      for (int64_t i = 0; i < 2 * width; ++i) total[i] += sum[i];
    }
  });
  const auto channels = static_cast<size_t>(layout.channels);
  Sums result{std::vector<double>(channels), std::vector<double>(channels)};
  for (const auto& total : partial) {
    for (int64_t i = 0; i < width; ++i) {
      result.first[static_cast<size_t>(i) % channels] += total[static_cast<size_t>(i)];
      result.second[static_cast<size_t>(i) % channels] += total[static_cast<size_t>(width + i)];
    }
  }
  return result;
}

template <class T>
std::vector<float> first_row(const T* x, int64_t channels) {
  std::vector<float> row(static_cast<size_t>(channels));
  for (size_t c = 0; c < row.size(); ++c) row[c] = value_of(x[c]);
  return row;
}

/// normalized = a x + b, with a = scale * inverse_std and b = shift - mean * a.
struct Affine {
  std::vector<float> a, b;  // wide

  Affine(const Layout& layout, const BatchNormState& state, const float* mean, const float* inverse_std) {
    const auto channels = static_cast<size_t>(layout.channels);
    std::vector<float> slope(channels), offset(channels);
    for (size_t c = 0; c < channels; ++c) {
      slope[c] = state.scale.data<float>()[c] * inverse_std[c];
      offset[c] = state.shift.data<float>()[c] - mean[c] * slope[c];
    }
    a = widen(layout, slope);
    b = widen(layout, offset);
  }
};

/// y = a x + b (+ residual), then ReLU if asked for. One pass.
template <class T, bool has_residual>
void apply(const Layout& layout, const Affine& affine, const T* x, const T* residual, bool relu, T* y) {
  const float *a = affine.a.data(), *b = affine.b.data();
  const float floor = relu ? 0.0f : -std::numeric_limits<float>::infinity();
  const int64_t width = layout.width;
  parallel_for(layout.rows, layout.rows_per_thread(), [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t at = row * width;
#pragma GCC ivdep
      for (int64_t i = 0; i < width; ++i) {
        float value = std::fma(a[i], value_of(x[at + i]), b[i]);
        if constexpr (has_residual) value += value_of(residual[at + i]);
        y[at + i] = T(value < floor ? floor : value);  // keeps NaN
      }
    }
  });
}

template <class T>
void apply(const Layout& layout, const Affine& affine, const Tensor& x, const Tensor& residual, bool relu,
           const Tensor& y) {
  if (residual.defined())
    apply<T, true>(layout, affine, x.data<T>(), residual.data<T>(), relu, y.data<T>());
  else
    apply<T, false>(layout, affine, x.data<T>(), static_cast<const T*>(nullptr), relu, y.data<T>());
}

/// Statistics of the batch into out, and into the running ones.
template <class T>
void compute_statistics(const Layout& layout, const Tensor& x, const BatchNormState& state,
                        const BatchNormOptions& options, const BatchNormResult& out) {
  // Sums of x - k and (x - k)^2, where k is the first row, do not cancel where the mean is large beside the
  // deviation.
  const T* from = x.data<T>();
  const std::vector<float> origin = first_row(from, layout.channels), wide_origin = widen(layout, origin);
  const float* k = wide_origin.data();
  const int64_t width = layout.width;
  const Sums sums = sum_by_channel(layout, [=](int64_t begin, int64_t end, float* sum, float* squares) {
    for (int64_t row = begin; row < end; ++row) {
#pragma GCC ivdep
      for (int64_t i = 0; i < width; ++i) {
        const float d = value_of(from[row * width + i]) - k[i];
        sum[i] += d;
        squares[i] += d * d;
      }
    }
  });
  const double n = layout.count();
  float *running_mean = state.running_mean.data<float>(),
        *running_variance = state.running_variance.data<float>();
  for (size_t c = 0; c < origin.size(); ++c) {
    const double offset = sums.first[c] / n;
    const double variance = std::max(sums.second[c] / n - offset * offset, 0.0);  // keeps NaN
    const double mean = origin[c] + offset, unbiased = variance * n / (n - 1);
    out.mean.data<float>()[c] = static_cast<float>(mean);
    out.inverse_std.data<float>()[c] =
        static_cast<float>(1.0 / std::sqrt(variance + static_cast<double>(options.epsilon)));
    running_mean[c] += options.momentum * (static_cast<float>(mean) - running_mean[c]);
    running_variance[c] += options.momentum * (static_cast<float>(unbiased) - running_variance[c]);
  }
}

/// What each element's gradient is where ReLU let it through.
enum class Mask { none, from_x, from_y };

template <class T, Mask mask>
struct Gate {
  const T *dy, *x, *y;
  const float *a, *b;  // wide

  float operator()(int64_t at, int64_t i) const {
    const float g = value_of(dy[at + i]);
    if constexpr (mask == Mask::from_x) return std::fma(a[i], value_of(x[at + i]), b[i]) > 0.0f ? g : 0.0f;
    if constexpr (mask == Mask::from_y) return value_of(y[at + i]) > 0.0f ? g : 0.0f;
    return g;
  }
};

/// With g the gradient past ReLU, and n rows:  dshift = sum g,  dscale = sum g xhat,
/// dx = scale * inverse_std * (g - dshift / n - xhat * dscale / n),  xhat = (x - mean) * inverse_std.
template <class T, Mask mask>
void backward_passes(const Layout& layout, const Gate<T, mask>& gate, const BatchNormResult& forward,
                     T* dresidual, const BatchNormGradients& out) {
  const int64_t width = layout.width;
  const std::vector<float> mean = forward.mean.to_vector<float>(), wide_mean = widen(layout, mean);
  const float* center = wide_mean.data();
  const T* x = gate.x;
  const Sums sums = sum_by_channel(layout, [=](int64_t begin, int64_t end, float* sum, float* products) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t at = row * width;
#pragma GCC ivdep
      for (int64_t i = 0; i < width; ++i) {
        const float g = gate(at, i);
        if constexpr (mask == Mask::from_y) dresidual[at + i] = T(g);
        sum[i] += g;
        products[i] += g * (value_of(x[at + i]) - center[i]);
      }
    }
  });

  // dx = a g + slope x + offset.
  const double n = layout.count();
  std::vector<float> slope(mean.size()), offset(mean.size());
  for (size_t c = 0; c < mean.size(); ++c) {
    const double inverse_std = forward.inverse_std.data<float>()[c], a = gate.a[c];
    const double dscale = sums.second[c] * inverse_std;
    out.dshift.data<float>()[c] = static_cast<float>(sums.first[c]);
    out.dscale.data<float>()[c] = static_cast<float>(dscale);
    slope[c] = static_cast<float>(-a * inverse_std * dscale / n);
    offset[c] = static_cast<float>(-a * sums.first[c] / n);
  }
  const std::vector<float> wide_slope = widen(layout, slope), wide_offset = widen(layout, offset);
  const float *b1 = wide_slope.data(), *b0 = wide_offset.data();
  T* dx = out.dx.data<T>();
  parallel_for(layout.rows, layout.rows_per_thread(), [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t at = row * width;
#pragma GCC ivdep
      for (int64_t i = 0; i < width; ++i) {
        // The residual's gradient is g already.
        const float g = mask == Mask::from_y ? value_of(dresidual[at + i]) : gate(at, i);
        dx[at + i] = T(gate.a[i] * g + (b1[i] * (value_of(x[at + i]) - center[i]) + b0[i]));
      }
    }
  });
}

}  // namespace

void CpuBackend::batch_norm(const Tensor& x, const BatchNormState& state, const Tensor& residual,
                            const BatchNormOptions& options, const BatchNormResult& out) {
  const Layout layout(x);
  dispatch_float(x.dtype(), [&]<class T>(T) {
    compute_statistics<T>(layout, x, state, options, out);
    const Affine affine(layout, state, out.mean.data<float>(), out.inverse_std.data<float>());
    apply<T>(layout, affine, x, residual, options.relu, out.y);
  });
}

void CpuBackend::batch_norm_inference(const Tensor& x, const BatchNormState& state, const Tensor& residual,
                                      const BatchNormOptions& options, const Tensor& y) {
  const Layout layout(x);
  std::vector<float> inverse_std = state.running_variance.to_vector<float>();
  for (float& value : inverse_std) value = 1.0f / std::sqrt(value + options.epsilon);
  const Affine affine(layout, state, state.running_mean.data<float>(), inverse_std.data());
  dispatch_float(x.dtype(), [&]<class T>(T) { apply<T>(layout, affine, x, residual, options.relu, y); });
}

void CpuBackend::batch_norm_backward(const Tensor& dy, const Tensor& x, const BatchNormResult& forward,
                                     const BatchNormState& state, const BatchNormOptions& options,
                                     const BatchNormGradients& out) {
  const Layout layout(x);
  const Affine affine(layout, state, forward.mean.data<float>(), forward.inverse_std.data<float>());
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const auto run = [&]<Mask mask>(std::integral_constant<Mask, mask>) {
      const Gate<T, mask> gate{dy.data<T>(), x.data<T>(), forward.y.data<T>(), affine.a.data(),
                               affine.b.data()};
      T* dresidual = out.dresidual.defined() ? out.dresidual.data<T>() : nullptr;
      backward_passes<T, mask>(layout, gate, forward, dresidual, out);
    };
    if (!options.relu)
      run(std::integral_constant<Mask, Mask::none>());
    else if (out.dresidual.defined())
      run(std::integral_constant<Mask, Mask::from_y>());
    else
      run(std::integral_constant<Mask, Mask::from_x>());
  });
}

}  // namespace la
