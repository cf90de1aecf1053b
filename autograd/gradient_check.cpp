#include "autograd/gradient_check.h"

#include <cmath>

#include "autograd/functions.h"
#include "tensor/format.h"
#include "tensor/ops.h"
#include "tensor/random.h"

namespace la {
namespace {

struct Projection {
  double value = 0;      // w . f(x), summed in double precision
  double magnitude = 0;  // sum of the terms' absolute values
};

Projection project(const Tensor& y, const std::vector<float>& w) {
  const std::vector<float> values = ops::cast(y, DType::f32).to_vector<float>();
  Projection result;
  for (size_t i = 0; i < values.size(); ++i) {
    result.value += static_cast<double>(w[i]) * values[i];
    result.magnitude += std::abs(static_cast<double>(w[i]) * values[i]);
  }
  return result;
}

}  // namespace

std::string check_gradients(const std::function<Variable(const std::vector<Variable>&)>& f,
                            const std::vector<Tensor>& inputs, const GradientCheckOptions& options) {
  const KeptValueCheck kept_values;
  std::vector<Variable> variables;
  for (const Tensor& x : inputs) variables.emplace_back(x, true);
  const Variable y = f(variables);
  const Tensor w = ops::random_normal(y.shape(), {options.seed, RandomStream::test, 0}, y.value().device());
  const std::vector<float> weights = w.to_vector<float>();
  // mean(w * y) * numel is w . y, whose gradient with respect to y is w.
  backward(scale(mean(multiply(cast(y, DType::f32), Variable(w))), static_cast<float>(w.numel())));

  const auto loss_with = [&](size_t input, size_t element, float delta) {
    NoGrad no_grad;
    std::vector<Variable> moved;
    for (const Tensor& x : inputs) moved.emplace_back(x);
    std::vector<float> values = inputs[input].to_vector<float>();
    values[element] += delta;
    moved[input] = Variable(Tensor::from(values, inputs[input].shape(), inputs[input].device()));
    return project(f(moved).value(), weights);
  };

  std::string worst;
  double worst_excess = 1.0;
  RandomGenerator random({options.seed, RandomStream::test, 1});
  for (size_t input = 0; input < inputs.size(); ++input) {
    const Tensor& gradient = variables[input].grad();
    check(gradient.defined(), "gradient check: input {} got no gradient", input);
    check(gradient.shape() == inputs[input].shape(),
          "gradient check: input {} of shape {} got a gradient of shape {}", input, inputs[input].shape(),
          gradient.shape());
    const std::vector<float> analytic = gradient.to_vector<float>();
    const int64_t elements = inputs[input].numel();
    const int64_t samples = std::min<int64_t>(elements, options.samples_per_input);
    for (int64_t s = 0; s < samples; ++s) {
      const size_t i = samples == elements ? s : random.below(static_cast<uint32_t>(elements));
      const float h = options.step;
      const Projection plus = loss_with(input, i, h), minus = loss_with(input, i, -h);
      const double wide = (plus.value - minus.value) / (2.0 * h);
      const double narrow =
          (loss_with(input, i, h / 2).value - loss_with(input, i, -h / 2).value) / static_cast<double>(h);
      // Each term of L carries a few roundings, of about sqrt(terms) ulps together; the quotient divides them
      // by h.
      constexpr double unit_roundoff = 0x1p-24;
      const double rounding =
          8 * unit_roundoff * (plus.magnitude + minus.magnitude + std::abs(analytic[i])) / h;
      const double tolerance = std::abs(wide - narrow) + rounding;
      const double excess = std::abs(analytic[i] - narrow) / tolerance;
      if (!(excess <= worst_excess)) {
        worst_excess = excess;
        worst = formatted("input {} element {}: backward gives {}, finite differences {} with tolerance {}",
                          input, i, analytic[i], narrow, tolerance);
      }
    }
  }
  return worst;
}

}  // namespace la
