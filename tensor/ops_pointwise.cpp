// The ops that fill, convert and combine elements, rows and channels: checks, outputs, calls.
#include "tensor/backend.h"
#include "tensor/ops.h"
#include "tensor/ops_checks.h"

namespace la::ops {
namespace {

Tensor like(const Tensor& x) { return Tensor(x.shape(), x.dtype(), x.device()); }

Tensor unary(const char* name, Unary op, const Tensor& x) {
  check_float(name, "x", x);
  Tensor y = like(x);
  backend(x.device()).unary(op, x, y);
  return y;
}

Tensor binary(const char* name, Binary op, const Tensor& a, const Tensor& b) {
  check_float(name, "the first operand", a);
  check_alike(name, a, b);
  Tensor y = like(a);
  backend(a.device()).binary(op, a, b, y);
  return y;
}

}  // namespace

void fill(const Tensor& x, float value) { backend(x.device()).fill(value, x); }

Tensor copy(const Tensor& x) {
  Tensor y = like(x);
  copy_into(y, x);
  return y;
}

void copy_into(const Tensor& destination, const Tensor& source) {
  check_alike("copy_into", destination, source);
  backend(source.device()).copy(destination.raw(), source.raw(), source.bytes());
}

Tensor cast(const Tensor& x, DType dtype) {
  check_float("cast", "x", x);
  check(dtype == DType::f32 || dtype == DType::bf16, "cast: to {}, expected f32 or bf16", dtype);
  if (x.dtype() == dtype) return x;
  Tensor y(x.shape(), dtype, x.device());
  backend(x.device()).cast(x, y);
  return y;
}

Tensor random_uniform(const Shape& shape, float low, float high, const RandomKey& key, Device device) {
  Tensor y(shape, DType::f32, device);
  backend(device).random_uniform(low, high, key, y);
  return y;
}

Tensor random_normal(const Shape& shape, const RandomKey& key, Device device) {
  Tensor y(shape, DType::f32, device);
  backend(device).random_normal(key, 0, y);
  return y;
}

void random_normal_into(const Tensor& x, const RandomKey& key, int64_t first) {
  check_dtype("random_normal", "x", x, DType::f32);
  check(first >= 0, "random_normal: elements from {} on", first);
  backend(x.device()).random_normal(key, first, x);
}

Tensor random_below(const Shape& shape, int64_t n, const RandomKey& key, Device device) {
  check(n >= 1 && n <= INT32_MAX, "random_below: n is {}, expected 1 to 2^31 - 1", n);
  Tensor y(shape, DType::i32, device);
  backend(device).random_below(n, key, Tensor(), y);
  return y;
}

Tensor random_below(const Shape& shape, int64_t n, const RandomKey& key, const Tensor& step) {
  check(n >= 1 && n <= INT32_MAX, "random_below: n is {}, expected 1 to 2^31 - 1", n);
  check_dtype("random_below", "the step", step, DType::i64);
  check(step.numel() == 1, "random_below: the step has shape {}, expected one element", step.shape());
  Tensor y(shape, DType::i32, step.device());
  backend(step.device()).random_below(n, key, step, y);
  return y;
}

Tensor relu(const Tensor& x) { return unary("relu", Unary::relu, x); }
Tensor sigmoid(const Tensor& x) { return unary("sigmoid", Unary::sigmoid, x); }
Tensor exp(const Tensor& x) { return unary("exp", Unary::exp, x); }
Tensor log(const Tensor& x) { return unary("log", Unary::log, x); }
Tensor sqrt(const Tensor& x) { return unary("sqrt", Unary::sqrt, x); }
Tensor tanh(const Tensor& x) { return unary("tanh", Unary::tanh, x); }
Tensor gelu(const Tensor& x) { return unary("gelu", Unary::gelu, x); }
Tensor relu_backward(const Tensor& dy, const Tensor& y) {
  return binary("relu_backward", Binary::relu_backward, dy, y);
}
Tensor sigmoid_backward(const Tensor& dy, const Tensor& y) {
  return binary("sigmoid_backward", Binary::sigmoid_backward, dy, y);
}
Tensor tanh_backward(const Tensor& dy, const Tensor& y) {
  return binary("tanh_backward", Binary::tanh_backward, dy, y);
}
Tensor gelu_backward(const Tensor& dy, const Tensor& x) {
  return binary("gelu_backward", Binary::gelu_backward, dy, x);
}
Tensor add(const Tensor& a, const Tensor& b) { return binary("add", Binary::add, a, b); }
Tensor subtract(const Tensor& a, const Tensor& b) { return binary("subtract", Binary::subtract, a, b); }
Tensor multiply(const Tensor& a, const Tensor& b) { return binary("multiply", Binary::multiply, a, b); }
Tensor divide(const Tensor& a, const Tensor& b) { return binary("divide", Binary::divide, a, b); }

void add_in_place(const Tensor& a, const Tensor& b) {
  check_float("add_in_place", "a", a);
  check_alike("add_in_place", a, b);
  backend(a.device()).binary(Binary::add, a, b, a);
}

Tensor scale(const Tensor& x, float factor) {
  check_float("scale", "x", x);
  Tensor y = like(x);
  backend(x.device()).scale(x, factor, y);
  return y;
}

Tensor shift(const Tensor& x, float offset) {
  check_float("shift", "x", x);
  Tensor y = like(x);
  backend(x.device()).shift(x, offset, y);
  return y;
}

Tensor scale_by(const Tensor& x, const Tensor& factor) {
  check_float("scale_by", "x", x);
  check_dtype("scale_by", "the factor", factor, DType::f32);
  check(factor.numel() == 1, "scale_by: the factor has shape {}, expected one element", factor.shape());
  check_same_device("scale_by", x, factor);
  Tensor y = like(x);
  backend(x.device()).scale_by(x, factor, y);
  return y;
}

Tensor dropout(const Tensor& x, float p, const RandomKey& key, const Tensor& step) {
  check_float("dropout", "x", x);
  if (step.defined()) {
    check_dtype("dropout", "the step", step, DType::i64);
    check(step.numel() == 1, "dropout: the step has shape {}, expected one element", step.shape());
    check_same_device("dropout", x, step);
  }
  check(p >= 0.0f && p < 1.0f, "dropout: the probability is {}, expected [0, 1)", p);
  Tensor y = like(x);
  backend(x.device()).dropout(x, p, key, step, y);
  return y;
}

void increment(const Tensor& counter) {
  check_dtype("increment", "the counter", counter, DType::i64);
  check(counter.numel() == 1, "increment: the counter has shape {}, expected one element", counter.shape());
  backend(counter.device()).increment(counter);
}

Tensor add_bias(const Tensor& x, const Tensor& bias) {
  check_float("add_bias", "x", x);
  check(x.rank() >= 1, "add_bias: x is a scalar, expected [..., C]");
  check_channels("add_bias", "the bias", bias, x.size(-1));
  check_same_device("add_bias", x, bias);
  Tensor y = like(x);
  backend(x.device()).add_bias(x, bias, y);
  return y;
}

Tensor sum_rows(const Tensor& x) {
  check_float("sum_rows", "x", x);
  check(x.rank() >= 1, "sum_rows: x is a scalar, expected [..., C]");
  Tensor y({x.size(-1)}, DType::f32, x.device());
  backend(x.device()).sum_rows(x, y);
  return y;
}

Tensor mean(const Tensor& x) {
  check_dtype("mean", "x", x, DType::f32);
  check(x.numel() > 0, "mean: x has shape {} and no elements", x.shape());
  Tensor y({1}, DType::f32, x.device());
  backend(x.device()).mean(x, y);
  return y;
}

Tensor scale_channels(const Tensor& x, const Tensor& s) {
  check_float("scale_channels", "x", x);
  check_rank("scale_channels", "x", x, 4);
  check_dtype("scale_channels", "s", s, x.dtype());
  check_shape("scale_channels", "s", s, {x.size(0), x.size(3)});
  check_same_device("scale_channels", x, s);
  Tensor y = like(x);
  backend(x.device()).scale_channels(x, s, y);
  return y;
}

Tensor sum_product_spatial(const Tensor& a, const Tensor& b) {
  check_float("sum_product_spatial", "a", a);
  check_rank("sum_product_spatial", "a", a, 4);
  check_alike("sum_product_spatial", a, b);
  Tensor y({a.size(0), a.size(3)}, a.dtype(), a.device());
  backend(a.device()).sum_product_spatial(a, b, y);
  return y;
}

Normalized l2_normalize(const Tensor& x) {
  check_dtype("l2_normalize", "x", x, DType::f32);
  check_rank("l2_normalize", "x", x, 2);
  Normalized out{like(x), Tensor({x.size(0)}, DType::f32, x.device())};
  backend(x.device()).l2_normalize(x, out);
  return out;
}

Tensor l2_normalize_backward(const Tensor& dy, const Normalized& forward) {
  check_dtype("l2_normalize_backward", "dy", dy, DType::f32);
  check_alike("l2_normalize_backward", dy, forward.y);
  Tensor dx = like(dy);
  backend(dy.device()).l2_normalize_backward(dy, forward, dx);
  return dx;
}

}  // namespace la::ops
