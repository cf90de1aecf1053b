// Gradient check: compares what backward() computes with finite differences of the function itself.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "autograd/variable.h"

namespace la {

struct GradientCheckOptions {
  float step = 1e-2f;          // of the finite differences
  int samples_per_input = 40;  // elements of each input that are checked, chosen at random
  uint64_t seed = 1;
};

/// Checks d(w . f(inputs)) / d(inputs) for a random vector w, where the inputs are f32. The differences are
/// central, D(h) = (L(x + h) - L(x - h)) / 2h; D(h) and D(h / 2) together give the truncation error, |D(h) -
/// D(h/2)|, and the size of L's terms bounds the rounding error: the sum of both is the tolerance of each
/// element. Returns an empty string, or a line that names the worst element. A function that changes a value
/// that another may keep is an Error (KeptValueCheck).
std::string check_gradients(const std::function<Variable(const std::vector<Variable>&)>& f,
                            const std::vector<Tensor>& inputs, const GradientCheckOptions& options = {});

}  // namespace la
