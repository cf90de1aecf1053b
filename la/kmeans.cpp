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
  const Tensor donor_centroids = ops::gather_rows(centroids, donors);
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

/// Each vector's nearest centroid, and the mean of the vectors of each: what every process knows of its own, added up.
struct Step {
  std::vector<Assignment> assignments;  // of the shards of this process
  std::vector<int32_t> counts;          // of all vectors, [m]
};

Step assign(const ShardedRows& x, const Tensor& centroids) {
  Step step;
  const int64_t m = centroids.size(0);
  const Tensor counts = Tensor::zeros({m}, DType::i32);
  for (int64_t p = 0; p < x.shards.own(); ++p) {
    step.assignments.push_back(ops::nearest_centroid(x.part(p), centroids));
    const std::vector<int32_t> of_part =
        ops::count_labels(step.assignments.back().labels, m).to_vector<int32_t>();
    for (int64_t c = 0; c < m; ++c) counts.data<int32_t>()[c] += of_part[static_cast<size_t>(c)];
  }
  x.shards.ranks().all_reduce("sizes of clusters", counts, Reduction::sum);
  step.counts = counts.to_vector<int32_t>();
  return step;
}

/// The means of the clusters, f32 [m, D]; that of no vectors is 0.
Tensor means(const ShardedRows& x, const Step& step) {
  const auto m = std::ssize(step.counts);
  std::vector<Tensor> sums;
  for (int64_t p = 0; p < x.shards.own(); ++p)
    sums.push_back(ops::sum_by_label(x.part(p), step.assignments[static_cast<size_t>(p)].labels, m));
  const Tensor sum = x.shards.sum("sums of clusters", sums);
  std::vector<float> divisors;
  for (const int32_t count : step.counts) divisors.push_back(static_cast<float>(std::max(count, 1)));
  return ops::divide(sum, ops::broadcast(Tensor::from(divisors, {m}, x.own.device()), 1, x.own.size(1)));
}

double inertia_of(const ShardedRows& x, const Step& step) {
  std::vector<Tensor> sums;
  for (const Assignment& a : step.assignments)
    sums.push_back(a.distances.numel() == 0 ? Tensor::zeros({1}) : ops::sum(a.distances).to(Device::cpu()));
  return x.shards.sum("inertia", sums).item();
}

}  // namespace

KMeansResult kmeans(const ShardedRows& x, const KMeansOptions& options, const ProgressCallback& progress) {
  const int64_t n = x.n, m = options.clusters;
  check(m >= 1 && m <= n, "k-means: {} clusters of {} vectors; expected 1 to {}", m, n, n);
  return kmeans(x, x.gather("first centroids", choose_distinct(n, m, options.key)), options, progress);
}

KMeansResult kmeans(const ShardedRows& x, const Tensor& first_centroids, const KMeansOptions& options,
                    const ProgressCallback& progress) {
  const Shape expected{options.clusters, x.own.size(1)};
  check(first_centroids.shape() == expected, "k-means: first centroids of shape {}, expected {}",
        first_centroids.shape(), expected);
  check(options.iterations >= 1, "k-means: expected at least 1 iteration, got {}", options.iterations);

  KMeansResult result;
  result.centroids = first_centroids;
  RandomKey split_key = options.key;
  split_key.seed ^= 0x9E3779B97F4A7C15ull;  // a sequence of its own beside that of the first centroids
  for (int iteration = 0; iteration < options.iterations; ++iteration) {
    const Step step = assign(x, result.centroids);
    const Tensor centroids = means(x, step);
    result.centroids = options.spherical ? ops::l2_normalize(centroids).y : centroids;
    result.splits += split_largest(result.centroids, step.counts, split_key);
    split_key.seed += 1;
    if (progress) progress("k-means iterations", iteration + 1, options.iterations);
  }

  const Step last = assign(x, result.centroids);
  std::vector<Tensor> labels;
  for (const Assignment& a : last.assignments) labels.push_back(a.labels);
  result.labels = labels.size() == 1 ? labels[0] : ops::concatenate(labels, 0);
  result.inertia = inertia_of(x, last);
  result.sizes = last.counts;
  result.empty = std::count(last.counts.begin(), last.counts.end(), 0);
  result.imbalance = imbalance_of(last.counts, x.n);
  return result;
}

}  // namespace la
