// Inputs and plain loops that the tests of tables, selection, row losses and k-means share.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "tensor/random.h"
#include "tests/with_threads.h"

namespace la {

inline std::vector<float> random_floats(int64_t n, uint64_t seed) {
  RandomGenerator random({seed, RandomStream::test, 0});
  std::vector<float> x(static_cast<size_t>(n));
  for (float& value : x) value = random.uniform(-1.0f, 1.0f);
  return x;
}

/// Multiples of 1/8 in [-1, 1]: many equal scores.
inline std::vector<float> coarse_floats(int64_t n, uint64_t seed) {
  RandomGenerator random({seed, RandomStream::test, 1});
  std::vector<float> x(static_cast<size_t>(n));
  for (float& value : x) value = (static_cast<float>(random.below(17)) - 8.0f) / 8.0f;
  return x;
}

inline std::vector<int32_t> random_indices(int64_t count, int64_t n, uint64_t seed) {
  RandomGenerator random({seed, RandomStream::test, 2});
  std::vector<int32_t> x(static_cast<size_t>(count));
  for (int32_t& value : x) value = static_cast<int32_t>(random.below(static_cast<uint32_t>(n)));
  return x;
}

inline double plain_dot(const float* a, const float* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

/// A bound on the error of a sum of n products of numbers up to 1 in f32.
inline double dot_error(int64_t n) { return static_cast<double>(n * n) * 0x1p-24; }

/// The k best of `scores`, best first; of equal ones the lower index.
inline std::vector<int32_t> best_first(const std::vector<double>& scores, int64_t k) {
  std::vector<int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return scores[a] > scores[b]; });
  order.resize(static_cast<size_t>(k));
  return order;
}

/// Runs `f` with one thread, a few, and more than any op has parts of a table, and checks that
/// it gives the same.
template <class F>
void check_any_threads(F&& f) {
  const auto run = [&](int threads) {
    const WithThreads scope(threads);
    return f();
  };
  const auto one = run(1);
  for (int threads : {2, 3, 17}) {
    CAPTURE(threads);
    CHECK(run(threads) == one);
  }
}

}  // namespace la
