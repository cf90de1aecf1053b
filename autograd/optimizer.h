// What all optimizers share: their parameters, the learning rate, clipping, and a state that checkpoints can
// store. What changes from step to step lies on the device, so that a step can be recorded (captured_step.h).
#pragma once

#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "autograd/variable.h"
#include "tensor/op_types.h"

namespace la {

class Optimizer {
 public:
  /// One tensor for each parameter, in their order, or one for all of them.
  struct State {
    std::string name;
    std::vector<Tensor> tensors;
  };

  virtual ~Optimizer() = default;

  /// The learning rate of the steps from here on. It is read on the device, when the step happens there.
  void set_learning_rate(float learning_rate);
  /// From here on, the gradients of a step are scaled down where the length of the vector of them all is more
  /// than that (Pascanu, Mikolov, Bengio 2013).
  void clip_gradients(float max_norm);
  /// One step with the gradients that backward() has left, which are cleared. A parameter without one stays
  /// as it is. An Error before the first learning rate.
  void step();

  /// The length of all gradients of the last step before they were clipped, f32 [1] on the device; undefined
  /// without clipping.
  const Tensor& gradient_norm() const { return clipping_.norm; }
  /// Writing to the tensors of a new optimizer of the same parameters restores the state.
  const std::vector<State>& state() const { return states_; }

 protected:
  /// Of parameters such as Module::parameters(): each has a `variable` (a pointer), and says whether it
  /// `decays`. At least one. `moments` names what is kept of each, in f32: one or two.
  template <class Parameters>
  Optimizer(const Parameters& parameters, std::initializer_list<const char*> moments) {
    for (const char* name : moments) states_.push_back({name, {}});
    for (const auto& p : parameters) add(*p.variable, p.decays);
    check(!parameters_.empty(), "optimizer: there is no parameter to train");
  }

  /// The step of an optimizer: of the parameters that have a gradient.
  virtual void update(std::span<const OptimizerSlot> slots, const Tensor& learning_rate,
                      const Clipping& clipping) = 0;

  std::vector<State> states_;

 private:
  struct Parameter {
    Variable variable;
    bool decays;
  };
  void add(const Variable& parameter, bool decays);

  std::vector<Parameter> parameters_;
  Tensor learning_rate_;  // one element, on the device
  bool has_learning_rate_ = false;
  Clipping clipping_;  // max_norm is 0 without clipping
};

}  // namespace la
