// Every differentiable function against finite differences of itself.
#include <doctest/doctest.h>

#include <fstream>
#include <set>

#include "autograd/functions.h"
#include "autograd/gradient_check.h"
#include "tensor/ops.h"
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

/// batch_norm of x with fresh running statistics; scale and shift are the second and third input.
Variable batch_norm_of(const Variables& in, const Variable& residual, bool use_relu) {
  const Shape channels = in[1].shape();
  const BatchNormState state{in[1].value(), in[2].value(), Tensor::zeros(channels),
                             Tensor::full(channels, 1)};
  return batch_norm(in[0], in[1], in[2], state, residual, {.relu = use_relu});
}

Tensor targets() { return Tensor::from(std::vector<int32_t>{5, 0, 7}, {3}); }

const FunctionCase all_cases[] = {
    {"relu", {{5, 7}}, [](const Variables& in) { return relu(in[0]); }},
    {"sigmoid", {{5, 7}}, [](const Variables& in) { return sigmoid(in[0]); }},
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
    {"l2_normalize", {{3, 8}}, [](const Variables& in) { return l2_normalize(in[0]); }},
    {"mean", {{3, 8}}, [](const Variables& in) { return mean(in[0]); }},
    {"cross_entropy", {{3, 8}}, [](const Variables& in) { return cross_entropy(in[0], targets()); }},
    {"a cross entropy of what another function keeps",  // which it must not change
     {{3, 8}},
     [](const Variables& in) { return cross_entropy(sigmoid(in[0]), targets()); }},
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

std::vector<Tensor> random_inputs(const std::vector<Shape>& shapes) {
  std::vector<Tensor> inputs;
  for (const Shape& shape : shapes)
    inputs.push_back(ops::random_normal(shape, {.seed = 7, .index = inputs.size()}));
  return inputs;
}

}  // namespace

TEST_CASE("gradients of the differentiable functions agree with finite differences") {
  const WithThreads one(1);  // the tensors are small, and the calls many
  for (const FunctionCase& c : all_cases) {
    CAPTURE(c.name);
    CHECK(check_gradients(c.call, random_inputs(c.inputs), {.step = c.step}) == "");
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
      if (name == "batch_norm_inference") continue;  // not differentiable
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

TEST_CASE("in bf16, a network's gradients arrive in f32 at its f32 parameters") {
  const std::vector<Tensor> inputs = random_inputs({{2, 5, 5, 3}, {4, 3, 3, 3}, {6, 4}, {6}});
  const auto run = [&](DType dtype) {
    Variables in;
    for (const Tensor& x : inputs) in.emplace_back(x, true);
    const Variable y = relu(conv2d(cast(in[0], dtype), in[1], {.padding = 1}));
    backward(mean(cast(linear(global_avg_pool(y), in[2], in[3]), DType::f32)));
    return in;
  };
  const Variables exact = run(DType::f32), half = run(DType::bf16);
  for (size_t i = 0; i < exact.size(); ++i) {
    CAPTURE(i);
    REQUIRE(half[i].grad().dtype() == DType::f32);
    const auto expected = exact[i].grad().to_vector<float>(), got = half[i].grad().to_vector<float>();
    // Each gradient passes through fewer than 16 roundings to bf16; where a ReLU's sign changes, more is
    // lost, which is why the distance of the whole vectors is compared.
    double distance = 0, length = 0;
    for (size_t j = 0; j < got.size(); ++j) {
      distance += std::pow(static_cast<double>(got[j]) - expected[j], 2);
      length += std::pow(static_cast<double>(expected[j]), 2);
    }
    CHECK(std::sqrt(distance) <= 16 * 0x1p-8 * std::sqrt(length));
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
