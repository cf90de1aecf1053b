// Every differentiable function against finite differences of itself.
#include <doctest/doctest.h>

#include <fstream>
#include <set>

#include "autograd/functions.h"
#include "autograd/gradient_check.h"
#include "tensor/ops.h"
#include "tests/op_case.h"
#include "tests/with_threads.h"

using namespace la;

namespace {

using Variables = std::vector<Variable>;

struct FunctionCase {
  std::string name;
  std::vector<Shape> inputs;  // normally distributed
  std::function<Variable(const Variables&)> call;
  float step = 1e-2f;  // a ReLU behind a batch norm takes a smaller one, so as not to step over its kink
};

const RandomKey dropout_key{.seed = 1, .stream = RandomStream::dropout};
constexpr ConvGeometry convolution{.stride = 2, .padding = 1};
constexpr PoolGeometry pool{.kernel = 3, .stride = 2, .padding = 1};

/// batch_norm of x with fresh running statistics; weight and bias are the second and third input.
Variable batch_norm_of(const Variables& in, const Variable& residual, bool use_relu) {
  const Shape channels = in[1].shape();
  const Device device = in[1].value().device();
  const BatchNormState state{in[1].value(), in[2].value(), Tensor::zeros(channels, DType::f32, device),
                             Tensor::full(channels, 1, DType::f32, device)};
  return batch_norm(in[0], in[1], in[2], state, residual, {.relu = use_relu});
}

/// The same as the one part of a batch.
Variable synchronized_batch_norm_of(const Variables& in, const Variable& residual, bool use_relu) {
  const Shape channels = in[1].shape();
  const Device device = in[1].value().device();
  const BatchNormState state{in[1].value(), in[2].value(), Tensor::zeros(channels, DType::f32, device),
                             Tensor::full(channels, 1, DType::f32, device)};
  return synchronized_batch_norm(in[0], in[1], in[2], state, residual, {.relu = use_relu}, Shards());
}

/// The same with frozen statistics, which are not those of x.
Variable frozen_batch_norm_of(const Variables& in, const Variable& residual, bool use_relu) {
  const Shape channels = in[1].shape();
  const Device device = in[1].value().device();
  const BatchNormState state{in[1].value(), in[2].value(), Tensor::full(channels, 0.25f, DType::f32, device),
                             Tensor::full(channels, 2, DType::f32, device)};
  return batch_norm_inference(in[0], in[1], in[2], state, residual, {.relu = use_relu});
}

/// Two regions of the second of two pictures, one of the first.
Tensor regions_of(const Variable& x) {
  const std::vector<float> boxes{0.3f, -0.4f, 3.7f, 2.6f, 1.1f, 0.2f, 2.9f, 4.4f, 0.1f, 0.6f, 2.2f, 3.1f};
  return Tensor::from(boxes, {3, 4}, x.value().device());
}
Tensor pictures_of(const Variable& x) {
  return Tensor::from(std::vector<int32_t>{1, 0, 1}, {3}, x.value().device());
}

/// Indices below 8, on the device of x.
Tensor repeated_rows(const Variable& x) {
  return Tensor::from(std::vector<int32_t>{5, 0, 7, 5, 5, 0}, {6}, x.value().device());
}
Tensor targets(const Variable& x) {
  return Tensor::from(std::vector<int32_t>{5, 0, 7}, {3}, x.value().device());
}

const FunctionCase all_cases[] = {
    {"relu", {{5, 7}}, [](const Variables& in) { return relu(in[0]); }},
    {"sigmoid", {{5, 7}}, [](const Variables& in) { return sigmoid(in[0]); }},
    {"exp", {{5, 7}}, [](const Variables& in) { return exp(in[0]); }},
    {"log", {{5, 7}}, [](const Variables& in) { return log(in[0] * in[0] + 1.0f); }},
    {"sqrt", {{5, 7}}, [](const Variables& in) { return sqrt(in[0] * in[0] + 1.0f); }},
    {"tanh", {{5, 7}}, [](const Variables& in) { return tanh(in[0]); }},
    {"gelu", {{5, 7}}, [](const Variables& in) { return gelu(in[0]); }},
    {"subtract", {{3, 4}, {3, 4}}, [](const Variables& in) { return in[0] - in[1]; }},
    {"subtract", {{3, 4}}, [](const Variables& in) { return 2.0f * in[0] - (-in[0]) - 3.0f; }},
    {"divide", {{3, 4}, {3, 4}}, [](const Variables& in) { return in[0] / (in[1] * in[1] + 1.0f); }},
    {"divide", {{3, 4}}, [](const Variables& in) { return in[0] / 3.0f; }},
    {"shift", {{9}}, [](const Variables& in) { return shift(in[0], 1.5f); }},
    {"matmul", {{4, 3}, {3, 5}}, [](const Variables& in) { return matmul(in[0], in[1]); }},
    {"matmul",
     {{3, 4}, {3, 5}},
     [](const Variables& in) { return matmul(in[0], in[1], {.transpose_a = true, .alpha = -0.5f}); }},
    {"matmul",
     {{4, 3}, {5, 3}},
     [](const Variables& in) { return matmul(in[0], in[1], {.transpose_b = true, .alpha = 2}); }},
    {"matmul",
     {{3, 4}, {5, 3}},
     [](const Variables& in) { return matmul(in[0], in[1], {.transpose_a = true, .transpose_b = true}); }},
    {"matmul", {{4, 3}}, [](const Variables& in) { return matmul(in[0], in[0], {.transpose_b = true}); }},
    {"transpose", {{4, 3}}, [](const Variables& in) { return transpose(in[0]); }},
    {"sum", {{4, 3}}, [](const Variables& in) { return sum(in[0]); }},
    {"sum", {{2, 3, 4}}, [](const Variables& in) { return sum(in[0], 1); }},
    {"sum", {{7}}, [](const Variables& in) { return sum(in[0], -1); }},
    {"mean", {{2, 3, 4}}, [](const Variables& in) { return mean(in[0], -1); }},
    {"mean", {{5, 2, 3}}, [](const Variables& in) { return mean(in[0], 0); }},
    {"max", {{2, 3, 4}}, [](const Variables& in) { return max(in[0], 1); }, 1e-3f},
    {"max", {{7}}, [](const Variables& in) { return max(in[0], 0); }, 1e-3f},
    {"broadcast", {{2, 3}}, [](const Variables& in) { return broadcast(in[0], 1, 4); }},
    {"broadcast", {{2, 3}}, [](const Variables& in) { return broadcast(in[0], -1, 4); }},
    {"pick", {{3, 8}}, [](const Variables& in) { return pick(in[0], -1, targets(in[0])); }},
    {"pick", {{8, 3}}, [](const Variables& in) { return pick(in[0], 0, targets(in[0])); }},
    {"concatenate",
     {{2, 3, 2}, {2, 1, 2}},
     [](const Variables& in) {
       return concatenate({in[0], in[1], in[0]}, -2);
     }},
    {"slice", {{2, 5, 2}}, [](const Variables& in) { return slice(in[0], 1, 1, 4); }},
    {"slice", {{6}}, [](const Variables& in) { return slice(in[0], -1, 0, 2); }},
    {"gather_rows", {{8, 3}}, [](const Variables& in) { return gather_rows(in[0], repeated_rows(in[0])); }},
    {"gather_rows", {{8}}, [](const Variables& in) { return gather_rows(in[0], repeated_rows(in[0])); }},
    {"softmax", {{3, 2, 5}}, [](const Variables& in) { return softmax(in[0]); }},
    {"log_softmax", {{3, 2, 5}}, [](const Variables& in) { return log_softmax(in[0]); }},
    {"layer_norm",
     {{3, 2, 5}, {5}, {5}},
     [](const Variables& in) { return layer_norm(in[0], in[1], in[2]); },
     1e-3f},
    {"add", {{3, 4}, {3, 4}}, [](const Variables& in) { return in[0] + in[1]; }},
    {"add", {{3, 4}}, [](const Variables& in) { return in[0] + in[0]; }},
    {"multiply", {{3, 4}, {3, 4}}, [](const Variables& in) { return multiply(in[0], in[1]); }},
    {"multiply", {{3, 4}}, [](const Variables& in) { return multiply(in[0], in[0]); }},
    {"scale", {{9}}, [](const Variables& in) { return scale(in[0], -2.5f); }},
    {"dropout", {{40}}, [](const Variables& in) { return dropout(in[0], 0.4f, dropout_key); }},
    {"cast", {{6}}, [](const Variables& in) { return cast(in[0], DType::f32); }},
    {"reshape",
     {{4, 6}},
     [](const Variables& in) {
       return reshape(in[0], {3, -1});
     }},
    {"linear", {{4, 3}, {5, 3}, {5}}, [](const Variables& in) { return linear(in[0], in[1], in[2]); }},
    {"linear", {{4, 3}, {5, 3}}, [](const Variables& in) { return linear(in[0], in[1], {}); }},
    {"add_bias", {{2, 3, 4}, {4}}, [](const Variables& in) { return add_bias(in[0], in[1]); }},
    {"conv2d",
     {{2, 5, 4, 3}, {2, 3, 3, 3}},
     [](const Variables& in) { return conv2d(in[0], in[1], convolution); }},
    {"max_pool2d", {{2, 5, 4, 3}}, [](const Variables& in) { return max_pool2d(in[0], pool); }},
    {"avg_pool2d", {{2, 5, 4, 3}}, [](const Variables& in) { return avg_pool2d(in[0], pool); }},
    {"global_avg_pool", {{2, 3, 4, 5}}, [](const Variables& in) { return global_avg_pool(in[0]); }},
    {"scale_channels",
     {{2, 3, 4, 5}, {2, 5}},
     [](const Variables& in) { return scale_channels(in[0], in[1]); }},
    {"batch_norm", {{6, 4}, {4}, {4}}, [](const Variables& in) { return batch_norm_of(in, {}, false); }},
    {"batch_norm",
     {{2, 3, 3, 4}, {4}, {4}},
     [](const Variables& in) { return batch_norm_of(in, {}, true); },
     1e-3f},
    {"batch_norm",
     {{7, 4}, {4}, {4}, {7, 4}},
     [](const Variables& in) { return batch_norm_of(in, in[3], true); },
     1e-3f},
    {"batch_norm",
     {{7, 4}, {4}, {4}, {7, 4}},
     [](const Variables& in) { return batch_norm_of(in, in[3], false); }},
    {"synchronized_batch_norm",
     {{6, 4}, {4}, {4}},
     [](const Variables& in) { return synchronized_batch_norm_of(in, {}, false); }},
    {"synchronized_batch_norm",
     {{7, 4}, {4}, {4}},
     [](const Variables& in) { return synchronized_batch_norm_of(in, {}, true); },
     1e-3f},
    {"synchronized_batch_norm",
     {{7, 4}, {4}, {4}, {7, 4}},
     [](const Variables& in) {
       const Variable y = synchronized_batch_norm_of(in, in[3], true);
       return sigmoid(y) + y;
     },
     1e-3f},
    {"batch_norm_inference",
     {{6, 4}, {4}, {4}},
     [](const Variables& in) { return frozen_batch_norm_of(in, {}, false); }},
    {"batch_norm_inference",
     {{2, 3, 3, 4}, {4}, {4}},
     [](const Variables& in) { return frozen_batch_norm_of(in, {}, true); },
     1e-3f},
    {"batch_norm_inference",
     {{7, 4}, {4}, {4}, {7, 4}},
     [](const Variables& in) {
       const Variable y = frozen_batch_norm_of(in, in[3], true);
       return sigmoid(y) + y;
     },
     1e-3f},
    {"batch_norm_inference",
     {{7, 4}, {4}, {4}, {7, 4}},
     [](const Variables& in) { return frozen_batch_norm_of(in, in[3], false); }},
    {"sample_regions",
     {{2, 4, 5, 3}},
     [](const Variables& in) { return crop_and_resize(in[0], regions_of(in[0]), pictures_of(in[0]), 3); }},
    {"sample_regions",
     {{2, 4, 5, 3}},
     [](const Variables& in) { return roi_align(in[0], regions_of(in[0]), pictures_of(in[0]), 2, 0.5f); }},
    {"smooth_l1",
     {{3, 8}},
     [](const Variables& in) {
       const Tensor ones = Tensor::full({3, 8}, 1, DType::f32, in[0].value().device());
       return smooth_l1(in[0], ones, 1, ops::scale(ones, 0.5f), ops::scale(ones, 3));
     },
     1e-3f},
    {"l2_normalize", {{3, 8}}, [](const Variables& in) { return l2_normalize(in[0]); }},
    {"mean", {{3, 8}}, [](const Variables& in) { return mean(in[0]); }},
    {"cross_entropy", {{3, 8}}, [](const Variables& in) { return cross_entropy(in[0], targets(in[0])); }},
    {"a cross entropy of what another function keeps",  // which it must not change
     {{3, 8}},
     [](const Variables& in) { return cross_entropy(sigmoid(in[0]), targets(in[0])); }},
    {"a value used twice",
     {{2, 4, 4, 3}, {3, 3, 3, 3}},
     [](const Variables& in) {
       const Variable y = sigmoid(conv2d(in[0], in[1], {.padding = 1}));
       return scale_channels(y, sigmoid(global_avg_pool(y))) + in[0];
     }},
    {"a batch norm used twice",
     {{7, 4}, {4}, {4}, {7, 4}},
     [](const Variables& in) {
       const Variable y = batch_norm_of(in, in[3], true);
       return sigmoid(y) + y;
     },
     1e-3f},
    {"a batch norm used four times",
     {{7, 4}, {4}, {4}, {7, 4}},
     [](const Variables& in) {
       const Variable y = batch_norm_of(in, in[3], true);
       return multiply(y, y) + sigmoid(y) + y;
     },
     1e-3f},
};

std::vector<Tensor> random_inputs(const std::vector<Shape>& shapes, Device device = {}) {
  std::vector<Tensor> inputs;
  for (const Shape& shape : shapes)
    inputs.push_back(ops::random_normal(shape, {.seed = 7, .index = inputs.size()}, device));
  return inputs;
}

}  // namespace

TEST_CASE("backward: losses that share a part must be added, and gradients have the shapes of their inputs") {
  const Variable x(ops::random_normal({3}, {.seed = 1}), true);
  const Variable shared = multiply(x, x);
  backward(sum(shared));
  CHECK_THROWS_WITH_AS(
      backward(sum(scale(shared, 2))),
      "backward: what multiply gave has been differentiated before, by another loss; add the "
      "losses, and call backward once",
      Error);
  const Variable wrong = record("wrong", ops::copy(x.value()), {x},
                                [](const Tensor&) -> Gradients { return {Tensor::zeros({2})}; });
  CHECK_THROWS_WITH_AS(backward(sum(wrong)), "wrong: a gradient of shape [2] for input 0 of shape [3]",
                       Error);
  CHECK_THROWS_WITH_AS(Variable(Tensor::zeros({2}, DType::i32), true),
                       doctest::Contains("i32 cannot have a gradient"), Error);
}

TEST_CASE("gradients of the differentiable functions agree with finite differences" *
          doctest::test_suite("devices")) {
  const WithThreads one(1);  // the tensors are small, and the calls many
  for (Device device : available_devices())
    for (const FunctionCase& c : all_cases) {
      CAPTURE(c.name);
      CHECK(check_gradients(c.call, random_inputs(c.inputs, device), {.step = c.step}) == "");
    }
}

TEST_CASE("every differentiable function has a gradient check") {
  std::ifstream header("autograd/functions.h");
  REQUIRE_MESSAGE(header.is_open(), "autograd/functions.h: the tests run in the root of the project");
  std::set<std::string> covered;
  for (const FunctionCase& c : all_cases) covered.insert(c.name);
  const std::string result = "Variable ";
  for (std::string line; std::getline(header, line);)
    if (line.starts_with(result)) {
      const std::string name = line.substr(result.size(), line.find('(') - result.size());
      CHECK_MESSAGE(covered.contains(name), name, " has no case");
    }
}

TEST_CASE("a wrong gradient does not pass the check") {
  const auto wrong = [](const Variables& in) {
    return record("wrong", ops::multiply(in[0].value(), in[0].value()), {in[0]},
                  [x = in[0].value()](const Tensor& dy) -> Gradients { return {ops::multiply(dy, x)}; });
  };
  CHECK(check_gradients(wrong, random_inputs({{5}})) != "");
}

namespace {

/// How far `got` is from `expected`, as a part of its length.
double relative_distance(const Tensor& got, const Tensor& expected) {
  const auto values = got.to_vector<float>(), exact = expected.to_vector<float>();
  double distance = 0, length = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    distance += std::pow(static_cast<double>(values[i]) - exact[i], 2);
    length += std::pow(static_cast<double>(exact[i]), 2);
  }
  return std::sqrt(distance / length);
}

/// The inputs with the gradients of a loss of them, computed in that type.
template <class Loss>
Variables with_gradients(const std::vector<Tensor>& inputs, DType dtype, Loss loss) {
  Variables in;
  for (const Tensor& x : inputs) in.emplace_back(x, true);
  backward(loss(in, dtype));
  return in;
}

}  // namespace

TEST_CASE("a function that changes what another keeps does not pass the check") {
  const std::vector<Tensor> inputs = random_inputs({{5}});
  const auto doubled = [](const Tensor& x) {
    ops::add_in_place(x, x);
    return x;
  };
  const auto twice = [](const Tensor& dy) -> Gradients { return {ops::scale(dy, 2)}; };
  const auto in_forward = [&](const Variables& in) {
    const Variable y = sigmoid(in[0]);
    return record("in_forward", doubled(y.value()), {y}, twice);
  };
  CHECK_THROWS_WITH_AS(
      check_gradients(in_forward, inputs),
      "in_forward has changed a value of shape [5] that sigmoid may keep for its backward pass", Error);
  const auto in_backward = [&](const Variables& in) {
    const Variable y = sigmoid(in[0]);
    return record("in_backward", ops::copy(y.value()), {y},
                  [&, y = y.value()](const Tensor& dy) -> Gradients {
                    doubled(y);
                    return {dy};
                  });
  };
  CHECK_THROWS_WITH_AS(
      check_gradients(in_backward, inputs),
      "in_backward, in its backward pass, has changed a value of shape [5] that sigmoid may keep "
      "for its backward pass",
      Error);

  const Variable x(inputs[0], true);
  const auto changed_before_backward = [&] {
    const Variable y = mean(sigmoid(x));
    doubled(x.value());
    backward(y);
  };
  CHECK_NOTHROW(changed_before_backward());  // without a KeptValueCheck, nobody looks
  const KeptValueCheck kept_values;
  CHECK_NOTHROW(backward(mean(sigmoid(x))));
  CHECK_THROWS_WITH_AS(changed_before_backward(), doctest::Contains("something before backward()"), Error);
}

TEST_CASE("in bf16, a network's gradients arrive in f32 at its f32 parameters") {
  const std::vector<Tensor> inputs = random_inputs({{2, 5, 5, 3}, {4, 3, 3, 3}, {6, 4}, {6}});
  const auto loss = [](const Variables& in, DType dtype) {
    const Variable y = relu(conv2d(cast(in[0], dtype), in[1], {.padding = 1}));
    return mean(cast(linear(global_avg_pool(y), in[2], in[3]), DType::f32));
  };
  const Variables exact = with_gradients(inputs, DType::f32, loss),
                  half = with_gradients(inputs, DType::bf16, loss);
  for (size_t i = 0; i < exact.size(); ++i) {
    CAPTURE(i);
    REQUIRE(half[i].grad().dtype() == DType::f32);
    // Each gradient passes through fewer than 16 roundings to bf16; where a ReLU's sign changes, more is
    // lost, which is why the distance of the whole vectors is compared.
    CHECK(relative_distance(half[i].grad(), exact[i].grad()) <= 16 * 0x1p-8);
  }
}

TEST_CASE("in bf16, the gradients of a loss written in ops agree with those in f32") {
  const std::vector<Tensor> inputs = random_inputs({{3, 5}, {5, 8}, {8}, {8}});
  const auto loss = [](const Variables& in, DType dtype) {
    const Variable h = layer_norm(gelu(matmul(cast(in[0], dtype), cast(in[1], dtype))), in[2], in[3]);
    const Variable halves = concatenate({slice(h, 1, 4, 8), tanh(slice(h, 1, 0, 4))}, 1);
    const Variable spread = sqrt(mean(h * h, 0) + 1.0f) / exp(sum(softmax(h), 0));
    return sum(spread) + mean(cast(max(transpose(halves), 1), DType::f32)) -
           sum(mean(pick(log_softmax(halves), -1, targets(h)), 0));
  };
  const Variables exact = with_gradients(inputs, DType::f32, loss),
                  half = with_gradients(inputs, DType::bf16, loss);
  for (size_t i = 0; i < exact.size(); ++i) {
    CAPTURE(i);
    REQUIRE(half[i].grad().dtype() == DType::f32);
    CHECK(relative_distance(half[i].grad(), exact[i].grad()) <= 32 * 0x1p-8);  // of fewer than 32 roundings
  }
}

TEST_CASE("the tape: NoGrad, repeated and impossible backward passes") {
  const Variable x(Tensor::full({3}, 2.0f), true);
  {
    const NoGrad no_grad;
    CHECK_FALSE(relu(x).requires_grad());
  }
  const Variable loss = mean(multiply(x, x));
  backward(loss);
  CHECK(x.grad().to_vector<float>()[0] == doctest::Approx(4.0 / 3));
  CHECK_THROWS_WITH_AS(backward(loss), doctest::Contains("differentiated before"), Error);
  backward(mean(x));  // accumulates
  CHECK(x.grad().to_vector<float>()[0] == doctest::Approx(4.0 / 3 + 1.0 / 3));
  Variable same = x;
  same.clear_grad();
  CHECK_FALSE(x.grad().defined());
  CHECK_THROWS_WITH_AS(backward(relu(x)), doctest::Contains("[3]"), Error);
  CHECK_THROWS_WITH_AS(backward(Variable(Tensor::full({1}, 1.0f))), doctest::Contains("gradient"), Error);
}

TEST_CASE("a leaf is told when a pass has completed its gradient, while the pass goes on") {
  const auto leaf = [](float value) { return Variable(Tensor::full({2}, value), true); };
  Variable early = leaf(2), twice = leaf(3), late = leaf(5), unused = leaf(7), without = leaf(11);
  std::vector<std::pair<std::string, float>> told;  // and the gradient at that moment
  const auto watch = [&](const char* name, Variable& x) {
    x.observe_gradient([&told, &x, name] { told.emplace_back(name, x.grad().to_vector<float>()[0]); });
  };
  watch("early", early);
  watch("twice", twice);
  watch("late", late);
  watch("unused", unused);
  watch("without", without);
  const auto loss = [&] {
    const Variable y = multiply(multiply(early, twice), late) + twice;
    return sum(record("passes on", y.value(), {y, without}, [](const Tensor& dy) -> Gradients {
      return {dy, {}};
    }));
  };
  backward(loss());
  std::vector<std::pair<std::string, float>> expected{{"late", 6.0f}, {"twice", 11.0f}, {"early", 15.0f}};
  CHECK(told == expected);

  // Of another pass, with what the first has left; a leaf that is not watched any more is silent.
  told.clear();
  late.observe_gradient({});
  early.clear_grad();
  backward(loss());
  expected = {{"twice", 22.0f}, {"early", 15.0f}};
  CHECK(told == expected);

  // An observer may take the gradient away.
  late.observe_gradient([&] { late.clear_grad(); });
  backward(loss());
  CHECK_FALSE(late.grad().defined());
  CHECK_THROWS_WITH_AS(late.observe_gradient([] {}), doctest::Contains("observed already"), Error);
  CHECK_THROWS_WITH_AS(loss().observe_gradient([] {}), doctest::Contains("is not a leaf"), Error);
  CHECK_THROWS_WITH_AS(Variable(Tensor::zeros({2})).observe_gradient([] {}),
                       doctest::Contains("is not a leaf"), Error);
}
