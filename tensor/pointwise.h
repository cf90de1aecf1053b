// Pointwise arithmetic, written once for every device.
#pragma once

#include <cmath>

#include "tensor/host_device.h"

namespace la::pointwise {

struct Relu {
  LA_HD float operator()(float x) const { return x < 0.0f ? 0.0f : x; }  // keeps NaN
};
struct Sigmoid {
  LA_HD float operator()(float x) const { return 1.0f / (1.0f + std::exp(-x)); }
};
struct Add {
  LA_HD float operator()(float a, float b) const { return a + b; }
};
struct Multiply {
  LA_HD float operator()(float a, float b) const { return a * b; }
};
struct ReluBackward {
  LA_HD float operator()(float dy, float y) const { return y > 0.0f ? dy : 0.0f; }
};
struct SigmoidBackward {
  LA_HD float operator()(float dy, float y) const { return dy * y * (1.0f - y); }
};
struct Scale {
  float factor;
  LA_HD float operator()(float x) const { return factor * x; }
};

/// One element of an SGD step with momentum; returns the new parameter.
LA_HD float sgd(float parameter, float gradient, float& velocity, float learning_rate, float momentum,
                float weight_decay) {
  velocity = momentum * velocity + gradient + weight_decay * parameter;
  return parameter - learning_rate * velocity;
}

}  // namespace la::pointwise
