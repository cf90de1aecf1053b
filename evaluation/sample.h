// A sample of things that are too many to look at all of them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace la {

/// The numbers of at most `most` of n things, evenly spread: floor(i n / count).
inline std::vector<int32_t> evenly_spread(int64_t n, int64_t most) {
  std::vector<int32_t> numbers(static_cast<size_t>(std::min(n, most)));
  const auto count = static_cast<int64_t>(numbers.size());
  for (int64_t i = 0; i < count; ++i) numbers[static_cast<size_t>(i)] = static_cast<int32_t>(i * n / count);
  return numbers;
}

}  // namespace la
