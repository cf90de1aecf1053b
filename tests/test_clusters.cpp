// Clusters of vectors: how they are found, how many there are, and which vectors are typical of them.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "apps/find_clusters.h"
#include "evaluation/cluster_agreement.h"
#include "evaluation/cluster_members.h"
#include "evaluation/cluster_number.h"
#include "tensor/ops.h"

namespace la {
namespace {

Tensor column(const std::vector<float>& values) { return Tensor::from(values, {std::ssize(values), 1}); }

/// Groups around different corners of the sphere, far apart beside their extent, one after the other in turn.
struct Blobs {
  Tensor vectors;
  std::vector<int32_t> groups;

  Blobs(int64_t count, int64_t each, int64_t dim, uint64_t seed) {
    constexpr float extent = 0.03f;  // of each coordinate; centers are sqrt(2) apart
    std::vector<float> values = ops::random_normal({count * each, dim}, {.seed = seed}).to_vector<float>();
    for (size_t i = 0; i < values.size(); ++i) {
      const auto row = static_cast<int64_t>(i) / dim, place = static_cast<int64_t>(i) % dim;
      values[i] = extent * values[i] + (row % count == place ? 1.0f : 0.0f);
      if (place == 0) groups.push_back(static_cast<int32_t>(row % count));
    }
    vectors = ops::l2_normalize(Tensor::from(values, {count * each, dim})).y;
  }
};

/// Ward's merges one after the other, each the cheapest of all pairs.
std::vector<std::vector<double>> merged_plainly(std::vector<std::vector<double>> means,
                                                std::vector<double> counts, size_t m) {
  while (means.size() > m) {
    double least = 1e30;
    size_t a = 0, b = 0;
    for (size_t i = 0; i < means.size(); ++i)
      for (size_t j = i + 1; j < means.size(); ++j) {
        double square = 0;
        for (size_t d = 0; d < means[i].size(); ++d) square += std::pow(means[i][d] - means[j][d], 2);
        const double cost = counts[i] * counts[j] / (counts[i] + counts[j]) * square;
        if (cost >= least) continue;
        least = cost;
        a = i;
        b = j;
      }
    for (size_t d = 0; d < means[a].size(); ++d)
      means[a][d] = (counts[a] * means[a][d] + counts[b] * means[b][d]) / (counts[a] + counts[b]);
    counts[a] += counts[b];
    means.erase(means.begin() + static_cast<std::ptrdiff_t>(b));
    counts.erase(counts.begin() + static_cast<std::ptrdiff_t>(b));
  }
  return means;
}

}  // namespace

TEST_CASE("stability: how alike clusters are to those predicted") {
  CHECK(stability({0, 0, 1, 1}, {5, 5, 2, 2}, 2) == 1);
  // Together in both are 1 of 15 pairs; in the first 3, in the second 4: by chance 12/15, at most 3.5.
  CHECK(stability({0, 0, 1, 1, 2, 2}, {0, 0, 0, 1, 1, 2}, 3) == doctest::Approx((1 - 0.8) / (3.5 - 0.8)));
  CHECK(stability({0, 0, 1, 1}, {0, 0, 1, 1}, 3) == 0);  // a cluster without a vector
  CHECK_THROWS_AS(stability({0}, {0, 0}, 1), Error);

  CHECK(choose_number({0.9, 0.5, 0.8}) == 0);
  CHECK(choose_number({0.9, 0.5, 0.896, 0.894}) == 2);  // about as stable, and more
  CHECK(choose_number({0.0}) == 0);
  CHECK_THROWS_AS(choose_number({}), Error);
}

TEST_CASE("halves are of different rows, and no larger than wanted") {
  for (const auto& [n, most, size] : {std::array<int64_t, 3>{101, 1000, 50}, {100, 30, 30}, {1, 10, 0}}) {
    const Halves halves = random_halves(n, most, {.seed = 3});
    CHECK(std::ssize(halves.first) == size);
    CHECK(std::ssize(halves.second) == size);
    std::set<int32_t> all(halves.first.begin(), halves.first.end());
    all.insert(halves.second.begin(), halves.second.end());
    CHECK(std::ssize(all) == 2 * size);
    CHECK((all.empty() || (*all.begin() >= 0 && *all.rbegin() < n)));
  }
  CHECK(random_halves(50, 50, {.seed = 1}).first != random_halves(50, 50, {.seed = 2}).first);
}

TEST_CASE("a merge tree merges what adds least to the inertia") {
  const MergeTree line(column({0, 7, 1, 10, 11, 100}), {1, 0, 1, 1, 1, 1});
  CHECK(line.leaves() == 5);  // nothing is at 7
  const auto means = [&](int64_t m) {
    std::vector<float> values = line.means(m).to_vector<float>();
    std::sort(values.begin(), values.end());
    return values;
  };
  CHECK(means(3) == std::vector<float>{0.5f, 10.5f, 100});
  CHECK(means(2) == std::vector<float>{5.5f, 100});
  CHECK(means(1).front() == doctest::Approx(122.0 / 5));
  CHECK(MergeTree(column({0, 4}), {3, 1}).means(1).item() == 1);
  CHECK_THROWS_AS(line.means(6), Error);
  CHECK_THROWS_AS(MergeTree(column({1}), {0}), Error);
  CHECK_THROWS_AS(MergeTree(column({NAN, 1}), {1, 1}), Error);

  // Merges that are found by chains are those of looking at all pairs each time.
  constexpr int64_t n = 60, dim = 3;
  const Tensor points = ops::random_normal({n, dim}, {.seed = 8});
  const auto values = points.to_vector<float>();
  std::vector<int32_t> counts;
  std::vector<std::vector<double>> rows;
  for (size_t i = 0; i < n; ++i) {
    counts.push_back(static_cast<int32_t>(1 + i % 4));
    rows.emplace_back(values.begin() + static_cast<int64_t>(i) * dim,
                      values.begin() + static_cast<int64_t>(i + 1) * dim);
  }
  const MergeTree tree(points, counts);
  for (const size_t m : {1, 2, 5, 20, 59, 60}) {
    CAPTURE(m);
    const auto expected = merged_plainly(rows, {counts.begin(), counts.end()}, m);
    const auto got = tree.means(static_cast<int64_t>(m)).to_vector<float>();
    for (const std::vector<double>& mean : expected) {
      double nearest = 1e30;
      for (size_t i = 0; i < m; ++i) {
        double square = 0;
        for (size_t d = 0; d < dim; ++d) square += std::pow(got[i * dim + d] - mean[d], 2);
        nearest = std::min(nearest, square);
      }
      CHECK(nearest < 1e-10);  // a rounding of numbers below 4 is 2.4e-7 at most; means are about 0.1 apart
    }
  }
}

TEST_CASE("the planted number of clusters is chosen, and the clusters are the groups") {
  for (const int64_t count : {2, 3, 7, 12, 20}) {
    CAPTURE(count);
    const Blobs blobs(count, 40, 32, 5);
    const std::vector<TriedNumber> tried = try_numbers(blobs.vectors, 30, 1);
    std::vector<double> stabilities;
    for (const TriedNumber& number : tried) stabilities.push_back(number.stability);
    const TriedNumber& chosen = tried[choose_number(stabilities)];
    CHECK(chosen.clusters == count);
    CHECK(chosen.stability == doctest::Approx(1));
    const ClusterMembers clusters = members_of(blobs.vectors, find_clusters(blobs.vectors, count, 1));
    CHECK(adjusted_rand_index(clusters.labels, blobs.groups) == 1);
  }
}

TEST_CASE("clusters of few, of equal and of too many vectors") {
  CHECK(try_numbers(Blobs(2, 3, 4, 1).vectors, 30, 1).empty());
  CHECK(try_numbers(Blobs(2, 4, 4, 1).vectors, 30, 1).size() == 1);
  const Tensor equal = Tensor::full({20, 4}, 0.5f);
  for (const TriedNumber& number : try_numbers(equal, 30, 1)) {
    CHECK(number.stability == 0);
    CHECK(number.mean_square < 1e-10);
  }
  const ClusterMembers clusters = members_of(equal, find_clusters(equal, 3, 1));
  CHECK(std::set(clusters.labels.begin(), clusters.labels.end()).size() == 1);
  CHECK(find_clusters(equal, 20, 1).shape() == Shape{20, 4});
  const Tensor one = find_clusters(Tensor::from(std::vector<float>{3, 4}, {1, 2}), 1, 1);
  CHECK(one.to_vector<float>() == std::vector<float>{3, 4});
  CHECK_THROWS_WITH_AS(find_clusters(equal, 21, 1), doctest::Contains("21 clusters of 20 vectors"), Error);
}

TEST_CASE("the members of a cluster are ranked by their distance to the centroid") {
  const Tensor vectors = column({0, 9, 2, 11, 12, 8}), centroids = column({1.5f, 10, 50});
  const ClusterMembers clusters = members_of(vectors, centroids);
  CHECK(clusters.labels == std::vector<int32_t>{0, 1, 0, 1, 1, 1});
  CHECK(clusters.distances == std::vector<double>{1.5, 1, 0.5, 1, 2, 2});
  CHECK(clusters.ranks == std::vector<int64_t>{2, 1, 1, 2, 3, 4});  // of equal ones the lower number first
  CHECK(clusters.members == std::vector<std::vector<int32_t>>{{2, 0}, {1, 3, 4, 5}, {}});
  CHECK(clusters.mean_distance(1) == 1.5);
  CHECK(largest_first(centroids, clusters).to_vector<float>() == std::vector<float>{10, 1.5f, 50});
}

}  // namespace la
