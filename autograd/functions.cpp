#include "autograd/functions.h"

#include "tensor/ops.h"

namespace la {
namespace {

/// What a sum over a dimension of `shape` gives back to each of its terms.
Tensor repeated(const Tensor& dy, int dimension, const Shape& shape) {
  return ops::broadcast(dy, dimension, shape[dimension]).reshape(shape);
}

Shape with_extent(const Shape& shape, int dimension, int64_t extent) {
  Shape result;
  const int at = dimension < 0 ? dimension + shape.rank() : dimension;
  for (int d = 0; d < shape.rank(); ++d) result.append(d == at ? extent : shape[d]);
  return result;
}

}  // namespace

Variable relu(const Variable& x) {
  Tensor y = ops::relu(x.value());
  return record("relu", y, {x}, [y](const Tensor& dy) -> Gradients { return {ops::relu_backward(dy, y)}; });
}

Variable sigmoid(const Variable& x) {
  Tensor y = ops::sigmoid(x.value());
  return record("sigmoid", y, {x},
                [y](const Tensor& dy) -> Gradients { return {ops::sigmoid_backward(dy, y)}; });
}

Variable exp(const Variable& x) {
  Tensor y = ops::exp(x.value());
  return record("exp", y, {x}, [y](const Tensor& dy) -> Gradients { return {ops::multiply(dy, y)}; });
}

Variable log(const Variable& x) {
  return record("log", ops::log(x.value()), {x},
                [x = x.value()](const Tensor& dy) -> Gradients { return {ops::divide(dy, x)}; });
}

Variable sqrt(const Variable& x) {
  Tensor y = ops::sqrt(x.value());
  return record("sqrt", y, {x},
                [y](const Tensor& dy) -> Gradients { return {ops::scale(ops::divide(dy, y), 0.5f)}; });
}

Variable tanh(const Variable& x) {
  Tensor y = ops::tanh(x.value());
  return record("tanh", y, {x}, [y](const Tensor& dy) -> Gradients { return {ops::tanh_backward(dy, y)}; });
}

Variable gelu(const Variable& x) {
  return record("gelu", ops::gelu(x.value()), {x},
                [x = x.value()](const Tensor& dy) -> Gradients { return {ops::gelu_backward(dy, x)}; });
}

Variable add(const Variable& a, const Variable& b) {
  return record("add", ops::add(a.value(), b.value()), {a, b}, [](const Tensor& dy) -> Gradients {
    return {dy, dy};
  });
}

Variable subtract(const Variable& a, const Variable& b) {
  return record("subtract", ops::subtract(a.value(), b.value()), {a, b}, [](const Tensor& dy) -> Gradients {
    return {dy, ops::scale(dy, -1.0f)};
  });
}

Variable multiply(const Variable& a, const Variable& b) {
  return record("multiply", ops::multiply(a.value(), b.value()), {a, b},
                [a = a.value(), b = b.value()](const Tensor& dy) -> Gradients {
                  return {ops::multiply(dy, b), ops::multiply(dy, a)};
                });
}

// d(a / b) = da / b - (a / b) db / b.
Variable divide(const Variable& a, const Variable& b) {
  Tensor y = ops::divide(a.value(), b.value());
  return record("divide", y, {a, b}, [b = b.value(), y](const Tensor& dy) -> Gradients {
    const Tensor da = ops::divide(dy, b);
    return {da, ops::scale(ops::multiply(da, y), -1.0f)};
  });
}

Variable scale(const Variable& x, float factor) {
  return record(
      "scale", ops::scale(x.value(), factor), {x},
      [factor](const Tensor& dy) -> Gradients { return {ops::scale(dy, factor)}; }, factor);
}

Variable shift(const Variable& x, float offset) {
  return record(
      "shift", ops::shift(x.value(), offset), {x}, [](const Tensor& dy) -> Gradients { return {dy}; },
      offset);
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

// With c = op(a) op(b): d op(a) = dc op(b)^T, d op(b) = op(a)^T dc; where op transposes, so do the gradients.
Variable matmul(const Variable& a, const Variable& b, const MatmulOptions& options) {
  const bool ta = options.transpose_a, tb = options.transpose_b, a_needs = a.requires_grad(),
             b_needs =
                 b.requires_grad();  // a table that is constant is larger than what it is multiplied with
  return record(
      "matmul", ops::matmul(a.value(), b.value(), options), {a, b},
      [=, alpha = options.alpha, a = a.value(), b = b.value()](const Tensor& dc) {
        Gradients gradients(2);
        if (a_needs)
          gradients[0] = ta ? ops::matmul(b, dc, {.transpose_a = tb, .transpose_b = true, .alpha = alpha})
                            : ops::matmul(dc, b, {.transpose_b = !tb, .alpha = alpha});
        if (b_needs)
          gradients[1] = tb ? ops::matmul(dc, a, {.transpose_a = true, .transpose_b = ta, .alpha = alpha})
                            : ops::matmul(a, dc, {.transpose_a = !ta, .alpha = alpha});
        return gradients;
      });
}

Variable transpose(const Variable& x) {
  return record("transpose", ops::transpose(x.value()), {x},
                [](const Tensor& dy) -> Gradients { return {ops::transpose(dy)}; });
}

Variable add_bias(const Variable& x, const Variable& bias) {
  return record("add_bias", ops::add_bias(x.value(), bias.value()), {x, bias},
                [](const Tensor& dy) -> Gradients {
                  return {dy, ops::sum_rows(dy)};
                });
}

Variable conv2d(const Variable& x, const Variable& weight, const ConvGeometry& geometry) {
  Tensor w = ops::cast(weight.value(), x.dtype());
  const bool x_needs = x.requires_grad();  // the pictures need none, which saves the first layer's
  const bool weight_needs = weight.requires_grad();
  return record(
      "conv2d", ops::conv2d(x.value(), w, geometry), {x, weight},
      [x = x.value(), w, geometry, x_needs, weight_needs](const Tensor& dy) -> Gradients {
        return {x_needs ? ops::conv2d_backward_data(dy, w, x.shape(), geometry) : Tensor(),
                weight_needs ? ops::conv2d_backward_weight(dy, x, w.shape(), geometry) : Tensor()};
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

Variable batch_norm(const Variable& x, const Variable& weight, const Variable& bias,
                    const BatchNormState& state, const Variable& residual, const BatchNormOptions& options) {
  BatchNormResult result = ops::batch_norm(x.value(), state, residual.value(), options);
  auto function = [x = x.value(), result, state, has_residual = residual.defined(), options](
                      const Tensor& dy, const Tensor& more) {
    BatchNormGradients g = ops::batch_norm_backward(dy, x, result, state, has_residual, options, more);
    Gradients gradients{g.dx, g.dweight, g.dbias};
    if (has_residual) gradients.push_back(g.dresidual);
    return gradients;
  };
  std::vector<Variable> inputs{x, weight, bias};
  if (residual.defined()) inputs.push_back(residual);
  return record("batch_norm", result.y, std::move(inputs), std::move(function));
}

Variable batch_norm_inference(const Variable& x, const Variable& weight, const Variable& bias,
                              const BatchNormState& state, const Variable& residual,
                              const BatchNormOptions& options) {
  Tensor y = ops::batch_norm_inference(x.value(), state, residual.value(), options);
  auto function = [x = x.value(), y, state, has_residual = residual.defined(), options](
                      const Tensor& dy, const Tensor& more) -> Gradients {
    const BatchNormGradients g =
        ops::batch_norm_inference_backward(dy, x, y, state, has_residual, options, more);
    return {g.dx, g.dweight, g.dbias, {}, {}, g.dresidual};
  };
  return record("batch_norm_inference", y,
                {x, weight, bias, Variable(state.running_mean), Variable(state.running_variance), residual},
                std::move(function), options);
}

// Given the statistics of all rows, it is batch_norm_inference. What its dx lacks, the gradient by way of the
// statistics, is made of the sums over all rows that dweight and dbias are.
Variable synchronized_batch_norm(const Variable& x, const Variable& weight, const Variable& bias,
                                 const BatchNormState& state, const Variable& residual,
                                 const BatchNormOptions& options, const Shards& shards) {
  check(shards.count() == shards.ranks().size(),
        "synchronized_batch_norm: {} shards of {} processes, expected one each", shards.count(),
        shards.ranks().size());
  const Tensor own = ops::batch_moments(x.value());
  const Tensor moments =
      ops::combine_moments(shards.gather_shards("batch statistics", own.reshape({1, own.numel()})),
                           state.running_mean, state.running_variance, options.momentum);
  const int64_t channels = x.shape()[-1];
  const BatchNormState of_batch{state.weight, state.bias, moments.rows(0, channels),
                                moments.rows(channels, 2 * channels)};
  Tensor y = ops::batch_norm_inference(x.value(), of_batch, residual.value(), options);
  auto function = [=, x = x.value(), has_residual = residual.defined()](const Tensor& dy,
                                                                        const Tensor& more) -> Gradients {
    const BatchNormGradients g =
        ops::batch_norm_inference_backward(dy, x, y, of_batch, has_residual, options, more);
    const Tensor own_sums[] = {g.dweight, g.dbias};
    const Tensor sums = shards.sum("gradients of batch statistics", {ops::concatenate(own_sums, 0)});
    ops::add_moments_gradient(g.dx, x, of_batch.weight, moments, sums, options.epsilon);
    return {g.dx, g.dweight, g.dbias, g.dresidual};
  };
  return record("synchronized_batch_norm", y, {x, weight, bias, residual}, std::move(function));
}

Variable l2_normalize(const Variable& x) {
  Normalized result = ops::l2_normalize(x.value());
  return record("l2_normalize", result.y, {x},
                [result](const Tensor& dy) -> Gradients { return {ops::l2_normalize_backward(dy, result)}; });
}

Variable softmax(const Variable& x) {
  Tensor y = ops::softmax(x.value());
  return record("softmax", y, {x},
                [y](const Tensor& dy) -> Gradients { return {ops::softmax_backward(dy, y)}; });
}

Variable log_softmax(const Variable& x) {
  Tensor y = ops::log_softmax(x.value());
  return record("log_softmax", y, {x},
                [y](const Tensor& dy) -> Gradients { return {ops::log_softmax_backward(dy, y)}; });
}

Variable layer_norm(const Variable& x, const Variable& weight, const Variable& bias, float epsilon) {
  LayerNormResult result = ops::layer_norm(x.value(), weight.value(), bias.value(), epsilon);
  return record("layer_norm", result.y, {x, weight, bias},
                [x = x.value(), weight = weight.value(), result](const Tensor& dy) -> Gradients {
                  const LayerNormGradients g = ops::layer_norm_backward(dy, x, result, weight);
                  return {g.dx, g.dweight, g.dbias};
                });
}

Variable sum(const Variable& x, int dimension) {
  return record("sum", ops::sum(x.value(), dimension), {x},
                [shape = x.shape(), dimension](const Tensor& dy) -> Gradients {
                  return {repeated(dy, dimension, shape)};
                });
}

Variable mean(const Variable& x, int dimension) {
  return record("mean", ops::mean(x.value(), dimension), {x},
                [shape = x.shape(), dimension](const Tensor& dy) -> Gradients {
                  const float share = 1.0f / static_cast<float>(shape[dimension]);
                  return {repeated(ops::scale(dy, share), dimension, shape)};
                });
}

Variable max(const Variable& x, int dimension) {
  Maximum largest = ops::max(x.value(), dimension);
  return record("max", largest.values, {x},
                [indices = largest.indices, shape = x.shape(), dimension](const Tensor& dy) -> Gradients {
                  return {ops::pick_backward(dy, dimension, indices, shape)};
                });
}

Variable broadcast(const Variable& x, int dimension, int64_t n) {
  return record("broadcast", ops::broadcast(x.value(), dimension, n), {x},
                [shape = x.shape(), dimension](const Tensor& dy) -> Gradients {
                  return {ops::sum(dy, dimension).reshape(shape)};
                });
}

Variable pick(const Variable& x, int dimension, const Tensor& indices) {
  return record("pick", ops::pick(x.value(), dimension, indices), {x},
                [indices, shape = x.shape(), dimension](const Tensor& dy) -> Gradients {
                  return {ops::pick_backward(dy, dimension, indices, shape)};
                });
}

Variable concatenate(const std::vector<Variable>& parts, int dimension) {
  std::vector<Tensor> values;
  std::vector<int64_t> extents;
  for (const Variable& part : parts) values.push_back(part.value());
  Tensor y = ops::concatenate(values, dimension);
  for (const Tensor& value : values) extents.push_back(value.size(dimension));
  return record("concatenate", y, parts, [extents, dimension](const Tensor& dy) {
    Gradients gradients;
    int64_t begin = 0;
    for (int64_t extent : extents) {
      gradients.push_back(ops::slice(dy, dimension, begin, begin + extent));
      begin += extent;
    }
    return gradients;
  });
}

Variable slice(const Variable& x, int dimension, int64_t begin, int64_t end) {
  return record("slice", ops::slice(x.value(), dimension, begin, end), {x},
                [shape = x.shape(), dimension, begin, end](const Tensor& dy) -> Gradients {
                  const auto zeros = [&](int64_t extent) {
                    return Tensor::zeros(with_extent(shape, dimension, extent), dy.dtype(), dy.device());
                  };
                  const Tensor parts[] = {zeros(begin), dy, zeros(shape[dimension] - end)};
                  return {ops::concatenate(parts, dimension)};
                });
}

Variable gather_rows(const Variable& table, const Tensor& rows) {
  return record("gather_rows", ops::gather_rows(table.value(), rows), {table},
                [rows, shape = table.shape()](const Tensor& dy) -> Gradients {
                  const Tensor matrix = dy.reshape({rows.numel(), shape.rank() == 1 ? 1 : shape[1]});
                  return {ops::sum_by_label(matrix, rows, shape[0]).reshape(shape)};
                });
}

Variable sum(const Variable& x) {
  return record("sum", ops::sum(x.value()), {x},
                [shape = x.shape(), dtype = x.dtype()](const Tensor& dy) -> Gradients {
                  return {ops::scale_by(Tensor::full(shape, 1.0f, dtype, dy.device()), dy)};
                });
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

Variable sample_regions(const Variable& x, const Tensor& boxes, const Tensor& pictures,
                        const RegionGrid& grid) {
  return record("sample_regions", ops::sample_regions(x.value(), boxes, pictures, grid), {x},
                [boxes, pictures, shape = x.shape(), grid](const Tensor& dy) -> Gradients {
                  return {ops::sample_regions_backward(dy, boxes, pictures, shape, grid)};
                });
}

Variable smooth_l1(const Variable& x, const Tensor& target, float sigma, const Tensor& inside,
                   const Tensor& outside) {
  const Tensor difference = ops::subtract(x.value(), target);
  return record("smooth_l1", ops::smooth_l1(difference, inside, outside, sigma), {x},
                [=](const Tensor& dy) -> Gradients {
                  return {ops::smooth_l1_backward(dy, difference, inside, outside, sigma)};
                });
}

}  // namespace la
