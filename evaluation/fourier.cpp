#include "evaluation/fourier.h"

#include <cmath>
#include <numbers>
#include <utility>

#include "tensor/error.h"

namespace la {
namespace {

/// What is left of a length without its factors of two.
int64_t odd_part(int64_t length) {
  while (length % 2 == 0) length /= 2;
  return length;
}

/// x <- the transform of its `radix` numbers.
template <int radix>
void butterfly(float* re, float* im) {
  if constexpr (radix == 4) {
    const float a_re = re[0] + re[2], a_im = im[0] + im[2], b_re = re[0] - re[2], b_im = im[0] - im[2],
                c_re = re[1] + re[3], c_im = im[1] + im[3], d_re = re[1] - re[3], d_im = im[1] - im[3];
    re[0] = a_re + c_re, im[0] = a_im + c_im;
    re[1] = b_re + d_im, im[1] = b_im - d_re;
    re[2] = a_re - c_re, im[2] = a_im - c_im;
    re[3] = b_re - d_im, im[3] = b_im + d_re;
  } else if constexpr (radix == 3) {
    constexpr float half_sqrt3 = std::numbers::sqrt3_v<float> / 2;
    const float s_re = re[1] + re[2], s_im = im[1] + im[2], d_re = half_sqrt3 * (re[1] - re[2]),
                d_im = half_sqrt3 * (im[1] - im[2]), m_re = re[0] - s_re / 2, m_im = im[0] - s_im / 2;
    re[0] += s_re, im[0] += s_im;
    re[1] = m_re + d_im, im[1] = m_im - d_re;
    re[2] = m_re - d_im, im[2] = m_im + d_re;
  } else {
    const float s_re = re[0] + re[1], s_im = im[0] + im[1], d_re = re[0] - re[1], d_im = im[0] - im[1];
    re[0] = s_re, im[0] = s_im;
    re[1] = d_re, im[1] = d_im;
  }
}

}  // namespace

int64_t FourierLines::next_length(int64_t least) {
  int64_t power = 2;
  while (power < least) power *= 2;
  return power >= 4 && power / 4 * 3 >= least ? power / 4 * 3 : power;
}

FourierLines::FourierLines(int64_t length) : length_(length), roots_(static_cast<size_t>(length)) {
  check(length >= 1 && (odd_part(length) == 1 || odd_part(length) == 3),
        "Fourier transform: of length {}; expected a power of two, or three times one", length);
  for (int64_t k = 0; k < length; ++k)
    roots_[static_cast<size_t>(k)] =
        std::polar(1.0, -2 * std::numbers::pi * static_cast<double>(k) / static_cast<double>(length));
  for (Numbers* numbers : {&now_, &next_}) {
    numbers->re.resize(static_cast<size_t>(length * lines));
    numbers->im.resize(static_cast<size_t>(length * lines));
  }
}

void FourierLines::scale(int64_t i, const float* by_line) {
  for (int64_t line = 0; line < lines; ++line) {
    now_.re[i * lines + line] *= by_line[line];
    now_.im[i * lines + line] *= by_line[line];
  }
}

/// Of `stride` transforms of this length, whose numbers alternate, makes `stride` times `radix` of a length that is shorter by the radix.
template <int radix>
void FourierLines::pass(int64_t length, int64_t stride) {
  const int64_t shorter = length / radix, row = stride * lines;
  for (int64_t p = 0; p < shorter; ++p) {
    std::array<float, radix> root_re, root_im;
    for (int64_t k = 0; k < radix; ++k) {
      root_re[k] = roots_[p * k * stride].real();
      root_im[k] = roots_[p * k * stride].imag();
    }
    const float *const from_re = now_.re.data() + p * row, *const from_im = now_.im.data() + p * row;
    float *const to_re = next_.re.data() + radix * p * row, *const to_im = next_.im.data() + radix * p * row;
#pragma omp simd
    for (int64_t q = 0; q < row; ++q) {
      float re[radix], im[radix];
      for (int64_t k = 0; k < radix; ++k) {
        re[k] = from_re[k * shorter * row + q];
        im[k] = from_im[k * shorter * row + q];
      }
      butterfly<radix>(re, im);
      for (int64_t k = 0; k < radix; ++k) {
        to_re[k * row + q] = re[k] * root_re[k] - im[k] * root_im[k];
        to_im[k * row + q] = re[k] * root_im[k] + im[k] * root_re[k];
      }
    }
  }
  std::swap(now_, next_);
}

void FourierLines::forward() {
  for (int64_t length = length_, stride = 1; length > 1;) {
    const int64_t radix = length % 3 == 0 ? 3 : length % 4 == 0 ? 4 : 2;
    if (radix == 3) pass<3>(length, stride);
    if (radix == 4) pass<4>(length, stride);
    if (radix == 2) pass<2>(length, stride);
    length /= radix;
    stride *= radix;
  }
}

/// With real and imaginary parts exchanged, before and after, forward is backward.
void FourierLines::backward() {
  std::swap(now_.re, now_.im);
  forward();
  std::swap(now_.re, now_.im);
}

}  // namespace la
