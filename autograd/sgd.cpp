#include "autograd/sgd.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "tensor/ops.h"

namespace la {

void Sgd::add(const Variable& parameter, float weight_decay) {
  const Device device = parameter.value().device();
  if (groups_.empty()) learning_rate_ = Tensor::zeros({1}, DType::f32, device);
  groups_.push_back({parameter, weight_decay});
  velocities_.push_back(Tensor::zeros(parameter.shape(), DType::f32, device));
}

void Sgd::set_learning_rate(float learning_rate) { ops::fill(learning_rate_, learning_rate); }

void Sgd::step() {
  std::vector<SgdSlot> work;
  for (size_t i = 0; i < groups_.size(); ++i) {
    const Variable& parameter = groups_[i].parameter;
    if (parameter.grad().defined())
      work.push_back({parameter.value(), parameter.grad(), velocities_[i], groups_[i].weight_decay});
  }
  ops::sgd_step(work, learning_rate_, momentum_);
  for (ParameterGroup& group : groups_) group.parameter.clear_grad();
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
