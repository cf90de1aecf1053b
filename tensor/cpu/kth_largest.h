// Selection of the k largest of an array without sorting it: where to cut, then what to keep.
#pragma once

#include <cstdint>

namespace la {

/// The k largest values are those above `threshold` and the first `ties` of those that equal it.
struct Cut {
  float threshold;
  int64_t ties;
};

/// Where to cut n values without a NaN so that k remain, 1 <= k <= n.
Cut kth_largest(const float* values, int64_t n, int64_t k);

/// Copies the k values that the cut keeps, in their order, and their indices: indices[j], or j if `indices`
/// is null.
void keep_largest(const float* values, const int32_t* indices, const Cut& cut, int64_t k, float* kept_values,
                  int32_t* kept_indices);

bool has_nan(const float* values, int64_t n);

}  // namespace la
