// Bounded: a number in double precision together with a bound on how far the same computation in f32 may be
// from it (running error analysis; Higham, "Accuracy and Stability of Numerical Algorithms", section 3.3).
// Reference loops compute with it, so that every tolerance of the tests follows from the number of roundings
// and the magnitudes of the terms.
#pragma once

#include <cmath>
#include <limits>

namespace la {

constexpr double f32_roundoff = 0x1p-24;
constexpr double bf16_roundoff = 0x1p-8;
constexpr double exp_underflow = 0x1p-125;  // twice the smallest normal number

struct Bounded {
  double value = 0;
  double error = 0;  // |result of the computation in f32 - value| is at most this

  Bounded() = default;
  Bounded(double v, double e = 0) : value(v), error(e) {}

  /// After `roundings` roundings to a type of that unit roundoff.
  Bounded rounded(double roundings = 1, double roundoff = f32_roundoff) const {
    return {value, error + roundings * roundoff * (std::abs(value) + error)};
  }
};

inline Bounded operator-(const Bounded& a) { return {-a.value, a.error}; }
inline Bounded operator+(const Bounded& a, const Bounded& b) {
  return Bounded(a.value + b.value, a.error + b.error).rounded();
}
inline Bounded operator-(const Bounded& a, const Bounded& b) { return a + -b; }
inline Bounded operator*(const Bounded& a, const Bounded& b) {
  return Bounded(a.value * b.value,
                 std::abs(a.value) * b.error + std::abs(b.value) * a.error + a.error * b.error)
      .rounded();
}
/// Three roundings, for a / b may be computed as a * (1 / b) with an approximate reciprocal.
inline Bounded operator/(const Bounded& a, const Bounded& b) {
  const double size = std::abs(b.value);
  if (size <= b.error) return {a.value / b.value, std::numeric_limits<double>::infinity()};
  const double error = (std::abs(a.value) * b.error + size * a.error) / (size * (size - b.error));
  return Bounded(a.value / b.value, error).rounded(3);
}
inline Bounded sqrt(const Bounded& x) {
  const double root = std::sqrt(x.value);
  const double error = x.error < x.value ? root - std::sqrt(x.value - x.error) : std::sqrt(x.value + x.error);
  return Bounded(root, error).rounded(3);
}

// Implementations of exp and log are within four units in the last place; of exp down to its underflow, of
// log next to 1 within four units of 1.
inline Bounded exp(const Bounded& x) {
  const double e = std::exp(x.value);
  return Bounded(e, e * std::expm1(x.error) + exp_underflow).rounded(4);
}
inline Bounded log(const Bounded& x) {
  if (x.value <= x.error) return {std::log(x.value), std::numeric_limits<double>::infinity()};
  return Bounded(std::log(x.value), -std::log1p(-x.error / x.value) + 4 * f32_roundoff).rounded(4);
}

/// max(x, 0).
inline Bounded positive_part(const Bounded& x) { return {x.value < 0 ? 0 : x.value, x.error}; }
/// dy where x > 0, else 0; where the sign of x is in doubt, either may result.
inline Bounded pass_positive(const Bounded& dy, const Bounded& x) {
  if (x.value != 0 && std::abs(x.value) <= x.error)
    return {x.value > 0 ? dy.value : 0, std::abs(dy.value) + dy.error};
  return x.value > 0 ? dy : Bounded();
}

/// A sum of n terms in any order: its error is at most n - 1 roundings of the sum of the terms' sizes.
class Sum {
 public:
  void add(const Bounded& term) {
    value_ += term.value;
    error_ += term.error;
    size_ += std::abs(term.value) + term.error;
    ++terms_;
  }
  Bounded total() const { return {value_, error_ + (terms_ > 1 ? (terms_ - 1) * f32_roundoff * size_ : 0)}; }

 private:
  double value_ = 0, error_ = 0, size_ = 0;
  double terms_ = 0;
};

}  // namespace la
