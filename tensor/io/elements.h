// Elements as files have them: floating-point numbers of other sizes, which become f32.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace la {

/// A number of IEEE 754 in 16 bits: a sign, 5 bits of exponent and 10 of fraction.
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

/// `count` numbers of type T, wherever they lie, as f32. One such function for each type is what tables of types hold.
template <class T>
void to_floats(const void* from, size_t count, float* to) {
  for (size_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, static_cast<const char*>(from) + i * sizeof value, sizeof value);
    to[i] = static_cast<float>(value);
  }
}
using ToFloats = void (*)(const void* from, size_t count, float* to);

}  // namespace la
