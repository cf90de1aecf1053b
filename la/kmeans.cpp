#include "la/kmeans.h"

#include <algorithm>
#include <numeric>

#include "tensor/ops.h"

namespace la {
namespace {

/// `count` different numbers below n, by a partial Fisher-Yates shuffle.
std::vector<int32_t> choose_distinct(int64_t n, int64_t count, const RandomKey& key) {
  std::vector<int32_t> numbers(static_cast<size_t>(n));
  std::iota(numbers.begin(), numbers.end(), 0);
  RandomGenerator random(key);
  for (int64_t i = 0; i < count; ++i)
    std::swap(numbers[i], numbers[i + random.below(static_cast<uint32_t>(n - i))]);
  numbers.resize(static_cast<size_t>(count));
  return numbers;
}

/// Gives each empty cluster a place beside the centroid of the largest one, whose members the two then share.
/// Returns how many there were.
int64_t split_largest(const Tensor& centroids, std::vector<int32_t> counts, const RandomKey& key) {
  std::vector<int32_t> empty, donors;
  for (size_t c = 0; c < counts.size(); ++c) {
    if (counts[c] > 0) continue;
    const auto largest = std::max_element(counts.begin(), counts.end());
    empty.push_back(static_cast<int32_t>(c));
    donors.push_back(static_cast<int32_t>(largest - counts.begin()));
    counts[c] = *largest / 2;
    *largest -= counts[c];
  }
  if (empty.empty()) return 0;

  constexpr float offset = 1e-3f;  // small beside the distances between pictures, large beside rounding
  const auto n = static_cast<int64_t>(empty.size());
  const Device device = centroids.device();
  const Tensor donor_centroids = ops::gather_rows(centroids, Tensor::from(donors, {n}, device));
  const Tensor noise = ops::random_normal(donor_centroids.shape(), key, device);
  ops::scatter_rows(centroids, Tensor::from(empty, {n}, device),
                    ops::add(donor_centroids, ops::scale(noise, offset)));
  return n;
}

double imbalance_of(const std::vector<int32_t>& counts, int64_t n) {
  double sum = 0;
  for (int32_t count : counts) sum += static_cast<double>(count) * count;
  return static_cast<double>(counts.size()) * sum / (static_cast<double>(n) * static_cast<double>(n));
}

}  // namespace

KMeansResult kmeans(const Tensor& x, const KMeansOptions& options, const ProgressCallback& progress) {
  const int64_t n = x.size(0), m = options.clusters;
  check(m >= 1 && m <= n, "k-means: {} clusters of {} vectors; expected 1 to {}", m, n, n);
  check(options.iterations >= 1, "k-means: expected at least 1 iteration, got {}", options.iterations);

  KMeansResult result;
  result.centroids = ops::gather_rows(x, Tensor::from(choose_distinct(n, m, options.key), {m}, x.device()));
  RandomKey split_key = options.key;
  split_key.seed ^= 0x9E3779B97F4A7C15ull;  // a sequence of its own beside that of the first centroids
  for (int iteration = 0; iteration < options.iterations; ++iteration) {
    const Assignment assignment = ops::nearest_centroid(x, result.centroids);
    const ClusterMeans clusters = ops::mean_by_label(x, assignment.labels, m);
    result.centroids = options.spherical ? ops::l2_normalize(clusters.means).y : clusters.means;
    result.splits += split_largest(result.centroids, clusters.counts.to_vector<int32_t>(), split_key);
    split_key.seed += 1;
    if (progress) progress("k-means iterations", iteration + 1, options.iterations);
  }

  const Assignment assignment = ops::nearest_centroid(x, result.centroids);
  const std::vector<int32_t> counts = ops::mean_by_label(x, assignment.labels, m).counts.to_vector<int32_t>();
  result.labels = assignment.labels;
  result.inertia = static_cast<double>(ops::mean(assignment.distances).item()) * static_cast<double>(n);
  result.empty = std::count(counts.begin(), counts.end(), 0);
  result.imbalance = imbalance_of(counts, n);
  return result;
}

}  // namespace la
