// Convolutions of the sizes that networks have, too many numbers for the plain loops of the op cases: some of
// the results, taken at random, against their sums in double precision.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "tensor/ops.h"
#include "tests/op_case.h"
#include "tests/with_threads.h"

using namespace la;

namespace {

struct Case {
  Shape x, weight;
  ConvGeometry geometry;
};

/// Calls f(n, p, q, i, j, h, w): output (p, q) of picture n is made of the products of tap (i, j) with pixel
/// (h, w).
template <class F>
void for_each_product(const Case& c, const Shape& y, F f) {
  for (int64_t n = 0; n < y[0]; ++n)
    for (int64_t p = 0; p < y[1]; ++p)
      for (int64_t q = 0; q < y[2]; ++q)
        for (int64_t i = 0; i < c.weight[1]; ++i)
          for (int64_t j = 0; j < c.weight[2]; ++j) {
            const int64_t h = p * c.geometry.stride + i * c.geometry.dilation - c.geometry.padding;
            const int64_t w = q * c.geometry.stride + j * c.geometry.dilation - c.geometry.padding;
            if (h >= 0 && h < c.x[1] && w >= 0 && w < c.x[2]) f(n, p, q, i, j, h, w);
          }
}

/// Numbers of a tensor by their place.
class Numbers {
 public:
  explicit Numbers(const Tensor& x)
      : shape_(x.shape()), values_(ops::cast(x, DType::f32).to_vector<float>()) {}
  double at(int64_t a, int64_t b, int64_t c, int64_t d) const {
    return values_[static_cast<size_t>(((a * shape_[1] + b) * shape_[2] + c) * shape_[3] + d)];
  }

 private:
  Shape shape_;
  std::vector<float> values_;
};

constexpr int samples = 24;

struct Results {
  Tensor y, dx, dweight;
};

Results run(const Case& c, const Tensor& x, const Tensor& weight, const Tensor& dy) {
  return {ops::conv2d(x, weight, c.geometry), ops::conv2d_backward_data(dy, weight, c.x, c.geometry),
          ops::conv2d_backward_weight(dy, x, c.weight, c.geometry)};
}

/// Sums of hundreds of terms leave room, in their bound for any order, for the transforms of
/// Winograd's algorithm.
void check_number(double got, const Sum& sum, DType stored) {
  Bounded expected = sum.total();
  if (stored == DType::bf16) expected = expected.rounded(1, bf16_roundoff);
  CHECK(std::abs(got - expected.value) <= expected.error);
}

void check_samples(const Case& c, DType dtype, Device device) {
  const auto random = [&](const Shape& shape, uint64_t seed) {
    return ops::cast(ops::random_normal(shape, {.seed = seed}, device), dtype);
  };
  const Tensor x = random(c.x, 1), weight = random(c.weight, 2);
  const Shape y_shape = ops::conv2d(x, weight, c.geometry).shape();
  const Tensor dy = random(y_shape, 3);
  const Results results = run(c, x, weight, dy);
  const Numbers y(results.y), dx(results.dx), dweight(results.dweight), a(x), b(weight), g(dy);

  RandomGenerator stream({.seed = 4});
  const auto below = [&](int64_t n) { return static_cast<int64_t>(stream.below(static_cast<uint32_t>(n))); };
  for (int sample = 0; sample < samples; ++sample) {
    const int64_t out = below(c.weight[0]), in = below(c.weight[3]), image = below(c.x[0]);
    const int64_t row = below(y_shape[1]), column = below(y_shape[2]);
    const int64_t from_row = below(c.x[1]), from_column = below(c.x[2]);
    const int64_t tap_row = below(c.weight[1]), tap_column = below(c.weight[2]);
    Sum forward, data, window;
    for_each_product(c, y_shape,
                     [&](int64_t n, int64_t p, int64_t q, int64_t i, int64_t j, int64_t h, int64_t w) {
                       if (n == image && p == row && q == column)
                         for (int64_t k = 0; k < c.weight[3]; ++k)
                           forward.add(a.at(n, h, w, k) * b.at(out, i, j, k));
                       if (n == image && h == from_row && w == from_column)
                         for (int64_t k = 0; k < c.weight[0]; ++k)
                           data.add(g.at(n, p, q, k) * b.at(k, i, j, in));
                       if (i == tap_row && j == tap_column)
                         window.add(g.at(n, p, q, out) * a.at(n, h, w, in));
                     });
    check_number(y.at(image, row, column, out), forward, dtype);
    check_number(dx.at(image, from_row, from_column, in), data, dtype);
    // cuDNN rounds gradients of the type of its operands once.
    check_number(dweight.at(out, tap_row, tap_column, in), window, device.is_cpu() ? DType::f32 : dtype);
  }
}

const Case cases[] = {
    {{3, 96, 109, 64}, {64, 3, 3, 64}, {.padding = 1}},  // more tiles than a cache holds
    {{2, 31, 45, 80}, {48, 3, 3, 80}, {}},               // channels that fill no panel
    {{2, 30, 30, 64}, {512, 3, 3, 64}, {.padding = 2}},  // several batches of tiles for the weights
    {{5, 9, 9, 512}, {64, 3, 3, 512}, {.padding = 1}},   // few tiles, many channels
    {{4, 28, 28, 64}, {128, 3, 3, 64}, {.stride = 2, .padding = 1}},
    {{4, 28, 28, 64}, {256, 1, 1, 64}, {}},
};

}  // namespace

TEST_SUITE_BEGIN("devices");

TEST_CASE("large convolutions are the sums of their products") {
  for (Device device : available_devices())
    for (const Case& c : cases)
      for (DType dtype : {DType::f32, DType::bf16}) {
        CAPTURE(c.x);
        CAPTURE(c.weight);
        check_samples(c, dtype, device);
      }
}

TEST_CASE("Winograd's convolutions have the same bits for any number of threads") {
  for (const Case& c : cases) {
    if (c.weight[1] != 3 || c.geometry.stride != 1) continue;  // the vendor's kernels promise nothing
    const Tensor x = ops::random_normal(c.x, {.seed = 1}), weight = ops::random_normal(c.weight, {.seed = 2});
    const Tensor dy = ops::random_normal(ops::conv2d(x, weight, c.geometry).shape(), {.seed = 3});
    const auto with = [&](int threads) {
      const WithThreads scope(threads);
      return run(c, x, weight, dy);
    };
    const Results one = with(1);
    for (int threads : {2, 3, 7}) {
      const Results other = with(threads);
      CAPTURE(c.x);
      CAPTURE(threads);
      CHECK(other.y.to_vector<float>() == one.y.to_vector<float>());
      CHECK(other.dx.to_vector<float>() == one.dx.to_vector<float>());
      CHECK(other.dweight.to_vector<float>() == one.dweight.to_vector<float>());
    }
  }
}

TEST_CASE("a NaN shows in all that a convolution makes of it") {
  for (Device device : available_devices()) {
    const Case& c = cases[0];
    std::vector<float> values(static_cast<size_t>(c.x.numel()), 1.0f);
    constexpr int64_t row = 50, column = 70;
    values[static_cast<size_t>((row * c.x[2] + column) * c.x[3])] = std::numeric_limits<float>::quiet_NaN();
    const Numbers y(ops::conv2d(Tensor::from(values, c.x, device),
                                Tensor::full(c.weight, 1.0f, DType::f32, device), c.geometry));
    for (int64_t i = -1; i <= 1; ++i)
      for (int64_t j = -1; j <= 1; ++j)
        for (int64_t o = 0; o < c.weight[0]; ++o) CHECK(std::isnan(y.at(0, row + i, column + j, o)));
  }
}

TEST_SUITE_END();
