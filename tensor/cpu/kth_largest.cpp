#include "tensor/cpu/kth_largest.h"

#include <algorithm>
#include <bit>

namespace la {
namespace {

// Floats and the integers of the same order: the bits of a float, with the magnitude reversed if negative.
int32_t order_of(float x) {
  const int32_t bits = std::bit_cast<int32_t>(x);
  return bits < 0 ? bits ^ 0x7fffffff : bits;
}
float float_at(int32_t order) { return std::bit_cast<float>(order < 0 ? order ^ 0x7fffffff : order); }

int64_t count_at_least(const float* values, int64_t n, float threshold) {
  int64_t total = 0;
  constexpr int64_t block = 1 << 20;  // its count fits 32 bits, which count twice as fast as 64
  for (int64_t begin = 0; begin < n; begin += block) {
    const int64_t end = std::min(n, begin + block);
    int32_t count = 0;
#pragma omp simd reduction(+ : count)
    for (int64_t i = begin; i < end; ++i) count += values[i] >= threshold ? 1 : 0;
    total += count;
  }
  return total;
}

}  // namespace

// Bisection over the floats between the smallest and the largest value. A round only counts, which a SIMD
// machine does at the speed of its cache, so that even 32 rounds cost less than a partial sort.
Cut kth_largest(const float* values, int64_t n, int64_t k) {
  float smallest = values[0], largest = values[0];
#pragma omp simd reduction(min : smallest) reduction(max : largest)
  for (int64_t i = 0; i < n; ++i) {
    smallest = values[i] < smallest ? values[i] : smallest;
    largest = values[i] > largest ? values[i] : largest;
  }
  int32_t low = order_of(smallest), high = order_of(largest);  // low <= the k-th largest <= high
  while (low < high) {
    const int32_t middle = static_cast<int32_t>((int64_t{low} + high + 1) >> 1);
    const int64_t count = count_at_least(values, n, float_at(middle));
    if (count == k) return {float_at(middle), n};
    if (count > k)
      low = middle;
    else
      high = middle - 1;
  }
  int64_t above = 0;
  const float threshold = float_at(low);
  for (int64_t i = 0; i < n; ++i) above += values[i] > threshold ? 1 : 0;
  return {threshold, k - above};
}

void keep_largest(const float* values, const int32_t* indices, const Cut& cut, int64_t k, float* kept_values,
                  int32_t* kept_indices) {
  int64_t ties = cut.ties, kept = 0;
  for (int64_t i = 0; kept < k; ++i) {
    const float value = values[i];
    kept_values[kept] = value;  // overwritten by the next one unless it is kept: no branch to mispredict
    kept_indices[kept] = indices ? indices[i] : static_cast<int32_t>(i);
    const bool tie = value == cut.threshold;
    kept += (value > cut.threshold) | (tie & (ties > 0));
    ties -= tie;
  }
}

bool has_nan(const float* values, int64_t n) {
  int32_t found = 0;
#pragma omp simd reduction(| : found)
  for (int64_t i = 0; i < n; ++i) found |= values[i] != values[i] ? 1 : 0;
  return found != 0;
}

}  // namespace la
