// The health of embeddings while they are learnt: figures that need no labels and show a collapse, in which pictures come to
// lie at one point, in few directions, or in one cluster, and nothing more is learnt.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/shards.h"

namespace la {

/// How vectors v_1, ..., v_N lie in space.
struct Spread {
  /// In how many directions they extend (RankMe: Garrido, Balestriero, Najman, LeCun 2023, equation (1)): exp(-sum_k p_k log p_k),
  /// where p_k = sigma_k / sum_j sigma_j and sigma_k are the singular values of the matrix [N, D] of the vectors. From 1, where
  /// all of them are on one line, to D, where they extend in all directions alike. It is 0 if all vectors are 0.
  double effective_rank = 0;
  /// Of v_i . v_j over all pairs i != j: (|sum_i v_i|^2 - sum_i |v_i|^2) / (N (N - 1)). 0 for a single vector.
  double mean_similarity = 0;
};

/// Of at most so many vectors, evenly spread, which are enough for any D that is used (the article takes 25,600).
constexpr int64_t most_spread_vectors = 65536;
/// vectors: f32 [N, D]. All processes make the call, and have the same result, to the last bit whatever their number.
Spread spread_of(const ShardedRows& vectors);

/// The sizes of clusters, over all clusterings.
struct ClusterSizes {
  /// -sum_c p_c log p_c / log m, where p_c is the share of a cluster c of m; the mean over the clusterings. 1 where all clusters
  /// are of one size, 0 where one of several has everything.
  double entropy = 1;
  int64_t smallest = 0, median = 0, largest = 0;  // of an even number, the lower of the two in the middle
};
/// sizes: of each clustering, those of its clusters, one cluster at least.
ClusterSizes cluster_sizes(const std::vector<std::vector<int32_t>>& sizes);

/// A unit vector has moved if its similarity to what it was, v . v', is below this: the angle is more than 26 degrees.
constexpr double moved_similarity = 0.9;
/// The share of vectors that have moved; f32 [N, D] both.
double moved_share(const Tensor& before, const Tensor& now);

}  // namespace la
