#include "autograd/functions.h"

#include "tensor/ops.h"

namespace la {

Variable relu(const Variable& x) {
  Tensor y = ops::relu(x.value());
  return record("relu", y, {x}, [y](const Tensor& dy) -> Gradients { return {ops::relu_backward(dy, y)}; });
}

Variable sigmoid(const Variable& x) {
  Tensor y = ops::sigmoid(x.value());
  return record("sigmoid", y, {x},
                [y](const Tensor& dy) -> Gradients { return {ops::sigmoid_backward(dy, y)}; });
}

Variable add(const Variable& a, const Variable& b) {
  return record("add", ops::add(a.value(), b.value()), {a, b}, [](const Tensor& dy) -> Gradients {
    return {dy, dy};
  });
}

Variable multiply(const Variable& a, const Variable& b) {
  return record("multiply", ops::multiply(a.value(), b.value()), {a, b},
                [a = a.value(), b = b.value()](const Tensor& dy) -> Gradients {
                  return {ops::multiply(dy, b), ops::multiply(dy, a)};
                });
}

Variable scale(const Variable& x, float factor) {
  return record(
      "scale", ops::scale(x.value(), factor), {x},
      [factor](const Tensor& dy) -> Gradients { return {ops::scale(dy, factor)}; }, factor);
}

Variable dropout(const Variable& x, float p, const RandomKey& key, const Tensor& step) {
  return record("dropout", ops::dropout(x.value(), p, key, step), {x},
                [=](const Tensor& dy) -> Gradients { return {ops::dropout(dy, p, key, step)}; });
}

Variable cast(const Variable& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  return record("cast", ops::cast(x.value(), dtype), {x},
                [from = x.dtype()](const Tensor& dy) -> Gradients { return {ops::cast(dy, from)}; });
}

Variable reshape(const Variable& x, std::initializer_list<int64_t> extents) {
  return record("reshape", x.value().reshape(extents), {x},
                [shape = x.shape()](const Tensor& dy) -> Gradients { return {dy.reshape(shape)}; });
}

Variable linear(const Variable& x, const Variable& weight, const Variable& bias) {
  Tensor w = ops::cast(weight.value(), x.dtype());
  Variable y =
      record("linear", ops::matmul(x.value(), w, {.transpose_b = true}), {x, weight},
             [x = x.value(), w](const Tensor& dy) -> Gradients {
               return {ops::matmul(dy, w), ops::cast(ops::matmul(dy, x, {.transpose_a = true}), DType::f32)};
             });
  return bias.defined() ? add_bias(y, bias) : y;
}

Variable add_bias(const Variable& x, const Variable& bias) {
  return record("add_bias", ops::add_bias(x.value(), bias.value()), {x, bias},
                [](const Tensor& dy) -> Gradients {
                  return {dy, ops::sum_rows(dy)};
                });
}

Variable conv2d(const Variable& x, const Variable& weight, const ConvGeometry& geometry) {
  Tensor w = ops::cast(weight.value(), x.dtype());
  const bool x_needs_gradient = x.requires_grad();  // the pictures need none, which saves the first layer's
  return record(
      "conv2d", ops::conv2d(x.value(), w, geometry), {x, weight},
      [x = x.value(), w, geometry, x_needs_gradient](const Tensor& dy) -> Gradients {
        return {x_needs_gradient ? ops::conv2d_backward_data(dy, w, x.shape(), geometry) : Tensor(),
                ops::conv2d_backward_weight(dy, x, w.shape(), geometry)};
      },
      geometry);
}

Variable max_pool2d(const Variable& x, const PoolGeometry& geometry) {
  MaxPoolResult pooled = ops::max_pool2d(x.value(), geometry);
  return record(
      "max_pool2d", pooled.y, {x},
      [argmax = pooled.argmax, shape = x.shape(), geometry](const Tensor& dy) -> Gradients {
        return {ops::max_pool2d_backward(dy, argmax, shape, geometry)};
      },
      geometry);
}

Variable avg_pool2d(const Variable& x, const PoolGeometry& geometry) {
  return record(
      "avg_pool2d", ops::avg_pool2d(x.value(), geometry), {x},
      [shape = x.shape(), geometry](const Tensor& dy) -> Gradients {
        return {ops::avg_pool2d_backward(dy, shape, geometry)};
      },
      geometry);
}

Variable global_avg_pool(const Variable& x) {
  return record("global_avg_pool", ops::global_avg_pool(x.value()), {x},
                [shape = x.shape()](const Tensor& dy) -> Gradients {
                  return {ops::global_avg_pool_backward(dy, shape)};
                });
}

Variable scale_channels(const Variable& x, const Variable& s) {
  return record("scale_channels", ops::scale_channels(x.value(), s.value()), {x, s},
                [x = x.value(), s = s.value()](const Tensor& dy) -> Gradients {
                  return {ops::scale_channels(dy, s), ops::sum_product_spatial(dy, x)};
                });
}

Variable batch_norm(const Variable& x, const Variable& scale, const Variable& shift,
                    const BatchNormState& state, const Variable& residual, const BatchNormOptions& options) {
  BatchNormResult result = ops::batch_norm(x.value(), state, residual.value(), options);
  auto function = [x = x.value(), result, state, has_residual = residual.defined(), options](
                      const Tensor& dy, const Tensor& more) {
    BatchNormGradients g = ops::batch_norm_backward(dy, x, result, state, has_residual, options, more);
    Gradients gradients{g.dx, g.dscale, g.dshift};
    if (has_residual) gradients.push_back(g.dresidual);
    return gradients;
  };
  std::vector<Variable> inputs{x, scale, shift};
  if (residual.defined()) inputs.push_back(residual);
  return record("batch_norm", result.y, std::move(inputs), std::move(function));
}

Variable batch_norm_inference(const Variable& x, const BatchNormState& state, const Variable& residual,
                              const BatchNormOptions& options) {
  const auto constant = [](const Tensor& t) { return Variable(t); };
  return record(
      "batch_norm_inference", ops::batch_norm_inference(x.value(), state, residual.value(), options),
      {x, constant(state.scale), constant(state.shift), constant(state.running_mean),
       constant(state.running_variance), residual},
      [](const Tensor&) -> Gradients { fail("batch_norm_inference is not differentiable"); }, options);
}

Variable l2_normalize(const Variable& x) {
  Normalized result = ops::l2_normalize(x.value());
  return record("l2_normalize", result.y, {x},
                [result](const Tensor& dy) -> Gradients { return {ops::l2_normalize_backward(dy, result)}; });
}

Variable mean(const Variable& x) {
  return record("mean", ops::mean(x.value()), {x},
                [shape = x.shape(), device = x.value().device()](const Tensor& dy) {
                  const float share = 1.0f / static_cast<float>(shape.numel());
                  return Gradients{ops::scale_by(Tensor::full(shape, share, DType::f32, device), dy)};
                });
}

// d loss_i / d logits_ij = softmax(logits_i)_j - [j = target_i]. The op writes it in place of
// what it is given.
Variable cross_entropy(const Variable& logits, const Tensor& target) {
  const RowLosses rows = ops::softmax_cross_entropy(ops::copy(logits.value()), target, 1.0f);
  const Tensor gradient = ops::scale(rows.gradient, 1.0f / static_cast<float>(logits.shape()[0]));
  return record("cross_entropy", ops::mean(rows.loss), {logits},
                [gradient](const Tensor& dy) -> Gradients { return {ops::scale_by(gradient, dy)}; });
}

}  // namespace la
