// Reference loops of convolution, pooling and batch normalization.
#include <algorithm>

#include "tests/reference.h"

namespace la::reference {
namespace {

int64_t out_extent(int64_t in, int64_t kernel, int stride, int padding, int dilation) {
  return (in + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1;
}

/// Calls f(n, oh, ow, kh, kw, h, w) for every output position and every position (h, w) of its window that
/// lies inside the picture.
template <class F>
void for_each_window(int64_t batch, int64_t height, int64_t width, int64_t kernel_height,
                     int64_t kernel_width, const ConvGeometry& g, int64_t out_height, int64_t out_width,
                     F f) {
  for (int64_t n = 0; n < batch; ++n)
    for (int64_t oh = 0; oh < out_height; ++oh)
      for (int64_t ow = 0; ow < out_width; ++ow)
        for (int64_t kh = 0; kh < kernel_height; ++kh)
          for (int64_t kw = 0; kw < kernel_width; ++kw) {
            const int64_t h = oh * g.stride - g.padding + kh * g.dilation;
            const int64_t w = ow * g.stride - g.padding + kw * g.dilation;
            if (h >= 0 && h < height && w >= 0 && w < width) f(n, oh, ow, kh, kw, h, w);
          }
}

/// How many windows there are: all that end within the padding, and with ceil_mode all that begin before the
/// padding behind the picture, up to the first that reaches the end of that padding.
int64_t pooled_extent(int64_t in, const PoolGeometry& g) {
  int64_t count = 0;
  for (int64_t begin = -g.padding; begin < in; begin += g.stride) {
    const int64_t end = begin + g.kernel, last = in + g.padding;
    const bool reached = count > 0 && begin - g.stride + g.kernel >= last;
    if (end <= last || (g.ceil_mode && !reached)) ++count;
  }
  return count;
}

/// The same for the windows of a pooling over pictures of that shape.
template <class F>
void for_each_window(const Shape& x, const PoolGeometry& g, F f) {
  const Shape y = pooled_shape(x, g);
  for_each_window(x[0], x[1], x[2], g.kernel, g.kernel, {.stride = g.stride, .padding = g.padding}, y[1],
                  y[2], f);
}

Array totals(const std::vector<Sum>& sums, const Shape& shape, DType dtype) {
  Array y(shape, dtype);
  for (int64_t i = 0; i < y.numel(); ++i) y[i] = sums[static_cast<size_t>(i)].total();
  return y;
}

/// A sum for each element of an array of images, addressed as the array is.
struct ImageSums {
  explicit ImageSums(Shape s) : shape(s), sums(static_cast<size_t>(shape.numel())) {}
  Sum& at(int64_t n, int64_t h, int64_t w, int64_t c) {
    return sums[static_cast<size_t>(((n * shape[1] + h) * shape[2] + w) * shape[3] + c)];
  }
  Array total(DType dtype) const { return totals(sums, shape, dtype); }

  Shape shape;
  std::vector<Sum> sums;
};

}  // namespace

Shape pooled_shape(const Shape& x, const PoolGeometry& g) {
  return {x[0], pooled_extent(x[1], g), pooled_extent(x[2], g), x[3]};
}

Array conv2d(const Array& x, const Array& weight, const ConvGeometry& g) {
  ImageSums y({x.size(0), out_extent(x.size(1), weight.size(1), g.stride, g.padding, g.dilation),
               out_extent(x.size(2), weight.size(2), g.stride, g.padding, g.dilation), weight.size(0)});
  for_each_window(x.size(0), x.size(1), x.size(2), weight.size(1), weight.size(2), g, y.shape[1], y.shape[2],
                  [&](int64_t n, int64_t oh, int64_t ow, int64_t kh, int64_t kw, int64_t h, int64_t w) {
                    for (int64_t o = 0; o < weight.size(0); ++o)
                      for (int64_t i = 0; i < x.size(3); ++i)
                        y.at(n, oh, ow, o).add(x.at(n, h, w, i) * weight.at(o, kh, kw, i));
                  });
  return y.total(x.dtype);
}

Array conv2d_backward_data(const Array& dy, const Array& weight, const Shape& x_shape,
                           const ConvGeometry& g) {
  ImageSums dx(x_shape);
  for_each_window(x_shape[0], x_shape[1], x_shape[2], weight.size(1), weight.size(2), g, dy.size(1),
                  dy.size(2),
                  [&](int64_t n, int64_t oh, int64_t ow, int64_t kh, int64_t kw, int64_t h, int64_t w) {
                    for (int64_t o = 0; o < weight.size(0); ++o)
                      for (int64_t i = 0; i < x_shape[3]; ++i)
                        dx.at(n, h, w, i).add(dy.at(n, oh, ow, o) * weight.at(o, kh, kw, i));
                  });
  return dx.total(dy.dtype);
}

Array conv2d_backward_weight(const Array& dy, const Array& x, const Shape& weight_shape,
                             const ConvGeometry& g) {
  ImageSums dweight(weight_shape);
  for_each_window(x.size(0), x.size(1), x.size(2), weight_shape[1], weight_shape[2], g, dy.size(1),
                  dy.size(2),
                  [&](int64_t n, int64_t oh, int64_t ow, int64_t kh, int64_t kw, int64_t h, int64_t w) {
                    for (int64_t o = 0; o < weight_shape[0]; ++o)
                      for (int64_t i = 0; i < weight_shape[3]; ++i)
                        dweight.at(o, kh, kw, i).add(dy.at(n, oh, ow, o) * x.at(n, h, w, i));
                  });
  Array result = dweight.total(DType::f32);
  if (x.dtype == DType::bf16)  // a device may round once to the type of the operands
    for (Bounded& value : result.values) value = value.rounded(1, bf16_roundoff);
  return result;
}

Arrays max_pool2d(const Array& x, const PoolGeometry& g) {
  Array y(pooled_shape(x.shape, g), x.dtype), argmax(y.shape, DType::u8);
  std::fill(argmax.values.begin(), argmax.values.end(), Bounded(-1));
  for_each_window(x.shape, g,
                  [&](int64_t n, int64_t oh, int64_t ow, int64_t kh, int64_t kw, int64_t h, int64_t w) {
                    for (int64_t c = 0; c < x.size(3); ++c) {
                      const bool first = argmax.at(n, oh, ow, c).value < 0;
                      const double value = x.at(n, h, w, c).value, best = y.at(n, oh, ow, c).value;
                      if (!first && (value <= best || std::isnan(best))) continue;  // the first NaN stays
                      y.at(n, oh, ow, c) = x.at(n, h, w, c);
                      argmax.at(n, oh, ow, c) = static_cast<double>(kh * g.kernel + kw);
                    }
                  });
  return {y, argmax};
}

Array max_pool2d_backward(const Array& dy, const Array& argmax, const Shape& x_shape, const PoolGeometry& g) {
  ImageSums dx(x_shape);
  for_each_window(x_shape, g,
                  [&](int64_t n, int64_t oh, int64_t ow, int64_t kh, int64_t kw, int64_t h, int64_t w) {
                    for (int64_t c = 0; c < x_shape[3]; ++c)
                      if (argmax.at(n, oh, ow, c).value == static_cast<double>(kh * g.kernel + kw))
                        dx.at(n, h, w, c).add(dy.at(n, oh, ow, c));
                  });
  return dx.total(dy.dtype);
}

namespace {

/// Number of positions of each window that lie inside the picture; the same for each channel.
Array window_sizes(const Shape& x_shape, const PoolGeometry& g) {
  Array sizes(pooled_shape(x_shape, g));
  for_each_window(x_shape, g, [&](int64_t n, int64_t oh, int64_t ow, auto...) {
    for (int64_t c = 0; c < x_shape[3]; ++c) sizes.at(n, oh, ow, c).value += 1;
  });
  return sizes;
}

}  // namespace

Array avg_pool2d(const Array& x, const PoolGeometry& g) {
  ImageSums sums(pooled_shape(x.shape, g));
  for_each_window(x.shape, g, [&](int64_t n, int64_t oh, int64_t ow, int64_t, int64_t, int64_t h, int64_t w) {
    for (int64_t c = 0; c < x.size(3); ++c) sums.at(n, oh, ow, c).add(x.at(n, h, w, c));
  });
  return map(sums.total(x.dtype), window_sizes(x.shape, g), std::divides());
}

Array avg_pool2d_backward(const Array& dy, const Shape& x_shape, const PoolGeometry& g) {
  const Array share = map(dy, window_sizes(x_shape, g), std::divides());
  ImageSums dx(x_shape);
  for_each_window(x_shape, g, [&](int64_t n, int64_t oh, int64_t ow, int64_t, int64_t, int64_t h, int64_t w) {
    for (int64_t c = 0; c < x_shape[3]; ++c) dx.at(n, h, w, c).add(share.at(n, oh, ow, c));
  });
  return dx.total(dy.dtype);
}

Array global_avg_pool(const Array& x) {
  const int64_t batch = x.size(0), pixels = x.size(1) * x.size(2), channels = x.size(3);
  Array y({batch, channels}, x.dtype);
  for (int64_t n = 0; n < batch; ++n)
    for (int64_t c = 0; c < channels; ++c) {
      Sum sum;
      for (int64_t p = 0; p < pixels; ++p) sum.add(x.at(n * pixels + p, c));
      y.at(n, c) = sum.total() / Bounded(static_cast<double>(pixels));
    }
  return y;
}

Array global_avg_pool_backward(const Array& dy, const Shape& x_shape) {
  const int64_t pixels = x_shape[1] * x_shape[2];
  Array dx(x_shape, dy.dtype);
  for (int64_t row = 0; row < dx.rows(); ++row)
    for (int64_t c = 0; c < dx.columns(); ++c)
      dx.at(row, c) = dy.at(row / pixels, c) / Bounded(static_cast<double>(pixels));
  return dx;
}

BatchStatistics batch_statistics(const Array& x, const BatchNormOptions& options) {
  const int64_t n = x.rows(), channels = x.columns();
  const Bounded count(static_cast<double>(n));
  BatchStatistics s{Array({channels}), Array({channels}), Array({channels})};
  for (int64_t c = 0; c < channels; ++c) {
    Sum sum, squares;
    for (int64_t r = 0; r < n; ++r) sum.add(x.at(r, c));
    s.mean[c] = sum.total() / count;
    for (int64_t r = 0; r < n; ++r) {
      const Bounded d = x.at(r, c) - s.mean[c];
      squares.add(d * d);
    }
    s.variance[c] = squares.total() / count;
    s.inverse_std[c] = Bounded(1) / sqrt(s.variance[c] + Bounded(options.epsilon));
  }
  return s;
}

// The bound is that of x * a + b with a = weight * inverse_std and b = bias - mean * a, the form with the
// larger error.
Array normalized(const Array& x, const Array& mean, const Array& inverse_std, const Array& weight,
                 const Array& bias, const Array& residual, bool relu) {
  Array y(x.shape, x.dtype);
  for (int64_t r = 0; r < x.rows(); ++r)
    for (int64_t c = 0; c < x.columns(); ++c) {
      const Bounded a = weight[c] * inverse_std[c];
      Bounded z = x.at(r, c) * a + (bias[c] - mean[c] * a);
      if (residual.shape.rank() > 0) z = z + residual.at(r, c);
      y.at(r, c) = relu ? positive_part(z) : z;
    }
  return y;
}

Arrays batch_norm(const Arrays& in, const BatchNormOptions& o) {
  const BatchStatistics s = batch_statistics(in[0], o);
  const Array residual = in.size() > 6 ? in[6] : Array();
  const Array y = normalized(in[0], s.mean, s.inverse_std, in[1], in[2], residual, o.relu);
  const auto n = static_cast<double>(in[0].rows());
  const Bounded momentum(o.momentum), keep = Bounded(1) - momentum, unbiased = Bounded(n) / Bounded(n - 1);
  const auto blend = [&](const Bounded& old, const Bounded& batch) { return keep * old + momentum * batch; };
  const Array variance = map(s.variance, [&](const Bounded& v) { return v * unbiased; });
  return {y, s.mean, s.inverse_std, map(in[3], s.mean, blend), map(in[4], variance, blend)};
}

// The values are those of the definition; the bounds are those of sums of x - x_0, which do not grow with the mean.
Array batch_moments(const Array& x) {
  const int64_t n = x.rows(), channels = x.columns();
  const Bounded count(static_cast<double>(n));
  Array moments({2 * channels + 1});
  for (int64_t c = 0; c < channels; ++c) {
    Sum deviations, squares;
    double sum = 0, square = 0;
    for (int64_t r = 0; r < n; ++r) {
      const Bounded d = x.at(r, c) - x.at(0, c);
      deviations.add(d);
      squares.add(d * d);
      sum += x.at(r, c).value;
    }
    const double mean = sum / count.value;
    for (int64_t r = 0; r < n; ++r) square += std::pow(x.at(r, c).value - mean, 2);
    const Bounded offset = deviations.total() / count;
    moments[c] = {mean, (x.at(0, c) + offset).error};
    moments[channels + c] = {square / count.value, (squares.total() / count - offset * offset).error};
  }
  moments[2 * channels] = count;
  return moments;
}

// In double precision, so that only the results are rounded to f32.
Array combine_moments(const Array& parts) {
  const int64_t channels = parts.columns() / 2;
  Array moments({parts.columns()});
  double rows = 0;
  for (int64_t p = 0; p < parts.rows(); ++p) rows += parts.at(p, 2 * channels).value;
  for (int64_t c = 0; c < channels; ++c) {
    double mean = 0, variance = 0;
    const auto share = [&](int64_t p) { return parts.at(p, 2 * channels).value / rows; };
    for (int64_t p = 0; p < parts.rows(); ++p) mean += share(p) * parts.at(p, c).value;
    for (int64_t p = 0; p < parts.rows(); ++p)
      variance += share(p) * (parts.at(p, channels + c).value + std::pow(parts.at(p, c).value - mean, 2));
    moments[c] = Bounded(mean).rounded();
    moments[channels + c] = Bounded(variance).rounded();
  }
  moments[2 * channels] = Bounded(rows).rounded();
  return moments;
}

// With xhat = (x - mean) * inverse_std and g the gradient at the sum:
// dbias = sum g, dweight = sum g xhat, dx = weight * inverse_std * (g - dbias / n - xhat * dweight / n).
Arrays batch_norm_backward(const Array& dy, const Array& x, const Array& weight, const Array& bias,
                           const Array& residual, const BatchNormOptions& options, bool in_two_steps) {
  const BatchStatistics s = batch_statistics(x, options);
  const Array z = normalized(x, s.mean, s.inverse_std, weight, bias, residual, false);
  const Array g = options.relu ? map(dy, z, pass_positive) : dy;
  const Bounded count(static_cast<double>(x.rows()));
  Array dx(x.shape, dy.dtype), dweight({x.columns()}), dbias({x.columns()});
  for (int64_t c = 0; c < x.columns(); ++c) {
    Sum weight_sum, bias_sum;
    const auto xhat = [&](int64_t r) { return (x.at(r, c) - s.mean[c]) * s.inverse_std[c]; };
    for (int64_t r = 0; r < x.rows(); ++r) {
      weight_sum.add(g.at(r, c) * xhat(r));
      bias_sum.add(g.at(r, c));
    }
    dweight[c] = weight_sum.total();
    dbias[c] = bias_sum.total();
    for (int64_t r = 0; r < x.rows(); ++r) {
      const Bounded a = weight[c] * s.inverse_std[c];
      dx.at(r, c) = a * (g.at(r, c) - dbias[c] / count - xhat(r) * (dweight[c] / count));
      // The first term's error is counted twice so.
      if (in_two_steps)
        dx.at(r, c).error +=
            (a * g.at(r, c)).rounded(1, x.dtype == DType::bf16 ? bf16_roundoff : f32_roundoff).error;
    }
  }
  if (residual.shape.rank() == 0) return {dx, dweight, dbias};
  return {dx, dweight, dbias, g};
}

// dbias = sum g, dweight = sum g xhat, dx = weight * inverse_std * g.
Arrays frozen_gradients(const Array& g, const Arrays& in, const BatchNormOptions& options,
                        bool has_residual) {
  const Array &x = in[0], &weight = in[1], &mean = in[3], &variance = in[4];
  Array dx(x.shape, x.dtype), dweight({x.columns()}), dbias({x.columns()});
  for (int64_t c = 0; c < x.columns(); ++c) {
    const Bounded inverse_std = Bounded(1) / sqrt(variance[c] + Bounded(options.epsilon));
    Sum weight_sum, bias_sum;
    for (int64_t r = 0; r < x.rows(); ++r) {
      weight_sum.add(g.at(r, c) * ((x.at(r, c) - mean[c]) * inverse_std));
      bias_sum.add(g.at(r, c));
      dx.at(r, c) = weight[c] * inverse_std * g.at(r, c);
    }
    dweight[c] = weight_sum.total();
    dbias[c] = bias_sum.total();
  }
  if (!has_residual) return {dx, dweight, dbias};
  return {dx, dweight, dbias, g};
}

}  // namespace la::reference
