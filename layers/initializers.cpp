#include "layers/initializers.h"

#include <cmath>

#include "tensor/ops.h"

namespace la {

Initializer constant(float value) {
  return [value](const Tensor& parameter, const RandomKey&) { ops::fill(parameter, value); };
}

Initializer uniform(float bound) {
  return [bound](const Tensor& parameter, const RandomKey& key) {
    ops::copy_into(parameter, ops::random_uniform(parameter.shape(), -bound, bound, key, parameter.device()));
  };
}

Initializer he_normal(int64_t fan_out) {
  const float deviation = std::sqrt(2.0f / static_cast<float>(fan_out));
  return [deviation](const Tensor& parameter, const RandomKey& key) {
    const Tensor normal = ops::random_normal(parameter.shape(), key, parameter.device());
    ops::copy_into(parameter, ops::scale(normal, deviation));
  };
}

}  // namespace la
