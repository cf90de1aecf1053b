// How many clusters vectors have: as many as come out alike from either half of them. That is their prediction
// strength (Tibshirani and Walther, "Cluster validation by prediction strength", Journal of Computational and
// Graphical Statistics 2005): each half is clustered by itself; then the vectors of one half are assigned to
// the clusters of the other, which should keep together what is together in their own. Where there is one
// group for two clusters, each half divides it in another way. And a tree of merges, from which k-means gets
// first centroids for any number of clusters: those that are rows chosen at random often miss a group, and
// clusters would differ for that reason alone.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/random.h"
#include "tensor/tensor.h"

namespace la {

/// Rows of two parts without a common one, chosen at random, of the same size: half of n, but at most `most`.
struct Halves {
  std::vector<int32_t> first, second;
};
Halves random_halves(int64_t n, int64_t most, const RandomKey& key);

/// own: the cluster in {0, ..., clusters - 1} of each vector of a half; predicted: its cluster by the other
/// half. Of each own cluster, the share of pairs of its vectors that the prediction keeps together; of these
/// the least. A cluster of fewer than two vectors, which nothing confirms, has 0.
double prediction_strength(const std::vector<int32_t>& own, const std::vector<int32_t>& predicted,
                           int64_t clusters);

/// The article's threshold: of clusters that overlap little, and not of others, strengths are above it.
constexpr double strong = 0.8;

/// strengths: of numbers of clusters that grow. The place of the largest that is strong; where none is, that
/// of the strongest. At least one.
size_t choose_number(const std::vector<double>& strengths);

/// Merges clusters, two by two, so that the inertia grows least each time (Ward, "Hierarchical grouping to
/// optimize an objective function", Journal of the American Statistical Association 1963): merging those of
/// n_i and n_j vectors with means c_i and c_j adds
///   n_i n_j / (n_i + n_j) | c_i - c_j |^2.
class MergeTree {
 public:
  /// means: f32 [F, D] on any device; counts: how many vectors each is of. Those of none are left out.
  MergeTree(const Tensor& means, const std::vector<int32_t>& counts);

  /// How many clusters there are before any are merged.
  int64_t leaves() const { return static_cast<int64_t>(rows_.size()); }
  /// The means of the vectors of each of m clusters, f32 [m, D] in host memory; 1 <= m <= leaves().
  Tensor means(int64_t m) const;

 private:
  struct Merge {
    double cost;
    int32_t into, from;  // places in rows_: clusters that have these leaves
  };

  std::vector<std::vector<float>> rows_;
  std::vector<double> counts_;
  std::vector<Merge> merges_;  // leaves() - 1 of them, from the cheapest
};

}  // namespace la
