// Half: a number of IEEE 754 in 16 bits, as files have them: a sign, 5 bits of exponent and 10 of fraction.
#pragma once

#include <cmath>
#include <cstdint>

namespace la {

struct Half {
  uint16_t bits;

  explicit operator float() const {
    constexpr int special = 31;  // the exponent of infinity and NaN
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    const float magnitude = exponent == special ? (fraction == 0 ? HUGE_VALF : NAN)
                            : exponent == 0     ? std::ldexp(static_cast<float>(fraction), -24)
                                            : std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
    return std::copysign(magnitude, bits >> 15 == 0 ? 1.0f : -1.0f);
  }
};

}  // namespace la
