#include "layers/initializers.h"

#include <cmath>
#include <vector>

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

Initializer normal(float stddev) {
  return [stddev](const Tensor& parameter, const RandomKey& key) {
    const Tensor standard = ops::random_normal(parameter.shape(), key, parameter.device());
    ops::copy_into(parameter, ops::scale(standard, stddev));
  };
}

Initializer he_normal(int64_t fan_out) { return normal(std::sqrt(2.0f / static_cast<float>(fan_out))); }

Initializer truncated_normal(float stddev) {
  return [stddev](const Tensor& parameter, const RandomKey& key) {
    const Tensor all = ops::random_normal(parameter.shape(), key);
    float* const values = all.data<float>();
    std::vector<int64_t> too_far;
    for (int64_t i = 0; i < all.numel(); ++i)
      if (std::abs(values[i]) > 2.0f) too_far.push_back(i);
    for (uint64_t draw = 1; !too_far.empty(); ++draw) {
      const auto count = static_cast<int64_t>(too_far.size());
      const std::vector<float> anew =
          ops::random_normal({count}, {key.seed, key.stream, key.index | draw << 32}).to_vector<float>();
      for (size_t i = 0; i < anew.size(); ++i) values[too_far[i]] = anew[i];
      std::erase_if(too_far, [values](int64_t i) { return std::abs(values[i]) <= 2.0f; });
    }
    ops::copy_into(parameter, ops::scale(all, stddev).to(parameter.device()));
  };
}

Initializer glorot_uniform(int64_t fan_in, int64_t fan_out) {
  return uniform(std::sqrt(6.0f / static_cast<float>(fan_in + fan_out)));
}

}  // namespace la
