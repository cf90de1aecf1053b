// How many clusters vectors have: as many as come out most alike from either half of them (Lange, Roth, Braun
// and Buhmann, "Stability-based validation of clustering solutions", Neural Computation 2004). Each half is
// clustered by itself; then the vectors of one half are assigned to the clusters of the other, and the two
// divisions compared. Where two clusters share a group, or one has parts of several, each half cuts them in
// another way. And a tree of merges, from which k-means gets first centroids for any number of clusters: those
// that are rows chosen at random often miss a group, and clusters would differ for that reason alone.
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

/// How alike the clusters of a half are to those that the other half predicts for it: own and predicted are
/// the numbers of each vector, in {0, ..., clusters - 1}. It is their adjusted Rand index: 1 if they are the
/// same, 0 if no more than by chance, whatever the number of clusters. 0 too if an own cluster has no vector.
double stability(const std::vector<int32_t>& own, const std::vector<int32_t>& predicted, int64_t clusters);

/// The place of the largest; of those that are less than 0.005 below it, the last. At least one.
size_t choose_number(const std::vector<double>& stabilities);

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
