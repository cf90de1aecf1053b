// Initial values of parameters, as torchvision chooses them.
#pragma once

#include "layers/module.h"

namespace la {

Initializer constant(float value);
/// Uniform in [-bound, bound].
Initializer uniform(float bound);
/// He, Zhang, Ren, Sun 2015: normal with standard deviation sqrt(2 / fan_out), fan_out = O * KH * KW.
Initializer he_normal(int64_t fan_out);

}  // namespace la
