// A loss as a user would write it, in the words of autograd/functions.h: against a plain loop, and its
// gradient against finite differences.
#include <doctest/doctest.h>

#include <cmath>

#include "autograd/functions.h"
#include "autograd/gradient_check.h"
#include "tensor/ops.h"
#include "tests/op_case.h"

using namespace la;

namespace {

/// Constants that leave a row's product with itself out of a softmax: [R, R], on the device of v [R, D].
Variable itself(const Variable& v) {
  const int64_t n = v.shape()[0];
  std::vector<float> diagonal(static_cast<size_t>(n * n), 0.0f);
  for (int64_t i = 0; i < n; ++i) diagonal[static_cast<size_t>(i * n + i)] = 1e9f;
  return Variable(Tensor::from(diagonal, {n, n}, v.value().device()));
}

// a, b [B, D]: two views of each picture; partners: i32 [2 B], the row of the other view.
Variable nt_xent(const Variable& a, const Variable& b, const Tensor& partners, float temperature) {
  const Variable v = l2_normalize(concatenate({a, b}, 0));
  const Variable logits = matmul(v, v, {.transpose_b = true, .alpha = 1 / temperature});
  return -mean(pick(log_softmax(logits - itself(v)), -1, partners));
}

/// Equation 1 of Chen et al. 2020, averaged over both views of all pictures.
double plain_nt_xent(const std::vector<float>& views, int64_t batch, int64_t depth, double temperature) {
  const auto cosine = [&](int64_t i, int64_t j) {
    double product = 0, left = 0, right = 0;
    for (int64_t d = 0; d < depth; ++d) {
      const double x = views[static_cast<size_t>(i * depth + d)],
                   y = views[static_cast<size_t>(j * depth + d)];
      product += x * y;
      left += x * x;
      right += y * y;
    }
    return product / std::sqrt(left * right);
  };
  double loss = 0;
  for (int64_t i = 0; i < 2 * batch; ++i) {
    double others = 0;
    for (int64_t j = 0; j < 2 * batch; ++j)
      if (j != i) others += std::exp(cosine(i, j) / temperature);
    loss += std::log(others) - cosine(i, (i + batch) % (2 * batch)) / temperature;
  }
  return loss / static_cast<double>(2 * batch);
}

}  // namespace

TEST_CASE("a loss of one's own: SimCLR's" * doctest::test_suite("devices")) {
  constexpr int64_t batch = 5, depth = 7;
  constexpr float temperature = 0.5f;
  for (Device device : available_devices()) {
    const Tensor views = ops::random_normal({2 * batch, depth}, {.seed = 3}, device);
    std::vector<int32_t> other_view;
    for (int32_t i = 0; i < 2 * batch; ++i) other_view.push_back((i + batch) % (2 * batch));
    const Tensor partners = Tensor::from(other_view, {2 * batch}, device);
    const std::vector<Tensor> inputs{ops::slice(views, 0, 0, batch), ops::slice(views, 0, batch, 2 * batch)};

    const Variable loss = nt_xent(Variable(inputs[0]), Variable(inputs[1]), partners, temperature);
    const double expected = plain_nt_xent(views.to_vector<float>(), batch, depth, temperature);
    // A few dozen roundings of logits of at most 2 in size.
    CHECK(std::abs(loss.value().item() - expected) <= 64 * 2 * 0x1p-24);
    CHECK(check_gradients(
              [&](const std::vector<Variable>& in) { return nt_xent(in[0], in[1], partners, temperature); },
              inputs) == "");
  }
}
