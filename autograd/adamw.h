// Adam with decoupled weight decay (Loshchilov, Hutter 2019), as PyTorch defines it.
#pragma once

#include "autograd/optimizer.h"

namespace la {

/// m <- beta1 m + (1 - beta1) gradient;  v <- beta2 v + (1 - beta2) gradient^2, and after t steps
/// parameter <- (1 - learning_rate weight_decay) parameter
///              - learning_rate m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon).
/// State: "first_moment" m, "second_moment" v, and "steps" t, i64 [1], which all parameters share.
class AdamW : public Optimizer {
 public:
  using Options = AdamWOptions;

  template <class Parameters>
  AdamW(const Parameters& parameters, const Options& options)
      : Optimizer(parameters, {"first_moment", "second_moment"}), options_(options) {
    const Device device = states_[0].tensors[0].device();
    states_.push_back({"steps", {Tensor::zeros({1}, DType::i64, device)}});
  }

 private:
  void update(std::span<const OptimizerSlot> slots, const Tensor& learning_rate,
              const Clipping& clipping) override;

  Options options_;
};

}  // namespace la
