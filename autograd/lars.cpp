#include "autograd/lars.h"

#include "tensor/ops.h"

namespace la {

void Lars::update(std::span<const OptimizerSlot> slots, const Tensor& learning_rate,
                  const Clipping& clipping) {
  ops::lars_step(slots, learning_rate, options_, clipping);
}

}  // namespace la
