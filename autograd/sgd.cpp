#include "autograd/sgd.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "tensor/ops.h"

namespace la {

Sgd::Sgd(const std::vector<Group>& groups, float momentum) : momentum_(momentum) {
  for (const Group& group : groups) {
    for (const Variable& parameter : group.parameters) {
      parameters_.push_back(parameter);
      weight_decays_.push_back(group.weight_decay);
      velocities_.push_back(Tensor::zeros(parameter.shape(), DType::f32, parameter.value().device()));
    }
  }
  check(!parameters_.empty(), "sgd: there is no parameter to train");
  learning_rate_ = Tensor({1}, DType::f32, parameters_.front().value().device());
}

void Sgd::step(float learning_rate) {
  std::vector<SgdSlot> slots;
  for (size_t i = 0; i < parameters_.size(); ++i)
    if (parameters_[i].grad().defined())
      slots.push_back({parameters_[i].value(), parameters_[i].grad(), velocities_[i], weight_decays_[i]});
  ops::fill(learning_rate_, learning_rate);
  ops::sgd_step(slots, learning_rate_, momentum_);
  for (Variable& parameter : parameters_) parameter.clear_grad();
}

float Schedule::at(double epoch) const {
  if (epoch < warm_up_epochs) return base * static_cast<float>(epoch / warm_up_epochs);
  if (kind == Kind::cosine) {
    const double progress = std::min(1.0, (epoch - warm_up_epochs) / (epochs - warm_up_epochs));
    return base * static_cast<float>(0.5 * (1.0 + std::cos(std::numbers::pi * progress)));
  }
  const auto passed =
      std::count_if(drops.begin(), drops.end(), [epoch](double drop) { return epoch >= drop; });
  return base * std::pow(0.1f, static_cast<float>(passed));
}

}  // namespace la
