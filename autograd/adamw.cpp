#include "autograd/adamw.h"

#include "tensor/ops.h"

namespace la {

void AdamW::update(std::span<const OptimizerSlot> slots, const Tensor& learning_rate,
                   const Clipping& clipping) {
  const Tensor& steps = states_[2].tensors[0];
  ops::increment(steps);
  ops::adamw_step(slots, learning_rate, steps, options_, clipping);
}

}  // namespace la
