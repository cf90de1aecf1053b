#include "apps/find_clusters.h"

#include <algorithm>

#include "evaluation/cluster_number.h"
#include "la/kmeans.h"
#include "tensor/ops.h"

namespace la {
namespace {

RandomKey clustering_key(uint64_t seed, uint64_t index) { return {seed, RandomStream::clustering, index}; }

/// From more clusters than are wanted in the end, so many that random rows miss no group.
MergeTree merge_tree(const Tensor& vectors, int64_t fine, const RandomKey& key,
                     const ProgressCallback& progress = {}) {
  constexpr int iterations = 10;
  const KMeansResult result =
      kmeans(vectors, {.clusters = fine, .iterations = iterations, .key = key}, progress);
  return MergeTree(result.centroids, ops::count_labels(result.labels, fine).to_vector<int32_t>());
}

int64_t fine_clusters(int64_t vectors, int64_t m) {
  constexpr int64_t times = 4, least = 256;
  return std::min(vectors, std::max(least, times * m));
}

/// There may be fewer different vectors than clusters: then it begins with fewer, and k-means splits them.
Tensor first_centroids(const MergeTree& tree, int64_t m, Device device) {
  const Tensor means = tree.means(std::min(m, tree.leaves()));
  std::vector<int32_t> rows;
  for (int64_t c = 0; c < m; ++c) rows.push_back(static_cast<int32_t>(c % means.size(0)));
  return ops::gather_rows(means, rows).to(device);
}

/// One half of the vectors, to be clustered with any number.
struct Half {
  Tensor vectors;
  MergeTree tree;

  Half(const Tensor& all, const std::vector<int32_t>& rows, int64_t most, const RandomKey& key)
      : vectors(ops::gather_rows(all, rows)),
        tree(merge_tree(vectors, fine_clusters(vectors.size(0), most), key)) {}

  KMeansResult clusters(int64_t m) const {
    constexpr int iterations = 10;
    return kmeans(vectors, first_centroids(tree, m, vectors.device()),
                  {.clusters = m, .iterations = iterations});
  }
};

double stability_of(const Half& half, const KMeansResult& own, const KMeansResult& other) {
  const Tensor predicted = ops::nearest_centroid(half.vectors, other.centroids).labels;
  return stability(own.labels.to_vector<int32_t>(), predicted.to_vector<int32_t>(), own.centroids.size(0));
}

}  // namespace

Tensor find_clusters(const Tensor& vectors, int64_t m, uint64_t seed, const ProgressCallback& progress) {
  const int64_t n = vectors.size(0);
  check(m >= 1 && m <= n, "{} clusters of {} vectors; expected 1 to {}", m, n, n);
  const RandomKey key = clustering_key(seed, 0);
  const KMeansOptions options{.clusters = m, .key = key};
  constexpr int64_t most_merged = 1024;  // work and memory of merging grow with the square
  if (m > most_merged) return kmeans(vectors, options, progress).centroids;
  const MergeTree tree = merge_tree(vectors, fine_clusters(n, m), key, progress);
  return kmeans(vectors, first_centroids(tree, m, vectors.device()), options, progress).centroids;
}

std::vector<TriedNumber> try_numbers(const Tensor& vectors, int64_t most, uint64_t seed,
                                     const ProgressCallback& progress) {
  const int64_t n = vectors.size(0), largest = std::min(most, n / 4);
  std::vector<TriedNumber> tried;
  for (int64_t m = 2; m <= largest; ++m) tried.push_back({.clusters = m});
  if (tried.empty()) return tried;
  int64_t step = 0;
  const int64_t steps = halvings * std::ssize(tried);
  for (int halving = 0; halving < halvings; ++halving) {
    const auto index = static_cast<uint64_t>(halving);
    const Halves rows = random_halves(n, most_in_half, {seed, RandomStream::split, index});
    const Half first(vectors, rows.first, largest, clustering_key(seed, 2 * index)),
        second(vectors, rows.second, largest, clustering_key(seed, 2 * index + 1));
    for (TriedNumber& number : tried) {
      const KMeansResult a = first.clusters(number.clusters), b = second.clusters(number.clusters);
      number.mean_square +=
          (a.inertia + b.inertia) / static_cast<double>(2 * halvings * std::ssize(rows.first));
      number.stability += (stability_of(first, a, b) + stability_of(second, b, a)) / (2 * halvings);
      ++step;
      if (progress) progress("numbers of clusters tried", step, steps);
    }
  }
  return tried;
}

}  // namespace la
