#include "autograd/sgd.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "tensor/ops.h"

namespace la {

Sgd::Sgd(std::vector<Slot> slots, float momentum) : slots_(std::move(slots)), momentum_(momentum) {
  check(!slots_.empty(), "sgd: there is no parameter to train");
  const Device device = slots_.front().parameter.value().device();
  for (const Slot& slot : slots_)
    velocities_.push_back(Tensor::zeros(slot.parameter.shape(), DType::f32, device));
  learning_rate_ = Tensor::zeros({1}, DType::f32, device);
}

void Sgd::set_learning_rate(float learning_rate) { ops::fill(learning_rate_, learning_rate); }

void Sgd::step() {
  std::vector<SgdSlot> work;
  for (size_t i = 0; i < slots_.size(); ++i) {
    const Variable& parameter = slots_[i].parameter;
    if (parameter.grad().defined())
      work.push_back({parameter.value(), parameter.grad(), velocities_[i], slots_[i].weight_decay});
  }
  ops::sgd_step(work, learning_rate_, momentum_);
  for (Slot& slot : slots_) slot.parameter.clear_grad();
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
