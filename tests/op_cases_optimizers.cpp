// Cases of the optimizers' steps: parameters with and without weight decay in one call, whose gradients are
// clipped or not.
#include "tensor/format.h"
#include "tensor/ops.h"
#include "tests/op_case.h"

namespace la {
namespace {

/// The inputs are the learning rate, the number of steps, the norm for clipping, and of each parameter:
/// value, gradient, first and second moment.
constexpr size_t fixed_inputs = 3, inputs_per_slot = 4;

bool decays(size_t slot) { return slot % 2 == 0; }

/// A parameter of the case and what belongs to it.
struct Parameter {
  Array value, gradient, first, second;
  bool decays;
};

/// With `max_norm` 0, the step is not clipped.
struct StepCase {
  std::string op, options;
  std::vector<Shape> shapes;
  float max_norm;
  std::function<void(std::span<const OptimizerSlot>, const Tensors&, const Clipping&)> step;
  /// Changes the parameter, given the gradient after clipping, the learning rate and the number of steps.
  std::function<void(Parameter&, const Bounded& rate, double steps)> reference;
};

constexpr float norm_before = 3, steps_done = 7;

OpCase optimizer_case(const StepCase& s) {
  OpCase c{
      .op = s.op,
      .options = s.options + formatted(" max_norm={}", s.max_norm),
      .inputs = {constant({1}, 0.03), constant({1}, steps_done, DType::i64), constant({1}, norm_before)}};
  for (const Shape& shape : s.shapes)
    c.inputs.insert(c.inputs.end(), {normal(shape), normal(shape), normal(shape), uniform(shape, 1e-3f, 2)});
  c.run = [s](const Tensors& in) -> Tensors {
    std::vector<OptimizerSlot> slots;
    Tensors out;
    for (size_t n = 0; n < s.shapes.size(); ++n) {
      const Tensor* of = &in[fixed_inputs + n * inputs_per_slot];
      slots.push_back({of[0], of[1], of[2], of[3], decays(n)});
      out.insert(out.end(), {of[0], of[2], of[3]});
    }
    s.step(slots, in, s.max_norm > 0 ? Clipping{in[2], s.max_norm} : Clipping{});
    return out;
  };
  c.reference = [s](const Arrays& in) {
    Bounded factor(1);
    if (s.max_norm > 0) factor = Bounded(s.max_norm) / (in[2][0] + Bounded(1e-6f));
    if (factor.value > 1) factor = Bounded(1);
    Arrays out;
    for (size_t n = 0; n < s.shapes.size(); ++n) {
      const Array* of = &in[fixed_inputs + n * inputs_per_slot];
      Parameter p{of[0], of[1], of[2], of[3], decays(n)};
      if (s.max_norm > 0) p.gradient = map(p.gradient, [=](const Bounded& g) { return factor * g; });
      s.reference(p, in[0][0], steps_done);
      out.insert(out.end(), {p.value, p.first, p.second});
    }
    return out;
  };
  return c;
}

OpCase sgd_case(const std::vector<Shape>& shapes, const SgdOptions& o, float max_norm) {
  return optimizer_case({.op = "sgd_step",
                         .options = formatted("momentum={} nesterov={}", o.momentum, int{o.nesterov}),
                         .shapes = shapes,
                         .max_norm = max_norm,
                         .step = [=](auto slots, const Tensors& in,
                                     const Clipping& clipping) { ops::sgd_step(slots, in[0], o, clipping); },
                         .reference =
                             [=](Parameter& p, const Bounded& rate, double) {
                               const Bounded decay(p.decays ? o.weight_decay : 0), momentum(o.momentum);
                               for (int64_t i = 0; i < p.value.numel(); ++i) {
                                 const Bounded decayed = decay * p.value[i], force = p.gradient[i] + decayed;
                                 const Bounded kept = momentum * p.first[i];
                                 p.first[i] = o.nesterov ? kept + force : kept + p.gradient[i] + decayed;
                                 const Bounded change =
                                     o.nesterov ? force + momentum * p.first[i] : p.first[i];
                                 p.value[i] = p.value[i] - rate * change;
                               }
                             }});
}

OpCase adamw_case(const std::vector<Shape>& shapes, const AdamWOptions& o, float max_norm) {
  return optimizer_case(
      {.op = "adamw_step",
       .options = formatted("beta1={} beta2={}", o.beta1, o.beta2),
       .shapes = shapes,
       .max_norm = max_norm,
       .step = [=](auto slots, const Tensors& in,
                   const Clipping& clipping) { ops::adamw_step(slots, in[0], in[1], o, clipping); },
       .reference =
           [=](Parameter& p, const Bounded& rate, double steps) {
             const auto number = [](double x) { return Bounded(x).rounded(); };
             // 1 - beta^t, by an exponential whose argument is known to a rounding of t and of log(beta).
             const auto unbias = [&](double beta) {
               const double power = std::pow(beta, steps), size = beta > 0 ? -steps * std::log(beta) : 0;
               return Bounded(1 - power, 2 * f32_roundoff * size * power).rounded(4);
             };
             const Bounded decay(p.decays ? o.weight_decay : 0),
                 step = rate / unbias(o.beta1), inverse_scale = Bounded(1) / sqrt(unbias(o.beta2));
             for (int64_t i = 0; i < p.value.numel(); ++i) {
               const Bounded& g = p.gradient[i];
               p.first[i] = number(o.beta1) * p.first[i] + number(1 - o.beta1) * g;
               p.second[i] = number(o.beta2) * p.second[i] + number(1 - o.beta2) * (g * g);
               p.value[i] = (Bounded(1) - rate * decay) * p.value[i] -
                            step * p.first[i] / (sqrt(p.second[i]) * inverse_scale + Bounded(o.epsilon));
             }
           }});
}

OpCase lars_case(const std::vector<Shape>& shapes, const LarsOptions& o, float max_norm) {
  return optimizer_case({.op = "lars_step",
                         .options = formatted("momentum={}", o.momentum),
                         .shapes = shapes,
                         .max_norm = max_norm,
                         .step = [=](auto slots, const Tensors& in,
                                     const Clipping& clipping) { ops::lars_step(slots, in[0], o, clipping); },
                         .reference =
                             [=](Parameter& p, const Bounded& rate, double) {
                               const Bounded decay(p.decays ? o.weight_decay : 0);
                               Array force(p.value.shape);
                               Sum parameters, forces;
                               for (int64_t i = 0; i < p.value.numel(); ++i) {
                                 force[i] = p.gradient[i] + decay * p.value[i];
                                 parameters.add(p.value[i] * p.value[i]);
                                 forces.add(force[i] * force[i]);
                               }
                               const Bounded ratio = p.decays ? Bounded(o.trust_coefficient) *
                                                                    sqrt(parameters.total() / forces.total())
                                                              : Bounded(1);
                               for (int64_t i = 0; i < p.value.numel(); ++i) {
                                 p.first[i] = Bounded(o.momentum) * p.first[i] + ratio * force[i];
                                 p.value[i] = p.value[i] - rate * p.first[i];
                               }
                             }});
}

OpCase gradient_norm_case(const std::vector<Shape>& shapes) {
  OpCase c{.op = "gradient_norm", .inputs = {}};
  for (const Shape& shape : shapes) c.inputs.push_back(normal(shape));
  c.run = [](const Tensors& in) -> Tensors {
    std::vector<OptimizerSlot> slots;
    for (const Tensor& gradient : in) slots.emplace_back().gradient = gradient;
    return {ops::gradient_norm(slots)};
  };
  c.reference = [](const Arrays& in) -> Arrays {
    Sum squares;
    for (const Array& gradient : in)
      for (const Bounded& g : gradient.values) squares.add(g * g);
    Array norm({1});
    norm[0] = sqrt(squares.total());
    return {norm};
  };
  return c;
}

}  // namespace

void add_optimizer_cases(OpCases& cases) {
  const std::vector<Shape> shapes{{1}, {3, 5}, {64, 3, 3, 17}, {257}, {301, 131}};
  const std::vector<Shape> many(600, Shape{3});  // more than one launch takes
  for (float max_norm : {0.0f, 1.5f, 5.0f}) {
    for (bool nesterov : {false, true})
      for (float momentum : {0.0f, 0.9f})
        cases.push_back(
            sgd_case(shapes, {.momentum = momentum, .weight_decay = 1e-4f, .nesterov = nesterov}, max_norm));
    cases.push_back(adamw_case(shapes, {}, max_norm));
    cases.push_back(adamw_case(shapes, {.beta1 = 0, .beta2 = 0.9, .weight_decay = 0.3f}, max_norm));
    cases.push_back(lars_case(shapes, {.weight_decay = 0.1f}, max_norm));
  }
  cases.push_back(sgd_case(many, {.weight_decay = 1e-4f}, 0));
  cases.push_back(lars_case(many, {}, 1.5f));
  for (const std::vector<Shape>& some : {shapes, many, std::vector<Shape>{{2}}})
    cases.push_back(gradient_norm_case(some));
}

}  // namespace la
