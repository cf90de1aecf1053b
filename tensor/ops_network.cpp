// The ops of convolutional networks: matrix products, convolution, pooling, batch norm:
// checks, outputs, calls.
#include "tensor/backend.h"
#include "tensor/ops.h"
#include "tensor/ops_checks.h"

namespace la::ops {
namespace {

/// Rows and columns of op(x).
Shape matrix_shape(const Tensor& x, bool transpose) {
  return transpose ? Shape{x.size(1), x.size(0)} : Shape{x.size(0), x.size(1)};
}

Shape product_shape(const char* op, const Tensor& a, const Tensor& b, const MatmulOptions& options) {
  check_float(op, "a", a);
  check_dtype(op, "b", b, a.dtype());
  check_rank(op, "a", a, 2);
  check_rank(op, "b", b, 2);
  check_same_device(op, a, b);
  const Shape left = matrix_shape(a, options.transpose_a), right = matrix_shape(b, options.transpose_b);
  check(left[1] == right[0], "{}: {}{} times {}{}, expected equal inner extents", op, a.shape(),
        options.transpose_a ? " transposed" : "", b.shape(), options.transpose_b ? " transposed" : "");
  return {left[0], right[1]};
}

int64_t convolved_extent(int64_t extent, int64_t kernel, const ConvGeometry& g) {
  return (extent + 2 * g.padding - g.dilation * (kernel - 1) - 1) / g.stride + 1;
}

/// Checks a convolution's operands and returns its output's shape.
Shape conv_shape(const char* op, const Shape& x, const Shape& weight, const ConvGeometry& g) {
  check(x.rank() == 4 && weight.rank() == 4,
        "{}: x has shape {} and the weight {}, expected [N, H, W, I] and [O, KH, KW, I]", op, x, weight);
  check(g.stride >= 1 && g.padding >= 0 && g.dilation >= 1,
        "{}: stride {}, padding {}, dilation {}; expected >= 1, >= 0, >= 1", op, g.stride, g.padding,
        g.dilation);
  check(x[3] == weight[3], "{}: x of shape {} has {} channels, the weight of shape {} expects {}", op, x,
        x[3], weight, weight[3]);
  const bool fits = x[1] + 2 * g.padding >= g.dilation * (weight[1] - 1) + 1 &&
                    x[2] + 2 * g.padding >= g.dilation * (weight[2] - 1) + 1;
  check(fits, "{}: the kernel of weight {} is larger than x of shape {} with padding {}", op, weight, x,
        g.padding);
  return {x[0], convolved_extent(x[1], weight[1], g), convolved_extent(x[2], weight[2], g), weight[0]};
}

/// How many windows there are along an axis.
int64_t pooled_extent(int64_t extent, const PoolGeometry& g) {
  const int64_t room = extent + 2 * g.padding - g.kernel;
  const int64_t whole = room / g.stride + 1;
  const bool one_more = g.ceil_mode && room % g.stride != 0 && whole * g.stride < extent + g.padding;
  return one_more ? whole + 1 : whole;
}

Shape pool_shape(const char* op, const Shape& x, const PoolGeometry& g) {
  check(x.rank() == 4, "{}: x has shape {}, expected [N, H, W, C]", op, x);
  check(g.kernel >= 1 && g.stride >= 1 && g.padding >= 0 && 2 * g.padding <= g.kernel,
        "{}: kernel {}, stride {}, padding {}; expected >= 1, >= 1, 0 to half the kernel", op, g.kernel,
        g.stride, g.padding);
  check(x[1] + 2 * g.padding >= g.kernel && x[2] + 2 * g.padding >= g.kernel,
        "{}: a window of {} is larger than x of shape {} with padding {}", op, g.kernel, x, g.padding);
  return {x[0], pooled_extent(x[1], g), pooled_extent(x[2], g), x[3]};
}

void check_batch_norm(const char* op, const Tensor& x, const BatchNormState& state, const Tensor& residual) {
  check_float(op, "x", x);
  check(x.rank() >= 2, "{}: x has shape {}, expected [..., C]", op, x.shape());
  check_channels(op, "the weight", state.weight, x.size(-1));
  check_channels(op, "the bias", state.bias, x.size(-1));
  check_channels(op, "the running mean", state.running_mean, x.size(-1));
  check_channels(op, "the running variance", state.running_variance, x.size(-1));
  check_same_device(op, x, state.weight);
  if (residual.defined()) check_alike(op, x, residual);
}

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b, const MatmulOptions& options) {
  check(options.beta == 0.0f, "matmul: beta is {}, but there is no c to add; use matmul_into", options.beta);
  Tensor c(product_shape("matmul", a, b, options), a.dtype(), a.device());
  backend(a.device()).matmul(a, b, options, c);
  return c;
}

void matmul_into(const Tensor& c, const Tensor& a, const Tensor& b, const MatmulOptions& options) {
  constexpr const char* op = "matmul_into";
  check_dtype(op, "c", c, a.dtype());
  check_shape(op, "c", c, product_shape(op, a, b, options));
  check_same_device(op, a, c);
  backend(a.device()).matmul(a, b, options, c);
}

Tensor conv2d(const Tensor& x, const Tensor& weight, const ConvGeometry& geometry) {
  check_float("conv2d", "x", x);
  check_dtype("conv2d", "the weight", weight, x.dtype());
  check_same_device("conv2d", x, weight);
  Tensor y(conv_shape("conv2d", x.shape(), weight.shape(), geometry), x.dtype(), x.device());
  backend(x.device()).conv2d(x, weight, geometry, y);
  return y;
}

Tensor conv2d_backward_data(const Tensor& dy, const Tensor& weight, const Shape& x_shape,
                            const ConvGeometry& geometry) {
  constexpr const char* op = "conv2d_backward_data";
  check_float(op, "dy", dy);
  check_dtype(op, "the weight", weight, dy.dtype());
  check_same_device(op, dy, weight);
  check_shape(op, "dy", dy, conv_shape(op, x_shape, weight.shape(), geometry));
  Tensor dx(x_shape, dy.dtype(), dy.device());
  backend(dy.device()).conv2d_backward_data(dy, weight, geometry, dx);
  return dx;
}

Tensor conv2d_backward_weight(const Tensor& dy, const Tensor& x, const Shape& weight_shape,
                              const ConvGeometry& geometry) {
  constexpr const char* op = "conv2d_backward_weight";
  check_float(op, "dy", dy);
  check_dtype(op, "x", x, dy.dtype());
  check_same_device(op, dy, x);
  check_shape(op, "dy", dy, conv_shape(op, x.shape(), weight_shape, geometry));
  Tensor dweight(weight_shape, DType::f32, dy.device());
  backend(dy.device()).conv2d_backward_weight(dy, x, geometry, dweight);
  return dweight;
}

MaxPoolResult max_pool2d(const Tensor& x, const PoolGeometry& geometry) {
  check_float("max_pool2d", "x", x);
  check(geometry.kernel <= 16, "max_pool2d: kernel {}, expected at most 16", geometry.kernel);
  const Shape shape = pool_shape("max_pool2d", x.shape(), geometry);
  MaxPoolResult out{Tensor(shape, x.dtype(), x.device()), Tensor(shape, DType::u8, x.device())};
  backend(x.device()).max_pool2d(x, geometry, out);
  return out;
}

Tensor max_pool2d_backward(const Tensor& dy, const Tensor& argmax, const Shape& x_shape,
                           const PoolGeometry& geometry) {
  constexpr const char* op = "max_pool2d_backward";
  check_float(op, "dy", dy);
  check_shape(op, "dy", dy, pool_shape(op, x_shape, geometry));
  check_dtype(op, "the argmax", argmax, DType::u8);
  check_shape(op, "the argmax", argmax, dy.shape());
  Tensor dx(x_shape, dy.dtype(), dy.device());
  backend(dy.device()).max_pool2d_backward(dy, argmax, geometry, dx);
  return dx;
}

Tensor avg_pool2d(const Tensor& x, const PoolGeometry& geometry) {
  check_float("avg_pool2d", "x", x);
  Tensor y(pool_shape("avg_pool2d", x.shape(), geometry), x.dtype(), x.device());
  backend(x.device()).avg_pool2d(x, geometry, y);
  return y;
}

Tensor avg_pool2d_backward(const Tensor& dy, const Shape& x_shape, const PoolGeometry& geometry) {
  constexpr const char* op = "avg_pool2d_backward";
  check_float(op, "dy", dy);
  check_shape(op, "dy", dy, pool_shape(op, x_shape, geometry));
  Tensor dx(x_shape, dy.dtype(), dy.device());
  backend(dy.device()).avg_pool2d_backward(dy, geometry, dx);
  return dx;
}

Tensor global_avg_pool(const Tensor& x) {
  check_float("global_avg_pool", "x", x);
  check_rank("global_avg_pool", "x", x, 4);
  Tensor y({x.size(0), x.size(3)}, x.dtype(), x.device());
  backend(x.device()).global_avg_pool(x, y);
  return y;
}

Tensor global_avg_pool_backward(const Tensor& dy, const Shape& x_shape) {
  constexpr const char* op = "global_avg_pool_backward";
  check_float(op, "dy", dy);
  check(x_shape.rank() == 4, "{}: x has shape {}, expected [N, H, W, C]", op, x_shape);
  check_shape(op, "dy", dy, {x_shape[0], x_shape[3]});
  Tensor dx(x_shape, dy.dtype(), dy.device());
  backend(dy.device()).global_avg_pool_backward(dy, dx);
  return dx;
}

BatchNormResult batch_norm(const Tensor& x, const BatchNormState& state, const Tensor& residual,
                           const BatchNormOptions& options) {
  check_batch_norm("batch_norm", x, state, residual);
  check(x.numel() / std::max<int64_t>(x.size(-1), 1) >= 2,
        "batch_norm: x of shape {} has one value a channel, expected at least 2", x.shape());
  const Shape channels{x.size(-1)};
  BatchNormResult out{Tensor(x.shape(), x.dtype(), x.device()), Tensor(channels, DType::f32, x.device()),
                      Tensor(channels, DType::f32, x.device())};
  backend(x.device()).batch_norm(x, state, residual, options, out);
  return out;
}

Tensor batch_norm_inference(const Tensor& x, const BatchNormState& state, const Tensor& residual,
                            const BatchNormOptions& options) {
  check_batch_norm("batch_norm_inference", x, state, residual);
  Tensor y(x.shape(), x.dtype(), x.device());
  backend(x.device()).batch_norm_inference(x, state, residual, options, y);
  return y;
}

namespace {

/// With room for dresidual where ReLU masks it.
BatchNormGradients room_for_gradients(const Tensor& x, bool masks) {
  const Shape channels{x.size(-1)};
  return {Tensor(x.shape(), x.dtype(), x.device()), Tensor(channels, DType::f32, x.device()),
          Tensor(channels, DType::f32, x.device()),
          masks ? Tensor(x.shape(), x.dtype(), x.device()) : Tensor()};
}

}  // namespace

BatchNormGradients batch_norm_backward(const Tensor& dy, const Tensor& x, const BatchNormResult& forward,
                                       const BatchNormState& state, bool has_residual,
                                       const BatchNormOptions& options, const Tensor& more) {
  constexpr const char* op = "batch_norm_backward";
  const bool masks = has_residual && options.relu;  // writes the gradient that ReLU lets through
  if (more.defined() && !masks)
    return batch_norm_backward(add(dy, more), x, forward, state, has_residual, options);
  check_batch_norm(op, x, state, Tensor());
  check_alike(op, dy, x);
  check_alike(op, forward.y, x);
  BatchNormGradients out = room_for_gradients(x, masks);
  if (more.defined()) check_alike(op, more, x);
  backend(x.device()).batch_norm_backward(dy, more, x, forward, state, options, out);
  if (has_residual && !options.relu) out.dresidual = dy;  // the sum hands its gradient on as it is
  return out;
}

BatchNormGradients batch_norm_inference_backward(const Tensor& dy, const Tensor& x, const Tensor& y,
                                                 const BatchNormState& state, bool has_residual,
                                                 const BatchNormOptions& options, const Tensor& more) {
  constexpr const char* op = "batch_norm_inference_backward";
  const bool masks = has_residual && options.relu;  // writes the gradient that ReLU lets through
  if (more.defined() && !masks)
    return batch_norm_inference_backward(add(dy, more), x, y, state, has_residual, options);
  check_batch_norm(op, x, state, Tensor());
  check_alike(op, dy, x);
  check_alike(op, y, x);
  if (more.defined()) check_alike(op, more, x);
  BatchNormGradients out = room_for_gradients(x, masks);
  backend(x.device()).batch_norm_inference_backward(dy, more, x, y, state, options, out);
  if (has_residual && !options.relu) out.dresidual = dy;  // the sum hands its gradient on as it is
  return out;
}

Tensor batch_moments(const Tensor& x) {
  constexpr const char* op = "batch_moments";
  check_float(op, "x", x);
  check(x.rank() >= 2, "{}: x has shape {}, expected [..., C]", op, x.shape());
  check(x.numel() > 0, "{}: x of shape {} has no rows, expected at least 1", op, x.shape());
  Tensor moments({2 * x.size(-1) + 1}, DType::f32, x.device());
  backend(x.device()).batch_moments(x, moments);
  return moments;
}

Tensor combine_moments(const Tensor& parts, const Tensor& running_mean, const Tensor& running_variance,
                       float momentum) {
  constexpr const char* op = "combine_moments";
  check_channels(op, "the running mean", running_mean, running_mean.numel());
  check_channels(op, "the running variance", running_variance, running_mean.numel());
  check_dtype(op, "the moments", parts, DType::f32);
  check_rank(op, "the moments", parts, 2);
  check(parts.size(0) > 0, "{}: moments of no parts", op);
  check_shape(op, "the moments", parts, {parts.size(0), 2 * running_mean.numel() + 1});
  check_same_device(op, parts, running_mean);
  check_same_device(op, parts, running_variance);
  Tensor moments({parts.size(1)}, DType::f32, parts.device());
  backend(parts.device()).combine_moments(parts, running_mean, running_variance, momentum, moments);
  return moments;
}

void add_moments_gradient(const Tensor& dx, const Tensor& x, const Tensor& weight, const Tensor& moments,
                          const Tensor& sums, float epsilon) {
  constexpr const char* op = "add_moments_gradient";
  check_float(op, "x", x);
  check(x.rank() >= 2, "{}: x has shape {}, expected [..., C]", op, x.shape());
  check_alike(op, dx, x);
  check_channels(op, "the weight", weight, x.size(-1));
  check_dtype(op, "the moments", moments, DType::f32);
  check_shape(op, "the moments", moments, {2 * x.size(-1) + 1});
  check_dtype(op, "the sums", sums, DType::f32);
  check_shape(op, "the sums", sums, {2 * x.size(-1)});
  for (const Tensor& of_channels : {weight, moments, sums}) check_same_device(op, x, of_channels);
  backend(x.device()).add_moments_gradient(dx, x, weight, moments, sums, epsilon);
}

}  // namespace la::ops
