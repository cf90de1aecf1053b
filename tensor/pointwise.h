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
struct Exp {
  LA_HD float operator()(float x) const { return std::exp(x); }
};
struct Log {
  LA_HD float operator()(float x) const { return std::log(x); }
};
struct Sqrt {
  LA_HD float operator()(float x) const { return std::sqrt(x); }
};
struct Tanh {
  LA_HD float operator()(float x) const { return std::tanh(x); }
};

/// P(X <= x) of the standard normal distribution; erfc keeps the digits of its lower tail, where 1 + erf
/// would cancel.
LA_HD float normal_cdf(float x) {
  constexpr float sqrt_half = 0.70710678f;
  return 0.5f * std::erfc(-sqrt_half * x);
}

struct Gelu {
  LA_HD float operator()(float x) const { return x * normal_cdf(x); }
};
struct Add {
  LA_HD float operator()(float a, float b) const { return a + b; }
};
struct Subtract {
  LA_HD float operator()(float a, float b) const { return a - b; }
};
struct Multiply {
  LA_HD float operator()(float a, float b) const { return a * b; }
};
struct Divide {
  LA_HD float operator()(float a, float b) const { return a / b; }
};
struct ReluBackward {
  LA_HD float operator()(float dy, float y) const { return y > 0.0f ? dy : 0.0f; }
};
struct SigmoidBackward {
  LA_HD float operator()(float dy, float y) const { return dy * y * (1.0f - y); }
};
struct TanhBackward {
  LA_HD float operator()(float dy, float y) const { return dy * (1.0f - y * y); }
};
/// d/dx x cdf(x) = cdf(x) + x density(x).
struct GeluBackward {
  LA_HD float operator()(float dy, float x) const {
    constexpr float inverse_sqrt_2pi = 0.39894228f;
    return dy * (normal_cdf(x) + x * inverse_sqrt_2pi * std::exp(-0.5f * x * x));
  }
};
struct Scale {
  float factor;
  LA_HD float operator()(float x) const { return factor * x; }
};
struct Shift {
  float offset;
  LA_HD float operator()(float x) const { return x + offset; }
};

/// f(d) = (sigma d)^2 / 2 where |d| < 1 / sigma^2, else |d| - 1 / (2 sigma^2), and its derivative.
struct SmoothL1 {
  float sigma_squared;
  LA_HD float operator()(float d) const {
    const float size = std::abs(d), border = 1.0f / sigma_squared;
    return size < border ? 0.5f * sigma_squared * d * d : size - 0.5f * border;
  }
  LA_HD float slope(float d) const {
    if (std::abs(d) < 1.0f / sigma_squared) return sigma_squared * d;
    return d > 0.0f ? 1.0f : d < 0.0f ? -1.0f : d;  // keeps NaN
  }
};

/// Whether a comes before b as the largest: a NaN before all numbers, so that it shows.
LA_HD bool exceeds(float a, float b) { return a > b || (a != a && b == b); }

}  // namespace la::pointwise
