// The discrete Fourier transform X_k = sum_j x_j exp(-2 pi i j k / n), of several lines at once: the innermost loop goes over the lines,
// so that a CPU computes them side by side. Stockham's form of Cooley's and Tukey's (1965): each pass writes its results in the order
// that the next one reads.
#pragma once

#include <array>
#include <complex>
#include <cstdint>
#include <vector>

namespace la {

class FourierLines {
 public:
  static constexpr int64_t lines = 8;

  /// Of this length: a power of two, or three times one (next_length), else an Error.
  explicit FourierLines(int64_t length);
  /// The least length that is at least so much.
  static int64_t next_length(int64_t least);

  /// Number i of a line.
  std::complex<float> at(int64_t line, int64_t i) const {
    return {now_.re[i * lines + line], now_.im[i * lines + line]};
  }
  void set(int64_t line, int64_t i, std::complex<float> x) {
    now_.re[i * lines + line] = x.real();
    now_.im[i * lines + line] = x.imag();
  }
  /// Number i of all lines.
  void scale(int64_t i, const float* by_line);

  void forward();
  /// The inverse, but for the factor 1 / length.
  void backward();

 private:
  struct Numbers {
    std::vector<float> re, im;  // [length, lines]
  };
  template <int radix>
  void pass(int64_t length, int64_t stride);

  int64_t length_;
  std::vector<std::complex<float>> roots_;  // exp(-2 pi i k / length)
  Numbers now_, next_;
};

}  // namespace la
