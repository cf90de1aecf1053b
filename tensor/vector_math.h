// Arithmetic on whole SIMD registers: a vector type for the kernels that name their registers, and an
// exponential and a logarithm without branches, which the compiler vectorizes inside a simple loop.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <utility>

namespace la {

#ifdef __AVX512F__
constexpr int simd_lanes = 16;  // floats in a register
#elif defined(__AVX__)
constexpr int simd_lanes = 8;
#else
constexpr int simd_lanes = 4;
#endif

// GCC's vector types: arithmetic, comparisons and ?: act lane by lane.
typedef float Floats __attribute__((vector_size(simd_lanes * sizeof(float))));
typedef int32_t Ints __attribute__((vector_size(simd_lanes * sizeof(int32_t))));

inline Floats load(const float* p) {
  Floats x;
  std::memcpy(&x, p, sizeof x);
  return x;
}
inline void store(float* p, Floats x) { std::memcpy(p, &x, sizeof x); }

/// Asks for `bytes` bytes from p + offset, so that they come from memory while something else is computed. It
/// does no harm if they lie outside the array.
inline void prefetch(const float* p, int64_t offset, int64_t bytes) {
  const char* from = reinterpret_cast<const char*>(p) + offset;
  for (int64_t b = 0; b < bytes; b += 64) __builtin_prefetch(from + b, 0, 2);
}

/// The lanes of x followed by those of y, number of(i) at place i.
template <int... i, class F>
inline Floats shuffled(const Floats& x, const Floats& y, std::integer_sequence<int, i...>, F of) {
  return __builtin_shufflevector(x, y, of(i)...);
}
template <class F>
inline Floats shuffled(const Floats& x, const Floats& y, F of) {
  return shuffled(x, y, std::make_integer_sequence<int, simd_lanes>(), of);
}

/// Adds to each lane the lane at that distance.
template <int distance>
inline Floats add_lanes_at(Floats x) {
  return x + shuffled(x, x, [](int i) { return i ^ distance; });
}

/// The sum of all lanes.
inline float sum_lanes(Floats x) {
  if constexpr (simd_lanes > 8) x = add_lanes_at<8>(x);
  if constexpr (simd_lanes > 4) x = add_lanes_at<4>(x);
  return add_lanes_at<1>(add_lanes_at<2>(x))[0];
}

/// a . b. The order of the sum depends on n alone.
inline float dot(const float* a, const float* b, int64_t n) {
  Floats lanes{};
  int64_t i = 0;
  for (; i + simd_lanes <= n; i += simd_lanes) lanes += load(a + i) * load(b + i);
  float sum = sum_lanes(lanes);
  for (; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

/// exp(x) within 2 units in the last place for x in [-87, 88]; beyond them, the value at the border. NaN
/// stays NaN. exp(x) = 2^n exp(r), n = round(x / ln 2), |r| <= ln 2 / 2, where Taylor's polynomial of degree
/// 7 has a relative error below 8e-9.
inline float simd_exp(float x) {
  x = x < -87.0f ? -87.0f : x;
  x = x > 88.0f ? 88.0f : x;
  constexpr float shifter =
      0x1.8p23f;  // adding it rounds to an integer, left in the low bits of the fraction
  const float shifted = x * 1.44269504f + shifter;
  const float n = shifted - shifter;
  const float r =
      (x - n * 0x1.62e4p-1f) - n * 0x1.7f7d1cp-20f;  // ln 2 in two parts; n times the first is exact
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const uint32_t power = (std::bit_cast<uint32_t>(shifted) << 23) + 0x3f800000u;  // the bits of 2^n
  return p * std::bit_cast<float>(power);
}

/// log(1 + x) for x in [0, 1], also accurate relative to a tiny x.
/// log(1 + x) = 2 atanh(z) = 2 (z + z^3 / 3 + z^5 / 5 + ...), z = x / (2 + x) <= 1/3; the terms left out are
/// below 2e-8 of the sum.
inline float simd_log1p(float x) {
  const float z = x / (2.0f + x), w = z * z;
  float p = 1.0f / 13;
  p = p * w + 1.0f / 11;
  p = p * w + 1.0f / 9;
  p = p * w + 1.0f / 7;
  p = p * w + 1.0f / 5;
  p = p * w + 1.0f / 3;
  p = p * w + 1.0f;
  return 2.0f * z * p;
}

}  // namespace la
