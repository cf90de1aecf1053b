// Cases of filling, copying, random numbers and pointwise ops.
#include "tensor/format.h"
#include "tensor/ops.h"
#include "tests/op_case.h"

namespace la {
namespace {

constexpr DType float_types[] = {DType::f32, DType::bf16};
constexpr int64_t million = 1 << 20;

/// An op of which each output element is a formula of the input elements at the same place.
template <class Formula>
OpCase unary_case(const char* op, Input x, Tensor (*run)(const Tensor&), Formula formula) {
  return {.op = op,
          .inputs = {x},
          .run = [run](const Tensors& in) -> Tensors { return {run(in[0])}; },
          .reference = [formula](const Arrays& in) -> Arrays { return {map(in[0], formula)}; },
          .operations = static_cast<double>(x.shape.numel())};
}
template <class Formula>
OpCase binary_case(const char* op, Input a, Input b, Tensor (*run)(const Tensor&, const Tensor&),
                   Formula formula) {
  return {.op = op,
          .inputs = {a, b},
          .run = [run](const Tensors& in) -> Tensors { return {run(in[0], in[1])}; },
          .reference = [formula](const Arrays& in) -> Arrays { return {map(in[0], in[1], formula)}; },
          .operations = static_cast<double>(a.shape.numel())};
}

Bounded multiply(const Bounded& a, const Bounded& b) { return a * b; }

Bounded sigmoid_slope(const Bounded& dy, const Bounded& y) { return dy * y * (Bounded(1) - y); }

OpCase relu_backward_case(const Shape& shape, DType dtype) {
  const auto formula = [](const Arrays& in) { return map(in[1], positive_part); };
  return {.op = "relu_backward",
          .inputs = {normal(shape, dtype), normal(shape, dtype)},
          .run = [](const Tensors& in) -> Tensors { return {ops::relu_backward(in[0], ops::relu(in[1]))}; },
          .reference = [](const Arrays& in) -> Arrays { return {map(in[0], in[1], pass_positive)}; },
          .gradient = {formula, {1}}};
}

OpCase sigmoid_backward_case(const Shape& shape, DType dtype) {
  const auto formula = [](const Arrays& in) { return map(in[1], reference::sigmoid); };
  return {
      .op = "sigmoid_backward",
      .inputs = {normal(shape, dtype), normal(shape, dtype, 3)},
      .run = [](const Tensors& in) -> Tensors { return {ops::sigmoid_backward(in[0], ops::sigmoid(in[1]))}; },
      .reference = [=](const Arrays& in) -> Arrays {
        return {map(in[0], formula(in).stored(in[0].dtype), sigmoid_slope)};
      },
      .gradient = {formula, {1}}};
}

OpCase tanh_backward_case(const Shape& shape, DType dtype) {
  const auto formula = [](const Arrays& in) { return map(in[1], reference::tanh); };
  const auto slope = [](const Bounded& dy, const Bounded& y) { return dy * (Bounded(1) - y * y); };
  return {.op = "tanh_backward",
          .inputs = {normal(shape, dtype), normal(shape, dtype, 2)},
          .run = [](const Tensors& in) -> Tensors { return {ops::tanh_backward(in[0], ops::tanh(in[1]))}; },
          .reference = [=](const Arrays& in) -> Arrays {
            return {map(in[0], formula(in).stored(in[0].dtype), slope)};
          },
          .gradient = {formula, {1}}};
}

OpCase gelu_backward_case(const Shape& shape, DType dtype) {
  const auto slope = [](const Bounded& dy, const Bounded& x) { return dy * reference::gelu_slope(x); };
  return {.op = "gelu_backward",
          .inputs = {normal(shape, dtype), normal(shape, dtype, 3)},
          .run = [](const Tensors& in) -> Tensors { return {ops::gelu_backward(in[0], in[1])}; },
          .reference = [=](const Arrays& in) -> Arrays { return {map(in[0], in[1], slope)}; },
          .gradient = {[](const Arrays& in) { return map(in[1], reference::gelu); }, {1}}};
}

OpCase shift_case(const Shape& shape, DType dtype, float offset) {
  return {.op = "shift",
          .options = formatted("offset={}", offset),
          .inputs = {normal(shape, dtype)},
          .run = [=](const Tensors& in) -> Tensors { return {ops::shift(in[0], offset)}; },
          .reference = [=](const Arrays& in) -> Arrays {
            return {map(in[0], [=](const Bounded& x) { return x + Bounded(offset); })};
          }};
}

OpCase add_in_place_case(const Shape& shape, DType dtype) {
  return {.op = "add_in_place",
          .inputs = {normal(shape, dtype), normal(shape, dtype)},
          .run = [](const Tensors& in) -> Tensors {
            ops::add_in_place(in[0], in[1]);
            return {in[0]};
          },
          .reference = [](const Arrays& in) -> Arrays { return {map(in[0], in[1], std::plus())}; }};
}

OpCase scale_case(const Shape& shape, DType dtype, float factor) {
  return {.op = "scale",
          .options = formatted("factor={}", factor),
          .inputs = {normal(shape, dtype, 100)},
          .run = [=](const Tensors& in) -> Tensors { return {ops::scale(in[0], factor)}; },
          .reference = [=](const Arrays& in) -> Arrays {
            return {map(in[0], [=](const Bounded& x) { return Bounded(factor) * x; })};
          }};
}

OpCase scale_by_case(const Shape& shape, DType dtype) {
  return {.op = "scale_by",
          .inputs = {normal(shape, dtype), normal({1})},
          .run = [](const Tensors& in) -> Tensors { return {ops::scale_by(in[0], in[1])}; },
          .reference = [](const Arrays& in) -> Arrays {
            return {map(in[0], [&](const Bounded& x) { return in[1][0] * x; })};
          }};
}

OpCase fill_case(const Shape& shape, DType dtype, float value) {
  return {.op = "fill",
          .options = formatted("value={}", value),
          .inputs = {below(shape, 100, dtype)},
          .run = [=](const Tensors& in) -> Tensors {
            ops::fill(in[0], value);
            return {in[0]};
          },
          .reference = [=](const Arrays& in) -> Arrays {
            return {map(in[0], [=](const Bounded&) { return Bounded(value); })};
          }};
}

OpCase copy_case(const Shape& shape, DType dtype) {
  return {.op = "copy",
          .inputs = {below(shape, 100, dtype)},
          .run = [](const Tensors& in) -> Tensors { return {ops::copy(in[0])}; },
          .reference = [](const Arrays& in) { return in; }};
}

OpCase copy_into_case(const Shape& shape, DType dtype) {
  return {.op = "copy_into",
          .inputs = {below(shape, 100, dtype), below(shape, 100, dtype)},
          .run = [](const Tensors& in) -> Tensors {
            ops::copy_into(in[0], in[1]);
            return {in[0]};
          },
          .reference = [](const Arrays& in) -> Arrays { return {in[1]}; }};
}

OpCase cast_case(const Shape& shape, DType from, DType to) {
  return {.op = "cast",
          .options = formatted("to={}", to),
          .inputs = {normal(shape, from, 1000)},
          .run = [=](const Tensors& in) -> Tensors { return {ops::cast(in[0], to)}; },
          .reference = [=](const Arrays& in) -> Arrays {
            Array y = in[0];
            y.dtype = to;
            return {y};
          }};
}

// Random numbers: an input of the output's shape gives the shape and the device.

template <class Element>
OpCase random_case(const char* op, const Shape& shape, DType dtype,
                   Tensor (*run)(const Shape&, const RandomKey&, Device), Element element) {
  const RandomKey key{
      .seed = 0x123456789abcdef0, .stream = RandomStream::dropout, .index = 0xfedcba9876543210};
  return {.op = op,
          .inputs = {constant(shape, 0)},
          .run = [=](const Tensors& in) -> Tensors { return {run(in[0].shape(), key, in[0].device())}; },
          .reference = [=](const Arrays& in) -> Arrays {
            Array y(in[0].shape, dtype);
            for (int64_t i = 0; i < y.numel(); ++i) y[i] = element(key, i);
            return {y};
          }};
}

/// With a step that the device holds.
OpCase random_below_step_case(const Shape& shape, int64_t step) {
  constexpr int64_t n = 1000;
  const RandomKey key{.seed = 5, .stream = RandomStream::noise_samples, .index = 0xffffffff};
  return {
      .op = "random_below",
      .options = formatted("step={}", step),
      .inputs = {constant({1}, static_cast<double>(step), DType::i64), constant(shape, 0)},
      .run = [=](const Tensors& in) -> Tensors { return {ops::random_below(in[1].shape(), n, key, in[0])}; },
      .reference = [=](const Arrays& in) -> Arrays {
        RandomKey later = key;
        later.index += static_cast<uint64_t>(step);
        Array y(in[1].shape, DType::i32);
        for (int64_t i = 0; i < y.numel(); ++i)
          y[i] = Bounded(static_cast<double>((uint64_t{reference::random_bits(later, i)} * n) >> 32));
        return {y};
      }};
}

/// step: 0 for none.
OpCase dropout_case(const Shape& shape, DType dtype, float p, int64_t step = 0) {
  const RandomKey key{.seed = 3, .stream = RandomStream::dropout, .index = 11};
  const auto formula = [=](const Arrays& in) -> Arrays {
    RandomKey later = key;
    later.index += static_cast<uint64_t>(step);
    Array y = in[0];
    for (int64_t i = 0; i < y.numel(); ++i)
      y[i] = reference::random_uniform(later, i).value < p ? Bounded() : y[i] / (Bounded(1) - Bounded(p));
    return {y};
  };
  OpCase c{.op = "dropout",
           .options = formatted("p={} step={}", p, step),
           .inputs = {normal(shape, dtype)},
           .run = [=](const Tensors& in) -> Tensors {
             return {ops::dropout(in[0], p, key, in.size() > 1 ? in[1] : Tensor())};
           },
           .reference = formula};
  if (step != 0) c.inputs.push_back(constant({1}, static_cast<double>(step), DType::i64));
  return c;
}

OpCase increment_case() {
  return {.op = "increment",
          .inputs = {constant({1}, 41, DType::i64)},
          .run = [](const Tensors& in) -> Tensors {
            ops::increment(in[0]);
            return {in[0]};
          },
          .reference = [](const Arrays&) -> Arrays {
            Array y({1}, DType::i64);
            y[0] = Bounded(42);
            return {y};
          }};
}

void add_random_cases(OpCases& cases) {
  cases.push_back(increment_case());
  for (const Shape& shape : {Shape{1}, Shape{7}, Shape{3, 4099}}) {
    cases.push_back(random_case(
        "random_uniform", shape, DType::f32,
        [](const Shape& s, const RandomKey& key, Device on) {
          return ops::random_uniform(s, -2.5f, 4.0f, key, on);
        },
        [](const RandomKey& key, int64_t i) {
          return Bounded(-2.5) + Bounded(6.5) * reference::random_uniform(key, i);
        }));
    cases.push_back(
        random_case("random_normal", shape, DType::f32, ops::random_normal, reference::random_normal));
    cases.push_back(random_case(
        "random_below", shape, DType::i32,
        [](const Shape& s, const RandomKey& key, Device on) {
          return ops::random_below(s, 1281167, key, on);
        },
        [](const RandomKey& key, int64_t i) {
          return Bounded(static_cast<double>((uint64_t{reference::random_bits(key, i)} * 1281167) >> 32));
        }));
    cases.push_back(random_below_step_case(shape, 0));
    cases.push_back(random_below_step_case(shape, 7));
  }
}

void add_cases_of(const Shape& shape, DType dtype, OpCases& cases) {
  const Input x = normal(shape, dtype), other = normal(shape, dtype), equal = coarse(shape, dtype),
              nan = with_nan(shape, dtype);
  cases.push_back(unary_case("relu", x, ops::relu, positive_part));
  cases.push_back(unary_case("relu", equal, ops::relu, positive_part));
  cases.push_back(unary_case("relu", nan, ops::relu, positive_part));
  cases.push_back(unary_case("sigmoid", nan, ops::sigmoid, reference::sigmoid));
  cases.push_back(binary_case("multiply", nan, equal, ops::multiply, multiply));
  cases.push_back(unary_case("sigmoid", x, ops::sigmoid, reference::sigmoid));
  cases.push_back(unary_case("sigmoid", normal(shape, dtype, 50), ops::sigmoid, reference::sigmoid));
  cases.push_back(binary_case("add", x, other, ops::add, std::plus<Bounded>()));
  cases.push_back(binary_case("add", normal(shape, dtype, 1e6), other, ops::add, std::plus<Bounded>()));
  cases.push_back(binary_case("multiply", x, other, ops::multiply, multiply));
  cases.push_back(binary_case("multiply", equal, normal(shape, dtype, 1e6), ops::multiply, multiply));
  const Input positive = uniform(shape, 1e-3f, 100, dtype);
  const auto exp_of = [](const Bounded& a) { return exp(a); };
  const auto log_of = [](const Bounded& a) { return log(a); };
  const auto sqrt_of = [](const Bounded& a) { return sqrt(a); };
  for (const Input& input : {x, nan, uniform(shape, -100, 88, dtype)})
    cases.push_back(unary_case("exp", input, ops::exp, exp_of));
  for (const Input& input : {positive, uniform(shape, 0.9f, 1.1f, dtype)})
    cases.push_back(unary_case("log", input, ops::log, log_of));
  cases.push_back(unary_case("sqrt", positive, ops::sqrt, sqrt_of));
  for (const Input& input : {x, nan, normal(shape, dtype, 10)}) {
    cases.push_back(unary_case("tanh", input, ops::tanh, reference::tanh));
    cases.push_back(unary_case("gelu", input, ops::gelu, reference::gelu));
  }
  cases.push_back(tanh_backward_case(shape, dtype));
  cases.push_back(gelu_backward_case(shape, dtype));
  cases.push_back(binary_case("subtract", x, other, ops::subtract, std::minus<Bounded>()));
  cases.push_back(binary_case("divide", nan, positive, ops::divide, std::divides<Bounded>()));
  for (float offset : {-1.0f, 1e-5f}) cases.push_back(shift_case(shape, dtype, offset));
  cases.push_back(add_in_place_case(shape, dtype));
  cases.push_back(relu_backward_case(shape, dtype));
  cases.push_back(sigmoid_backward_case(shape, dtype));
  for (float factor : {0.0f, -1.5f, 1.0f / 3}) cases.push_back(scale_case(shape, dtype, factor));
  cases.push_back(scale_by_case(shape, dtype));
  for (float p : {0.0f, 0.1f, 0.75f}) cases.push_back(dropout_case(shape, dtype, p));
  cases.push_back(dropout_case(shape, dtype, 0.5f, 5));
  for (DType to : float_types)
    if (to != dtype) cases.push_back(cast_case(shape, dtype, to));
}

}  // namespace

void add_pointwise_cases(OpCases& cases) {
  for (DType dtype : float_types)
    for (const Shape& shape : {Shape{1}, Shape{17}, Shape{2, 3, 5, 3}, Shape{251, 257}})
      add_cases_of(shape, dtype, cases);
  for (DType dtype : {DType::f32, DType::bf16, DType::i32, DType::i64, DType::u8})
    for (const Shape& shape : {Shape{1}, Shape{3, 67}}) {
      cases.push_back(fill_case(shape, dtype, 3));
      cases.push_back(copy_case(shape, dtype));
      cases.push_back(copy_into_case(shape, dtype));
    }
  cases.push_back(fill_case({33}, DType::f32, -0.1f));
  add_random_cases(cases);

  for (DType dtype : float_types) {
    const Shape large{4 * million};
    OpCases timed{
        unary_case("relu", normal(large, dtype), ops::relu, positive_part),
        binary_case("add", normal(large, dtype), normal(large, dtype), ops::add, std::plus<Bounded>())};
    for (OpCase& c : timed) c.only_timed = true;
    cases.insert(cases.end(), timed.begin(), timed.end());
  }
}

}  // namespace la
