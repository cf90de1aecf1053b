// Reference loops of random numbers, rows and channels, and matrix products.
#include "tests/reference.h"

#include <algorithm>
#include <numbers>

namespace la {

Array Array::stored(DType as) const {
  Array y = *this;
  y.dtype = as;
  if (as == DType::f32 || as == DType::bf16)
    for (Bounded& x : y.values) x = x.rounded(1, as == DType::f32 ? f32_roundoff : bf16_roundoff);
  return y;
}

namespace reference {

// Where exp(-x) is beyond f32, an implementation may divide by the largest exponential instead.
Bounded sigmoid(const Bounded& x) {
  const Bounded y = Bounded(1) / (Bounded(1) + exp(-x));
  return {y.value, y.error + exp_underflow};
}

Bounded tanh(const Bounded& x) { return Bounded(std::tanh(x.value), x.error).rounded(4); }

namespace {

// 1/2 erfc(-x / sqrt 2), which falls with its argument: its error moves the result between two values.
Bounded normal_cdf(const Bounded& x) {
  const Bounded z = -(x * Bounded(std::numbers::sqrt2 / 2).rounded());
  const double cdf = std::erfc(z.value) / 2;
  const double moved =
      std::max(std::erfc(z.value - z.error) / 2 - cdf, cdf - std::erfc(z.value + z.error) / 2);
  return Bounded(cdf, moved + exp_underflow).rounded(8);
}

}  // namespace

Bounded gelu(const Bounded& x) { return x * normal_cdf(x); }
Bounded gelu_slope(const Bounded& x) {
  const Bounded density = Bounded(1 / std::sqrt(2 * std::numbers::pi)).rounded() * exp(Bounded(-0.5) * x * x);
  return normal_cdf(x) + x * density;
}

PhiloxBlock philox4x32_10(PhiloxBlock counter, uint32_t key_low, uint32_t key_high) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t first = uint64_t{0xD2511F53} * counter.word[0];
    const uint64_t second = uint64_t{0xCD9E8D57} * counter.word[2];
    counter = {
        {static_cast<uint32_t>(second >> 32) ^ counter.word[1] ^ key_low, static_cast<uint32_t>(second),
         static_cast<uint32_t>(first >> 32) ^ counter.word[3] ^ key_high, static_cast<uint32_t>(first)}};
    key_low += 0x9E3779B9;
    key_high += 0xBB67AE85;
  }
  return counter;
}

uint32_t random_bits(const RandomKey& key, int64_t i) {
  const PhiloxBlock counter{{static_cast<uint32_t>(i / 4), static_cast<uint32_t>(key.stream),
                             static_cast<uint32_t>(key.index), static_cast<uint32_t>(key.index >> 32)}};
  return philox4x32_10(counter, static_cast<uint32_t>(key.seed), static_cast<uint32_t>(key.seed >> 32))
      .word[i % 4];
}

Bounded random_uniform(const RandomKey& key, int64_t i) { return (random_bits(key, i) >> 8) * 0x1p-24; }

Bounded random_normal(const RandomKey& key, int64_t i) {
  const Bounded a = random_uniform(key, 2 * i), b = random_uniform(key, 2 * i + 1);
  const Bounded radius = sqrt(Bounded(-2) * log(Bounded(1 - a.value)));  // 1 - a is exact in f32
  constexpr double turn = 2 * std::numbers::pi;
  const Bounded angle = Bounded(turn).rounded() * b;
  const Bounded cosine(std::cos(angle.value), angle.error + 4 * f32_roundoff);
  return radius * cosine;
}

Array sum_rows(const Array& x) {
  Array y({x.columns()});
  for (int64_t c = 0; c < x.columns(); ++c) {
    Sum sum;
    for (int64_t r = 0; r < x.rows(); ++r) sum.add(x.at(r, c));
    y[c] = sum.total();
  }
  return y;
}

Array mean(const Array& x) {
  Sum sum;
  for (const Bounded& value : x.values) sum.add(value);
  Array y({1});
  y[0] = sum.total() / Bounded(static_cast<double>(x.numel()));
  return y;
}

Array scale_channels(const Array& x, const Array& s) {
  const int64_t pixels = x.size(1) * x.size(2);
  Array y(x.shape, x.dtype);
  for (int64_t r = 0; r < x.rows(); ++r)
    for (int64_t c = 0; c < x.columns(); ++c) y.at(r, c) = x.at(r, c) * s.at(r / pixels, c);
  return y;
}

Array sum_product_spatial(const Array& a, const Array& b) {
  const int64_t pixels = a.size(1) * a.size(2);
  Array y({a.size(0), a.size(3)}, a.dtype);
  for (int64_t n = 0; n < a.size(0); ++n)
    for (int64_t c = 0; c < a.size(3); ++c) {
      Sum sum;
      for (int64_t p = 0; p < pixels; ++p) sum.add(a.at(n * pixels + p, c) * b.at(n * pixels + p, c));
      y.at(n, c) = sum.total();
    }
  return y;
}

Arrays l2_normalize(const Array& x) {
  Array y(x.shape), norm({x.rows()});
  for (int64_t r = 0; r < x.rows(); ++r) {
    Sum squares;
    for (int64_t c = 0; c < x.columns(); ++c) squares.add(x.at(r, c) * x.at(r, c));
    norm[r] = sqrt(squares.total());
    for (int64_t c = 0; c < x.columns(); ++c)
      if (norm[r].value != 0) y.at(r, c) = x.at(r, c) / norm[r];
  }
  return {y, norm};
}

Array l2_normalize_backward(const Array& dy, const Array& x) {
  const Arrays forward = l2_normalize(x);
  const Array &y = forward[0], &norm = forward[1];
  Array dx(x.shape);
  for (int64_t r = 0; r < x.rows(); ++r) {
    Sum dot;
    for (int64_t c = 0; c < x.columns(); ++c) dot.add(dy.at(r, c) * y.at(r, c));
    for (int64_t c = 0; c < x.columns(); ++c)
      if (norm[r].value != 0) dx.at(r, c) = (dy.at(r, c) - dot.total() * y.at(r, c)) / norm[r];
  }
  return dx;
}

Array matmul(const Array& a, const Array& b, const MatmulOptions& options, const Array& c) {
  const bool ta = options.transpose_a, tb = options.transpose_b;
  const int64_t rows = a.size(ta ? 1 : 0), depth = a.size(ta ? 0 : 1), columns = b.size(tb ? 0 : 1);
  Array y({rows, columns}, a.dtype);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) {
      Sum sum;
      for (int64_t k = 0; k < depth; ++k)
        sum.add((ta ? a.at(k, i) : a.at(i, k)) * (tb ? b.at(j, k) : b.at(k, j)));
      y.at(i, j) = Bounded(options.alpha) * sum.total();
      if (options.beta != 0) y.at(i, j) = y.at(i, j) + Bounded(options.beta) * c.at(i, j);
    }
  return y;
}

}  // namespace reference
}  // namespace la
