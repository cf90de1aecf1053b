// The optimizers' steps: checks, calls.
#include "tensor/backend.h"
#include "tensor/ops.h"
#include "tensor/ops_checks.h"

namespace la::ops {
namespace {

void check_number(const char* op, const char* name, const Tensor& x, DType dtype, const Tensor& operand) {
  check_dtype(op, name, x, dtype);
  check(x.numel() == 1, "{}: {} has shape {}, expected one element", op, name, x.shape());
  check_same_device(op, operand, x);
}

void check_slots(const char* op, std::span<const OptimizerSlot> slots, int moments,
                 const Tensor& learning_rate, const Clipping& clipping) {
  check_number(op, "the learning rate", learning_rate, DType::f32, learning_rate);
  if (clipping.norm.defined()) {
    check_number(op, "the norm", clipping.norm, DType::f32, learning_rate);
    check(clipping.max_norm > 0.0f, "{}: gradients are clipped to a norm of {}, expected a positive one", op,
          clipping.max_norm);
  }
  for (const OptimizerSlot& slot : slots) {
    check_dtype(op, "a parameter", slot.parameter, DType::f32);
    check_alike(op, slot.parameter, slot.gradient);
    check_alike(op, slot.parameter, slot.first_moment);
    if (moments == 2) check_alike(op, slot.parameter, slot.second_moment);
    check_same_device(op, slot.parameter, learning_rate);
  }
}

}  // namespace

Tensor gradient_norm(std::span<const OptimizerSlot> slots) {
  check(!slots.empty(), "gradient_norm: there is no gradient");
  for (const OptimizerSlot& slot : slots) {
    check_dtype("gradient_norm", "a gradient", slot.gradient, DType::f32);
    check_same_device("gradient_norm", slot.gradient, slots[0].gradient);
  }
  const Device device = slots[0].gradient.device();
  const Tensor norm({1}, DType::f32, device);
  backend(device).gradient_norm(slots, norm);
  return norm;
}

void sgd_step(std::span<const OptimizerSlot> slots, const Tensor& learning_rate, const SgdOptions& options,
              const Clipping& clipping) {
  check_slots("sgd_step", slots, 1, learning_rate, clipping);
  if (!slots.empty()) backend(learning_rate.device()).sgd_step(slots, learning_rate, options, clipping);
}

void adamw_step(std::span<const OptimizerSlot> slots, const Tensor& learning_rate, const Tensor& steps,
                const AdamWOptions& options, const Clipping& clipping) {
  check_slots("adamw_step", slots, 2, learning_rate, clipping);
  check_number("adamw_step", "the number of steps", steps, DType::i64, learning_rate);
  const auto is_valid = [](double beta) { return beta >= 0 && beta < 1; };
  check(is_valid(options.beta1) && is_valid(options.beta2), "adamw_step: betas {} and {}, expected [0, 1)",
        options.beta1, options.beta2);
  if (!slots.empty())
    backend(learning_rate.device()).adamw_step(slots, learning_rate, steps, options, clipping);
}

void lars_step(std::span<const OptimizerSlot> slots, const Tensor& learning_rate, const LarsOptions& options,
               const Clipping& clipping) {
  check_slots("lars_step", slots, 1, learning_rate, clipping);
  if (!slots.empty()) backend(learning_rate.device()).lars_step(slots, learning_rate, options, clipping);
}

}  // namespace la::ops
