// Initial values of parameters.
#pragma once

#include "layers/module.h"

namespace la {

Initializer constant(float value);
/// Uniform in [-bound, bound].
Initializer uniform(float bound);
/// He, Zhang, Ren, Sun 2015: normal with standard deviation sqrt(2 / fan_out), fan_out = O * KH * KW. What
/// torchvision begins convolutions with.
Initializer he_normal(int64_t fan_out);
Initializer normal(float stddev);
/// Normal with that standard deviation, but for what lies beyond two of it: what is left deviates by 0.88 of it.
Initializer truncated_normal(float stddev);
/// Glorot, Bengio 2010: uniform with variance 2 / (fan_in + fan_out).
Initializer glorot_uniform(int64_t fan_in, int64_t fan_out);

}  // namespace la
