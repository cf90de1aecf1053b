// The clusters of vectors, by k-means (la/kmeans.h) from first centroids that miss no group, and how many
// there are (evaluation/cluster_number.h).
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/progress_callback.h"
#include "tensor/tensor.h"

namespace la {

/// The centroids f32 [m, D] of vectors f32 [N, D]. 1 <= m <= N, else an Error. The same seed gives the same.
Tensor find_clusters(const Tensor& vectors, int64_t m, uint64_t seed, const ProgressCallback& progress = {});

/// A number of clusters that was tried on halves of the vectors.
struct TriedNumber {
  int64_t clusters = 0;
  double mean_square = 0;  // distance of a vector to its centroid, squared
  double stability = 0;    // the mean of all halves
};

/// How the numbers are tried: so many times on two random halves, each at most so large.
constexpr int halvings = 3;
constexpr int64_t most_in_half = 16'384;

/// Each number from 2 to `most`, or to a quarter of the vectors where they are fewer; none of less than 8.
std::vector<TriedNumber> try_numbers(const Tensor& vectors, int64_t most, uint64_t seed,
                                     const ProgressCallback& progress = {});

}  // namespace la
