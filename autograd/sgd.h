// Stochastic gradient descent with momentum and weight decay, and the schedules of its learning rate.
#pragma once

#include <vector>

#include "autograd/variable.h"

namespace la {

/// velocity <- momentum * velocity + gradient + weight_decay * parameter
/// parameter <- parameter - learning_rate * velocity
class Sgd {
 public:
  struct Options {
    float momentum = 0.9f;
    float weight_decay = 0;  // of parameters that decay
  };

  /// Of parameters such as Module::parameters(): each has a `variable` (a pointer), and says whether it
  /// `decays`. At least one.
  template <class Parameters>
  Sgd(const Parameters& parameters, const Options& options) : momentum_(options.momentum) {
    for (const auto& p : parameters) add(*p.variable, p.decays ? options.weight_decay : 0.0f);
    check(!groups_.empty(), "sgd: there is no parameter to train");
  }

  /// The learning rate of the steps from here on.
  void set_learning_rate(float learning_rate);
  /// One step with the gradients that backward() has left, which are cleared. A parameter without one stays
  /// as it is. The learning rate is read on the device, when the step happens there.
  void step();

  /// One velocity for each parameter, in their order: the optimizer's state.
  const std::vector<Tensor>& velocities() const { return velocities_; }

 private:
  struct ParameterGroup {
    Variable parameter;
    float weight_decay;
  };
  void add(const Variable& parameter, float weight_decay);

  std::vector<ParameterGroup> groups_;
  std::vector<Tensor> velocities_;
  Tensor learning_rate_;  // one element, on the device
  float momentum_;
};

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
