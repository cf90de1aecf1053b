// The vectors of each of some clusters, and how typical of it each is: the nearer to the centroid, the more.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/tensor.h"

namespace la {

struct ClusterMembers {
  std::vector<int32_t> labels;                // of each vector, in {0, ..., m - 1}: the nearest centroid
  std::vector<double> distances;              // of each vector: |v - c|, Euclidean
  std::vector<int64_t> ranks;                 // of each vector within its cluster; 1: the most typical
  std::vector<std::vector<int32_t>> members;  // of each cluster, the most typical first

  /// Of the vectors of a cluster that has some.
  double mean_distance(int64_t cluster) const;
};

/// vectors: f32 [N, D]; centroids: f32 [m, D]. Of equal distances the lower number comes first.
ClusterMembers members_of(const Tensor& vectors, const Tensor& centroids);

/// The centroids in the order of the sizes of their clusters, the largest first.
Tensor largest_first(const Tensor& centroids, const ClusterMembers& clusters);

}  // namespace la
