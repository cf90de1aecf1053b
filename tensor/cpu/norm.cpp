// Batch normalization on the CPU, fused with the residual sum and ReLU. Two passes over memory forward
// (statistics; normalize), two backward (sums; gradient).
#include <cmath>

#include "tensor/cpu/channel_tiles.h"
#include "tensor/cpu/cpu_backend.h"
#include "tensor/moments.h"

namespace la {
namespace {

using Strip = ChannelTiles::Strip;

/// normalized = a x + b, with a = weight * inverse_std and b = bias - mean * a.
struct Affine {
  std::vector<float> a, b;  // wide

  Affine(const ChannelTiles& tiles, const BatchNormState& state, const float* mean,
         const float* inverse_std) {
    const auto channels = static_cast<size_t>(tiles.channels());
    std::vector<float> slope(channels), offset(channels);
    for (size_t c = 0; c < channels; ++c) {
      slope[c] = state.weight.data<float>()[c] * inverse_std[c];
      offset[c] = state.bias.data<float>()[c] - mean[c] * slope[c];
    }
    a = tiles.widen(slope);
    b = tiles.widen(offset);
  }
};

/// y = a x + b (+ residual), then ReLU if asked for. One pass.
template <class T, bool has_residual>
void apply(const ChannelTiles& tiles, const Affine& affine, const T* x, const T* residual, bool relu, T* y) {
  const float *slope = affine.a.data(), *offset = affine.b.data();
  const float floor_value = relu ? 0.0f : -std::numeric_limits<float>::infinity();
  tiles.for_each_strip([=](const Strip& strip) {
    strip.for_each_tile([&]<class V>(V, int64_t column) {
      const V floor = V{} + floor_value;
      V a[parts<V>], b[parts<V>];
      for (int v = 0; v < parts<V>; ++v) {
        a[v] = load<V>(slope + column + v * lanes<V>);
        b[v] = load<V>(offset + column + v * lanes<V>);
      }
      for (int64_t row = 0; row < strip.rows; ++row) {
        for (int v = 0; v < parts<V>; ++v) {
          const int64_t at = strip.offset + row * strip.width + column + v * lanes<V>;
          V value = a[v] * load<V>(x + at) + b[v];
          if constexpr (has_residual) value += load<V>(residual + at);
          store(y + at, value < floor ? floor : value);  // keeps NaN
        }
      }
    });
  });
}

template <class T>
void apply(const ChannelTiles& tiles, const Affine& affine, const Tensor& x, const Tensor& residual,
           bool relu, const Tensor& y) {
  if (residual.defined())
    apply<T, true>(tiles, affine, x.data<T>(), residual.data<T>(), relu, y.data<T>());
  else
    apply<T, false>(tiles, affine, x.data<T>(), static_cast<const T*>(nullptr), relu, y.data<T>());
}

/// Sums of x - origin and of its square. They do not cancel where the mean is large beside the deviation if
/// the origin is any value of the channel.
template <class T>
ChannelSums::Totals sum_deviations(const ChannelTiles& tiles, const T* x, const std::vector<float>& origin) {
  const ChannelSums sums(tiles);
  const std::vector<float> wide_origin = tiles.widen(origin);
  const float* center = wide_origin.data();
  tiles.for_each_strip([=, &sums](const Strip& strip) {
    strip.for_each_tile([&]<class V>(V, int64_t column) {
      V k[parts<V>], sum[parts<V>] = {}, squares[parts<V>] = {};
      for (int v = 0; v < parts<V>; ++v) k[v] = load<V>(center + column + v * lanes<V>);
      for (int64_t row = 0; row < strip.rows; ++row) {
        const T* from = x + strip.offset + row * strip.width + column;
        for (int v = 0; v < parts<V>; ++v) {
          const V d = load<V>(from + v * lanes<V>) - k[v];
          sum[v] += d;
          squares[v] += d * d;
        }
      }
      for (int v = 0; v < parts<V>; ++v) sums.add(strip, column + v * lanes<V>, sum[v], squares[v]);
    });
  });
  return sums.totals();
}

/// Calls f(c, mean, variance) for each channel of x.
template <class T, class F>
void for_moments(const ChannelTiles& tiles, const Tensor& x, F f) {
  std::vector<float> origin(static_cast<size_t>(tiles.channels()));
  for (size_t c = 0; c < origin.size(); ++c) origin[c] = value_of(x.data<T>()[c]);
  const ChannelSums::Totals sums = sum_deviations(tiles, x.data<T>(), origin);
  for (size_t c = 0; c < origin.size(); ++c) {
    const double offset = sums.first[c] / tiles.count();
    f(c, origin[c] + offset, std::max(sums.second[c] / tiles.count() - offset * offset, 0.0));  // keeps NaN
  }
}

/// Statistics of the batch into out, and into the running ones.
template <class T>
void compute_statistics(const ChannelTiles& tiles, const Tensor& x, const BatchNormState& state,
                        const BatchNormOptions& options, const BatchNormResult& out) {
  const double n = tiles.count();
  float *running_mean = state.running_mean.data<float>(),
        *running_variance = state.running_variance.data<float>();
  for_moments<T>(tiles, x, [&](size_t c, double mean, double variance) {
    const double unbiased = variance * n / (n - 1);
    out.mean.data<float>()[c] = static_cast<float>(mean);
    out.inverse_std.data<float>()[c] =
        static_cast<float>(1.0 / std::sqrt(variance + static_cast<double>(options.epsilon)));
    running_mean[c] += options.momentum * (static_cast<float>(mean) - running_mean[c]);
    running_variance[c] += options.momentum * (static_cast<float>(unbiased) - running_variance[c]);
  });
}

/// How to know where ReLU let the gradient through: y > 0, or, without a residual, a x + b > 0, which saves
/// reading y.
enum class Mask { none, from_x, from_y };

template <class T>
struct BackwardArrays {
  const T *dy, *more, *x, *y;  // `more` is only read where two gradients are summed
  T *dresidual, *dx;
  const float *a, *b, *mean;  // wide
};

/// The gradient past ReLU: of dy, or with `two`, of dy + more.
template <Mask mask, bool two = false, class V, class T>
V gate(const BackwardArrays<T>& p, int64_t at, const V& a, const V& b) {
  V g = load<V>(p.dy + at);
  if constexpr (two) g += load<V>(p.more + at);
  if constexpr (mask == Mask::from_x) return a * load<V>(p.x + at) + b > 0.0f ? g : V{};
  if constexpr (mask == Mask::from_y) return load<V>(p.y + at) > 0.0f ? g : V{};
  return g;
}

/// Sums of g and of g (x - mean), where g is the gradient past ReLU, which is the residual's. With `frozen`
/// statistics, dx = a g is written in the same pass.
template <class T, Mask mask, bool two = false, bool frozen = false>
ChannelSums::Totals sum_gradients(const ChannelTiles& tiles, const BackwardArrays<T>& p) {
  const ChannelSums sums(tiles);
  tiles.for_each_strip([=, &sums](const Strip& strip) {
    strip.for_each_tile([&]<class V>(V, int64_t column) {
      V a[parts<V>], b[parts<V>], center[parts<V>], sum[parts<V>] = {}, products[parts<V>] = {};
      for (int v = 0; v < parts<V>; ++v) {
        a[v] = load<V>(p.a + column + v * lanes<V>);
        b[v] = load<V>(p.b + column + v * lanes<V>);
        center[v] = load<V>(p.mean + column + v * lanes<V>);
      }
      for (int64_t row = 0; row < strip.rows; ++row) {
        for (int v = 0; v < parts<V>; ++v) {
          const int64_t at = strip.offset + row * strip.width + column + v * lanes<V>;
          V g = gate<mask, two>(p, at, a[v], b[v]);
          if constexpr (mask == Mask::from_y) store(p.dresidual + at, g);
          if constexpr (two) g = load<V>(p.dresidual + at);  // rounded as it was stored
          sum[v] += g;
          products[v] += g * (load<V>(p.x + at) - center[v]);
          if constexpr (frozen) store(p.dx + at, a[v] * g);
        }
      }
      for (int v = 0; v < parts<V>; ++v) sums.add(strip, column + v * lanes<V>, sum[v], products[v]);
    });
  });
  return sums.totals();
}

/// dx = a g + slope (x - mean) + offset.
template <class T, Mask mask>
void write_gradient(const ChannelTiles& tiles, const BackwardArrays<T>& p, const std::vector<float>& slope,
                    const std::vector<float>& offset) {
  const std::vector<float> wide_slope = tiles.widen(slope), wide_offset = tiles.widen(offset);
  const float *slopes = wide_slope.data(), *offsets = wide_offset.data();
  tiles.for_each_strip([=](const Strip& strip) {
    strip.for_each_tile([&]<class V>(V, int64_t column) {
      V a[parts<V>], b[parts<V>], center[parts<V>], s[parts<V>], o[parts<V>];
      for (int v = 0; v < parts<V>; ++v) {
        a[v] = load<V>(p.a + column + v * lanes<V>);
        b[v] = load<V>(p.b + column + v * lanes<V>);
        center[v] = load<V>(p.mean + column + v * lanes<V>);
        s[v] = load<V>(slopes + column + v * lanes<V>);
        o[v] = load<V>(offsets + column + v * lanes<V>);
      }
      for (int64_t row = 0; row < strip.rows; ++row) {
        for (int v = 0; v < parts<V>; ++v) {
          const int64_t at = strip.offset + row * strip.width + column + v * lanes<V>;
          V g;
          if constexpr (mask == Mask::from_y)
            g = load<V>(p.dresidual + at);
          else
            g = gate<mask>(p, at, a[v], b[v]);
          store(p.dx + at, a[v] * g + (s[v] * (load<V>(p.x + at) - center[v]) + o[v]));
        }
      }
    });
  });
}

/// With g the gradient past ReLU, and n rows:  dbias = sum g,  dweight = sum g xhat,
/// dx = weight * inverse_std * (g - dbias / n - xhat * dweight / n),  xhat = (x - mean) * inverse_std.
template <class T, Mask mask>
void backward_passes(const ChannelTiles& tiles, const BackwardArrays<T>& p, const BatchNormResult& forward,
                     const BatchNormGradients& out) {
  const ChannelSums::Totals sums = mask == Mask::from_y && p.more != nullptr
                                       ? sum_gradients<T, mask, mask == Mask::from_y>(tiles, p)
                                       : sum_gradients<T, mask>(tiles, p);
  const double n = tiles.count();
  std::vector<float> slope(sums.first.size()), offset(sums.first.size());
  for (size_t c = 0; c < slope.size(); ++c) {
    const double inverse_std = forward.inverse_std.data<float>()[c], a = p.a[c];
    const double dweight = sums.second[c] * inverse_std;
    out.dbias.data<float>()[c] = static_cast<float>(sums.first[c]);
    out.dweight.data<float>()[c] = static_cast<float>(dweight);
    slope[c] = static_cast<float>(-a * inverse_std * dweight / n);
    offset[c] = static_cast<float>(-a * sums.first[c] / n);
  }
  write_gradient<T, mask>(tiles, p, slope, offset);
}

/// dbias = sum g,  dweight = sum g xhat,  dx = weight * inverse_std * g.
template <class T, Mask mask>
void frozen_backward_pass(const ChannelTiles& tiles, const BackwardArrays<T>& p,
                          const std::vector<float>& inverse_std, const BatchNormGradients& out) {
  const ChannelSums::Totals sums = mask == Mask::from_y && p.more != nullptr
                                       ? sum_gradients<T, mask, mask == Mask::from_y, true>(tiles, p)
                                       : sum_gradients<T, mask, false, true>(tiles, p);
  for (size_t c = 0; c < inverse_std.size(); ++c) {
    out.dbias.data<float>()[c] = static_cast<float>(sums.first[c]);
    out.dweight.data<float>()[c] = static_cast<float>(sums.second[c] * inverse_std[c]);
  }
}

/// dx += slope (x - mean) + offset; all three are wide.
template <class T>
void add_line(const ChannelTiles& tiles, const T* x, const float* slopes, const float* means,
              const float* offsets, T* dx) {
  tiles.for_each_strip([=](const Strip& strip) {
    strip.for_each_tile([&]<class V>(V, int64_t column) {
      V slope[parts<V>], center[parts<V>], offset[parts<V>];
      for (int v = 0; v < parts<V>; ++v) {
        slope[v] = load<V>(slopes + column + v * lanes<V>);
        center[v] = load<V>(means + column + v * lanes<V>);
        offset[v] = load<V>(offsets + column + v * lanes<V>);
      }
      for (int64_t row = 0; row < strip.rows; ++row) {
        for (int v = 0; v < parts<V>; ++v) {
          const int64_t at = strip.offset + row * strip.width + column + v * lanes<V>;
          store(dx + at, load<V>(dx + at) + (slope[v] * (load<V>(x + at) - center[v]) + offset[v]));
        }
      }
    });
  });
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
                            const Affine& affine, const std::vector<float>& mean,
                            const BatchNormGradients& out) {
  return {.dy = dy.data<T>(),
          .more = more.defined() ? more.data<T>() : nullptr,
          .x = x.data<T>(),
          .y = y.data<T>(),
          .dresidual = out.dresidual.defined() ? out.dresidual.data<T>() : nullptr,
          .dx = out.dx.data<T>(),
          .a = affine.a.data(),
          .b = affine.b.data(),
          .mean = mean.data()};
}

std::vector<float> inverse_deviations(const Tensor& variance, float epsilon) {
  std::vector<float> inverse_std = variance.to_vector<float>();
  for (float& value : inverse_std) value = 1.0f / std::sqrt(value + epsilon);
  return inverse_std;
}

}  // namespace

void CpuBackend::batch_norm(const Tensor& x, const BatchNormState& state, const Tensor& residual,
                            const BatchNormOptions& options, const BatchNormResult& out) {
  const ChannelTiles tiles(x);
  dispatch_float(x.dtype(), [&]<class T>(T) {
    compute_statistics<T>(tiles, x, state, options, out);
    const Affine affine(tiles, state, out.mean.data<float>(), out.inverse_std.data<float>());
    apply<T>(tiles, affine, x, residual, options.relu, out.y);
  });
}

void CpuBackend::batch_norm_inference(const Tensor& x, const BatchNormState& state, const Tensor& residual,
                                      const BatchNormOptions& options, const Tensor& y) {
  const ChannelTiles tiles(x);
  const std::vector<float> inverse_std = inverse_deviations(state.running_variance, options.epsilon);
  const Affine affine(tiles, state, state.running_mean.data<float>(), inverse_std.data());
  dispatch_float(x.dtype(), [&]<class T>(T) { apply<T>(tiles, affine, x, residual, options.relu, y); });
}

void CpuBackend::batch_norm_backward(const Tensor& dy, const Tensor& more, const Tensor& x,
                                     const BatchNormResult& forward, const BatchNormState& state,
                                     const BatchNormOptions& options, const BatchNormGradients& out) {
  const ChannelTiles tiles(x);
  const Affine affine(tiles, state, forward.mean.data<float>(), forward.inverse_std.data<float>());
  const std::vector<float> mean = tiles.widen(forward.mean.to_vector<float>());
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const auto arrays = arrays_of<T>(dy, more, x, forward.y, affine, mean, out);
    dispatch_mask(options.relu, out, [&]<Mask mask>(std::integral_constant<Mask, mask>) {
      backward_passes<T, mask>(tiles, arrays, forward, out);
    });
  });
}

void CpuBackend::batch_norm_inference_backward(const Tensor& dy, const Tensor& more, const Tensor& x,
                                               const Tensor& y, const BatchNormState& state,
                                               const BatchNormOptions& options,
                                               const BatchNormGradients& out) {
  const ChannelTiles tiles(x);
  const std::vector<float> inverse_std = inverse_deviations(state.running_variance, options.epsilon);
  const Affine affine(tiles, state, state.running_mean.data<float>(), inverse_std.data());
  const std::vector<float> mean = tiles.widen(state.running_mean.to_vector<float>());
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const auto arrays = arrays_of<T>(dy, more, x, y, affine, mean, out);
    dispatch_mask(options.relu, out, [&]<Mask mask>(std::integral_constant<Mask, mask>) {
      frozen_backward_pass<T, mask>(tiles, arrays, inverse_std, out);
    });
  });
}

void CpuBackend::batch_moments(const Tensor& x, const Tensor& moments) {
  const ChannelTiles tiles(x);
  const auto channels = static_cast<size_t>(tiles.channels());
  float* out = moments.data<float>();
  dispatch_float(x.dtype(), [&]<class T>(T) {
    for_moments<T>(tiles, x, [&](size_t c, double mean, double variance) {
      out[c] = static_cast<float>(mean);
      out[channels + c] = static_cast<float>(variance);
    });
  });
  out[2 * channels] = static_cast<float>(tiles.count());
}

void CpuBackend::combine_moments(const Tensor& parts, const Tensor& running_mean,
                                 const Tensor& running_variance, float momentum, const Tensor& moments) {
  const int64_t channels = running_mean.numel();
  float *mean_so_far = running_mean.data<float>(), *variance_so_far = running_variance.data<float>();
  float* out = moments.data<float>();
  for (int64_t c = 0; c < channels; ++c) {
    const ChannelMoments all = combined_moments(parts.data<float>(), parts.size(0), channels, c);
    out[c] = static_cast<float>(all.mean);
    out[channels + c] = static_cast<float>(all.variance());
    out[2 * channels] = static_cast<float>(all.rows);
    mean_so_far[c] += momentum * (out[c] - mean_so_far[c]);
    variance_so_far[c] += momentum * (static_cast<float>(all.unbiased_variance()) - variance_so_far[c]);
  }
}

void CpuBackend::add_moments_gradient(const Tensor& dx, const Tensor& x, const Tensor& weight,
                                      const Tensor& moments, const Tensor& sums, float epsilon) {
  const ChannelTiles tiles(x);
  std::vector<float> slope, offset;
  for (int64_t c = 0; c < tiles.channels(); ++c) {
    const auto line = MomentsGradient::of(weight.data<float>(), moments.data<float>(), sums.data<float>(),
                                          epsilon, tiles.channels(), c);
    slope.push_back(line.slope);
    offset.push_back(line.offset);
  }
  const std::vector<float> slopes = tiles.widen(slope), offsets = tiles.widen(offset),
                           means = tiles.widen(moments.rows(0, tiles.channels()).to_vector<float>());
  dispatch_float(x.dtype(), [&]<class T>(T) {
    add_line<T>(tiles, x.data<T>(), slopes.data(), means.data(), offsets.data(), dx.data<T>());
  });
}

}  // namespace la
