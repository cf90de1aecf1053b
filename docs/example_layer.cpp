// A layer of your own: this file is compiled and run by the tests. The README shows its first half.
#include <doctest/doctest.h>

#include "autograd/gradient_check.h"
#include "layers/layers.h"
#include "tensor/ops.h"

using namespace la;

// Squeeze-and-excitation (Hu, Shen, Sun 2018): each channel is weighted by what a small network
// sees of them all.
struct SqueezeExcite : Module {
  Linear squeeze, excite;

  explicit SqueezeExcite(int channels, int reduction = 16)
      : squeeze(channels, channels / reduction), excite(channels / reduction, channels) {
    add("squeeze", squeeze);
    add("excite", excite);
  }

  Variable forward(const Variable& x) override {  // x: [N, H, W, C]
    return scale_channels(x, sigmoid(excite(relu(squeeze(global_avg_pool(x))))));
  }
};

TEST_CASE("a layer without values, or one that was not added, is an error in words") {
  const Variable x(ops::random_normal({2, 3, 3, 16}, {.seed = 1}));
  SqueezeExcite layer(16, 4);
  CHECK_THROWS_WITH_AS(layer(x), doctest::Contains("no values for its parameter \"weight\""), Error);

  struct Forgetful : Module {
    Linear linear{16, 4};  // not added
    Variable forward(const Variable& v) override { return linear(global_avg_pool(v)); }
  } forgetful;
  forgetful.initialize(1);
  CHECK_THROWS_WITH_AS(forgetful(x), doctest::Contains("add() for every layer within another"), Error);
}

TEST_CASE("the example layer works: names, shape and gradient") {
  SqueezeExcite layer(16, 4);
  layer.initialize(7);

  std::vector<std::string> names;
  for (const auto& parameter : layer.parameters()) names.push_back(parameter.name);
  CHECK(names == std::vector<std::string>{"squeeze.weight", "squeeze.bias", "excite.weight", "excite.bias"});

  const Tensor x = ops::random_normal({2, 3, 3, 16}, {.seed = 1});
  CHECK(layer(Variable(x)).shape() == x.shape());
  CHECK(check_gradients([&](const std::vector<Variable>& in) { return layer(in[0]); }, {x}) == "");
}
