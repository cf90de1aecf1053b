// Stochastic gradient descent with momentum and weight decay, and the schedules of its learning rate.
#pragma once

#include <vector>

#include "autograd/variable.h"

namespace la {

/// velocity <- momentum * velocity + gradient + weight_decay * parameter
/// parameter <- parameter - learning_rate * velocity
class Sgd {
 public:
  struct Slot {
    Variable parameter;
    float weight_decay;
  };

  Sgd(std::vector<Slot> slots, float momentum);

  /// The learning rate of the steps from here on.
  void set_learning_rate(float learning_rate);
  /// One step with the gradients that backward() has left, which are cleared. A parameter without one stays
  /// as it is. The learning rate is read on the device, when the step happens there.
  void step();

  /// One velocity for each parameter, in the order of the slots: the optimizer's state.
  const std::vector<Tensor>& velocities() const { return velocities_; }

 private:
  std::vector<Slot> slots_;
  std::vector<Tensor> velocities_;
  Tensor learning_rate_;  // one element, on the device
  float momentum_;
};

/// The learning rate as a function of the time in epochs (fractional).
struct Schedule {
  enum class Kind { step, cosine };
  Kind kind = Kind::step;
  float base = 0.03f;
  double epochs = 200;        // cosine: where the rate reaches 0
  std::vector<double> drops;  // step: epochs at which the rate is divided by 10
  double warm_up_epochs = 0;  // linear increase from 0 to the base

  float at(double epoch) const;
};

}  // namespace la
