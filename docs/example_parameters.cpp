// A layer with parameters of its own, which docs/library.md shows; this file is compiled and run by the tests.
#include <doctest/doctest.h>

#include "autograd/gradient_check.h"
#include "layers/initializers.h"
#include "layers/layers.h"
#include "tensor/ops.h"

using namespace la;

/// Learns how much of each column to keep (LayerScale; Touvron et al. 2021).
struct LayerScale : Module {
  Variable gamma;

  explicit LayerScale(int64_t columns) { add("gamma", gamma, {columns}, constant(0.1f), Role::norm); }

  Variable forward(const Variable& x) override {  // x: [R, C]
    return x * broadcast(gamma, 0, x.shape()[0]);
  }
};

TEST_CASE("a layer with parameters of its own works") {
  LayerScale layer(4);
  layer.initialize(1);
  const Tensor x = ops::random_normal({3, 4}, {.seed = 1});
  const Tensor y = layer(Variable(x)).value();
  for (size_t i = 0; i < 12; ++i) CHECK(y.to_vector<float>()[i] == x.to_vector<float>()[i] * 0.1f);
  CHECK(check_gradients([](const std::vector<Variable>& in) { return in[0] * broadcast(in[1], 0, 3); },
                        {x, ops::random_normal({4}, {.seed = 2})}) == "");
}
