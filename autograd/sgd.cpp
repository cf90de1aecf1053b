#include "autograd/sgd.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "tensor/format.h"
#include "tensor/ops.h"

namespace la {

void Sgd::update(std::span<const OptimizerSlot> slots, const Tensor& learning_rate,
                 const Clipping& clipping) {
  ops::sgd_step(slots, learning_rate, options_, clipping);
}

std::string TrainingTime::str() const { return formatted("{}{}", count, in_steps ? " steps" : ""); }

std::vector<double> to_epochs(const std::vector<TrainingTime>& times, int64_t steps_per_epoch) {
  std::vector<double> epochs;
  for (const TrainingTime& time : times) epochs.push_back(time.epochs(steps_per_epoch));
  return epochs;
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
