// k-means clustering (Lloyd 1982) of the memory bank: the clusters that a picture is in, over several
// clusterings from different seeds, define its close neighbors C_i. It lowers the inertia
//   sum_i || v-bar_i - c_{label(i)} ||^2
// by turns: each vector gets the label of the nearest centroid, then each centroid becomes the mean of its
// vectors. Every vector takes part; nothing is subsampled.
#pragma once

#include "tensor/progress_callback.h"
#include "tensor/random.h"
#include "tensor/shards.h"

namespace la {

struct KMeansOptions {
  int64_t clusters = 600;  // m
  int iterations = 20;
  bool spherical = false;  // centroids are put back on the unit sphere
  RandomKey key = {.stream = RandomStream::clustering};
};

struct KMeansResult {
  Tensor labels;                    // i32 [N], in {0, ..., m - 1}; of this process's vectors
  Tensor centroids;                 // f32 [m, D]
  std::vector<int32_t> sizes = {};  // [m]: of all vectors
  double inertia = 0;               // sum of the squared distances to the own centroid
  int64_t splits = 0;               // how often an empty cluster was refilled by splitting the largest
  int64_t empty = 0;                // clusters that are empty in the end
  double imbalance = 1;             // m * sum of (size / N)^2: 1 if all clusters have the same size
};

/// Clusters the rows of x [N, D], starting from m different rows chosen at random. The same key gives the
/// same labels, whatever the number of threads, and of processes for as many shards. `progress` is told after each
/// iteration.
KMeansResult kmeans(const ShardedRows& x, const KMeansOptions& options,
                    const ProgressCallback& progress = {});
/// The same from these first centroids, f32 [m, D].
KMeansResult kmeans(const ShardedRows& x, const Tensor& first_centroids, const KMeansOptions& options,
                    const ProgressCallback& progress = {});

}  // namespace la
