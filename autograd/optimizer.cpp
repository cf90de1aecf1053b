#include "autograd/optimizer.h"

#include "tensor/ops.h"

namespace la {

void Optimizer::add(const Variable& parameter, bool decays) {
  const Device device = parameter.value().device();
  if (parameters_.empty()) learning_rate_ = Tensor::zeros({1}, DType::f32, device);
  parameters_.push_back({parameter, decays});
  for (State& moment : states_)
    moment.tensors.push_back(Tensor::zeros(parameter.shape(), DType::f32, device));
}

void Optimizer::set_learning_rate(float learning_rate) {
  ops::fill(learning_rate_, learning_rate);
  has_learning_rate_ = true;
}

void Optimizer::clip_gradients(float max_norm) {
  check(max_norm > 0.0f, "optimizer: gradients are clipped to a norm of {}, expected a positive one",
        max_norm);
  clipping_.max_norm = max_norm;
}

void Optimizer::step() {
  check(has_learning_rate_, "optimizer: a step before set_learning_rate()");
  const auto moment = [&](size_t number, size_t parameter) {
    return number < states_.size() ? states_[number].tensors[parameter] : Tensor();
  };
  std::vector<OptimizerSlot> slots;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Variable& parameter = parameters_[i].variable;
    if (parameter.grad().defined())
      slots.push_back({.parameter = parameter.value(),
                       .gradient = parameter.grad(),
                       .first_moment = moment(0, i),
                       .second_moment = moment(1, i),
                       .decays = parameters_[i].decays});
  }
  if (!slots.empty() && clipping_.max_norm > 0.0f) clipping_.norm = ops::gradient_norm(slots);
  update(slots, learning_rate_, clipping_);
  for (Parameter& parameter : parameters_) parameter.variable.clear_grad();
}

}  // namespace la
