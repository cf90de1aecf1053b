// Stochastic gradient descent with momentum and weight decay, and the schedules of the learning rate.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "autograd/optimizer.h"

namespace la {

/// velocity <- momentum * velocity + gradient + weight_decay * parameter
/// parameter <- parameter - learning_rate * velocity
/// or, with nesterov,
/// parameter <- parameter - learning_rate * (gradient + weight_decay * parameter + momentum * velocity)
class Sgd : public Optimizer {
 public:
  using Options = SgdOptions;

  template <class Parameters>
  Sgd(const Parameters& parameters, const Options& options)
      : Optimizer(parameters, {"velocity"}), options_(options) {}

  /// One velocity for each parameter, in their order.
  const std::vector<Tensor>& velocities() const { return states_[0].tensors; }

 private:
  void update(std::span<const OptimizerSlot> slots, const Tensor& learning_rate,
              const Clipping& clipping) override;

  Options options_;
};

/// A time in training: after so many epochs or, as published schedules often count, steps.
struct TrainingTime {
  double count = 0;
  bool in_steps = false;

  double epochs(int64_t steps_per_epoch) const {
    return in_steps ? count / static_cast<double>(steps_per_epoch) : count;
  }
  /// "30" or "300270 steps".
  std::string str() const;
  bool operator==(const TrainingTime&) const = default;
};
std::vector<double> to_epochs(const std::vector<TrainingTime>& times, int64_t steps_per_epoch);

/// The learning rate as a function of the time in epochs (fractional).
struct Schedule {
  enum class Kind { step, cosine };
  Kind kind = Kind::step;
  float base = 0.03f;
  double epochs = 200;             // cosine: where the rate reaches 0
  std::vector<double> drops = {};  // step: epochs at which the rate is divided by 10
  double warm_up_epochs = 0;       // linear increase from 0 to the base

  float at(double epoch) const;
};

}  // namespace la
