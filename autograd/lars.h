// Layer-wise adaptive rate scaling (You, Gitman, Ginsburg 2017), for large batches, as self-supervised
// learning uses it (SimCLR, BYOL, Barlow Twins).
#pragma once

#include "autograd/optimizer.h"

namespace la {

/// force = gradient + weight_decay * parameter;  ratio = trust_coefficient |parameter| / |force|
/// velocity <- momentum * velocity + ratio * force;  parameter <- parameter - learning_rate * velocity
/// A parameter that does not decay has no weight decay and ratio 1. The article adds the norms in the
/// denominator, |gradient| + weight_decay |parameter|. State: "velocity".
class Lars : public Optimizer {
 public:
  using Options = LarsOptions;

  template <class Parameters>
  Lars(const Parameters& parameters, const Options& options)
      : Optimizer(parameters, {"velocity"}), options_(options) {}

 private:
  void update(std::span<const OptimizerSlot> slots, const Tensor& learning_rate,
              const Clipping& clipping) override;

  Options options_;
};

}  // namespace la
