// The optimizers' arithmetic, written once for every device. A rule holds what a step is made of, numbers and
// where the device has those that change; rule.of(slot, decays) reads them, and gives what is done to each
// element of a parameter: (parameter, gradient, moments ...) -> the new parameter. The equations are in
// tensor/ops.h.
#pragma once

#include <cmath>
#include <cstdint>

#include "tensor/host_device.h"
#include "tensor/op_types.h"

namespace la {

/// By what all gradients are multiplied.
struct ClippingFactor {
  const float* norm;
  float max_norm;

  explicit ClippingFactor(const Clipping& clipping)
      : norm(clipping.norm.defined() ? clipping.norm.data<float>() : nullptr), max_norm(clipping.max_norm) {}
  LA_HD float operator()() const {
    const float factor = max_norm / (*norm + 1e-6f);
    return factor > 1.0f ? 1.0f : factor;  // keeps NaN
  }
};

struct SgdRule {
  static constexpr int moments = 1;
  const float* learning_rate;
  float momentum, weight_decay;

  SgdRule(const Tensor& rate, const SgdOptions& options)
      : learning_rate(rate.data<float>()), momentum(options.momentum), weight_decay(options.weight_decay) {}

  struct Step {
    float learning_rate, momentum, weight_decay;
    LA_HD float operator()(float parameter, float gradient, float& velocity) const {
      velocity = momentum * velocity + gradient + weight_decay * parameter;
      return parameter - learning_rate * velocity;
    }
  };
  LA_HD Step of(int64_t, bool decays) const {
    return {*learning_rate, momentum, decays ? weight_decay : 0.0f};
  }
};

struct NesterovRule : SgdRule {
  using SgdRule::SgdRule;

  struct Step {
    float learning_rate, momentum, weight_decay;
    LA_HD float operator()(float parameter, float gradient, float& velocity) const {
      const float force = gradient + weight_decay * parameter;
      velocity = momentum * velocity + force;
      return parameter - learning_rate * (force + momentum * velocity);
    }
  };
  LA_HD Step of(int64_t, bool decays) const {
    return {*learning_rate, momentum, decays ? weight_decay : 0.0f};
  }
};

struct AdamWRule {
  static constexpr int moments = 2;
  const float* learning_rate;
  const int64_t* steps;
  float beta1, beta2, new1, new2;  // new = 1 - beta
  float log_beta1, log_beta2;
  float epsilon, weight_decay;

  AdamWRule(const Tensor& rate, const Tensor& number_of_steps, const AdamWOptions& options)
      : learning_rate(rate.data<float>()),
        steps(number_of_steps.data<int64_t>()),
        beta1(static_cast<float>(options.beta1)),
        beta2(static_cast<float>(options.beta2)),
        new1(static_cast<float>(1 - options.beta1)),
        new2(static_cast<float>(1 - options.beta2)),
        log_beta1(static_cast<float>(std::log(options.beta1))),
        log_beta2(static_cast<float>(std::log(options.beta2))),
        epsilon(options.epsilon),
        weight_decay(options.weight_decay) {}

  struct Step {
    float beta1, beta2, new1, new2;
    float keep;           // of the parameter, after weight decay
    float rate;           // learning_rate / (1 - beta1^t)
    float inverse_scale;  // 1 / sqrt(1 - beta2^t)
    float epsilon;

    LA_HD float operator()(float parameter, float gradient, float& first, float& second) const {
      first = beta1 * first + new1 * gradient;
      second = beta2 * second + new2 * (gradient * gradient);
      return keep * parameter - rate * first / (std::sqrt(second) * inverse_scale + epsilon);
    }
  };
  LA_HD Step of(int64_t, bool decays) const {
    const auto t = static_cast<float>(*steps);
    const float unbias1 = -std::expm1(t * log_beta1), unbias2 = -std::expm1(t * log_beta2);  // 1 - beta^t
    const float decay = decays ? weight_decay : 0.0f;
    return {beta1,
            beta2,
            new1,
            new2,
            1.0f - *learning_rate * decay,
            *learning_rate / unbias1,
            1.0f / std::sqrt(unbias2),
            epsilon};
  }
};

struct LarsRule {
  static constexpr int moments = 1;
  const float* learning_rate;
  const float* ratios;  // of each slot
  float momentum, weight_decay;

  LarsRule(const Tensor& rate, const float* ratio_of_slot, const LarsOptions& options)
      : learning_rate(rate.data<float>()),
        ratios(ratio_of_slot),
        momentum(options.momentum),
        weight_decay(options.weight_decay) {}

  struct Step {
    float learning_rate, ratio, momentum, weight_decay;
    LA_HD float operator()(float parameter, float gradient, float& velocity) const {
      velocity = momentum * velocity + ratio * (gradient + weight_decay * parameter);
      return parameter - learning_rate * velocity;
    }
  };
  LA_HD Step of(int64_t slot, bool decays) const {
    return {*learning_rate, ratios[slot], momentum, decays ? weight_decay : 0.0f};
  }

  /// From the sums of squares of a parameter and of its gradient with weight decay.
  LA_HD static float ratio(double parameter, double gradient, float trust_coefficient) {
    if (!(parameter > 0.0) || !(gradient > 0.0)) return 1.0f;
    return trust_coefficient * static_cast<float>(std::sqrt(parameter / gradient));
  }
};

}  // namespace la
