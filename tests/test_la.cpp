// The parts of Local Aggregation against brute force in double precision.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "autograd/gradient_check.h"
#include "la/kmeans.h"
#include "la/losses.h"
#include "la/neighbors.h"
#include "tensor/ops.h"

using namespace la;

namespace {

constexpr float tau = 0.2f;

double dot(const std::vector<float>& a, size_t row_a, const std::vector<float>& b, size_t row_b, size_t dim) {
  double sum = 0;
  for (size_t d = 0; d < dim; ++d) sum += static_cast<double>(a[row_a * dim + d]) * b[row_b * dim + d];
  return sum;
}

Tensor unit_rows(int64_t rows, int64_t dim, uint64_t seed) {
  return ops::l2_normalize(ops::random_normal({rows, dim}, {.seed = seed})).y;
}

Tensor i32(std::vector<int32_t> values) {
  const auto n = static_cast<int64_t>(values.size());
  return Tensor::from(values, {n});
}

/// A bank of known vectors.
MemoryBank bank_of(const Tensor& vectors) {
  MemoryBank bank(vectors.size(0), vectors.size(1), 0.5f, 0);
  std::vector<int32_t> all(static_cast<size_t>(vectors.size(0)));
  std::iota(all.begin(), all.end(), 0);
  bank.assign(i32(all), vectors);
  return bank;
}

/// Indices of the k nearest rows of the bank to query q, by sorting all of them.
std::set<int32_t> nearest_by_sorting(const std::vector<float>& v, size_t q, const std::vector<float>& bank,
                                     size_t dim, size_t k) {
  std::vector<int32_t> order(bank.size() / dim);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return dot(v, q, bank, static_cast<size_t>(a), dim) > dot(v, q, bank, static_cast<size_t>(b), dim);
  });
  return {order.begin(), order.begin() + static_cast<int64_t>(k)};
}

Tensor step_two() { return Tensor::from(std::vector<int64_t>{2}, {1}); }

}  // namespace

TEST_CASE("the bank starts on the sphere and moves by its rule") {
  MemoryBank bank(50, 16, 0.25f, 3);
  const auto before = bank.vectors().to_vector<float>();
  for (size_t i = 0; i < 50; ++i) CHECK(dot(before, i, before, i, 16) == doctest::Approx(1.0).epsilon(1e-6));

  const Tensor v = unit_rows(2, 16, 4);
  const auto moved = v.to_vector<float>();
  bank.update(i32({7, 31}), v);
  const auto after = bank.vectors().to_vector<float>();
  for (size_t i = 0; i < 50; ++i) {
    if (i != 7 && i != 31) {
      for (size_t d = 0; d < 16; ++d) CHECK(after[i * 16 + d] == before[i * 16 + d]);
      continue;
    }
    const size_t row = i == 7 ? 0 : 1;
    std::vector<double> expected(16);
    double square = 0;
    for (size_t d = 0; d < 16; ++d) {
      expected[d] = 0.25 * before[i * 16 + d] + 0.75 * moved[row * 16 + d];
      square += expected[d] * expected[d];
    }
    for (size_t d = 0; d < 16; ++d)
      CHECK(after[i * 16 + d] == doctest::Approx(expected[d] / std::sqrt(square)).epsilon(1e-5));
  }
}

TEST_CASE("background neighbors are the k nearest and contain the picture itself") {
  const Tensor vectors = unit_rows(300, 24, 5);
  const MemoryBank bank = bank_of(vectors);
  const Tensor v =
      unit_rows(6, 24, 6);  // unrelated to the bank, so that own pictures are rarely among the nearest
  const Tensor pictures = i32({0, 50, 100, 150, 200, 299});
  const auto host_v = v.to_vector<float>(), host_bank = vectors.to_vector<float>();

  for (const int64_t k : {1, 20, 299, 300}) {
    CAPTURE(k);
    const TopK background = background_neighbors(bank, v, pictures, k)[0];
    const auto indices = background.indices.to_vector<int32_t>();
    const auto values = background.values.to_vector<float>();
    for (size_t row = 0; row < 6; ++row) {
      const auto begin = indices.begin() + static_cast<int64_t>(row) * k;
      CHECK(std::is_sorted(begin, begin + k));
      const std::set<int32_t> got(begin, begin + k);
      const int32_t own = pictures.to_vector<int32_t>()[row];
      auto expected = nearest_by_sorting(host_v, row, host_bank, 24, static_cast<size_t>(k));
      if (!expected.contains(own)) {  // the picture itself takes the place of the farthest
        expected = nearest_by_sorting(host_v, row, host_bank, 24, static_cast<size_t>(k - 1));
        expected.insert(own);
      }
      CHECK(got == expected);
      for (int64_t j = 0; j < k; ++j) {
        const double similarity = dot(host_v, row, host_bank, static_cast<size_t>(begin[j]), 24);
        CHECK(std::abs(values[row * static_cast<size_t>(k) + static_cast<size_t>(j)] - similarity) <
              24 * 0x1p-24);
      }
    }
  }
}

TEST_CASE("close neighbors share a cluster in any of the clusterings") {
  // Of each picture its cluster in the first and in the second clustering.
  const Tensor labels = Tensor::from(std::vector<int32_t>{0, 0, 0, 1, 1, 1, 1, 0, 2, 2, 2, 0}, {6, 2});
  const Background background{
      {Tensor::zeros({2, 4}), Tensor::from(std::vector<int32_t>{0, 1, 3, 4, 1, 2, 4, 5}, {2, 4})}};
  const Tensor close = close_by_clusters(bank_of(unit_rows(6, 4, 1)), labels, i32({0, 4}), background)[0];
  // Picture 0: itself, 1 (first), 3 (second), not 4. Picture 4: not 1, not 2, itself, 5 (first).
  CHECK(close.to_vector<uint8_t>() == std::vector<uint8_t>{1, 1, 1, 0, 0, 0, 1, 1});
}

TEST_CASE("close neighbors may have to share every cluster, or count by how many they share") {
  const Tensor labels = Tensor::from(std::vector<int32_t>{0, 0, 0, 1, 1, 1, 0, 0}, {4, 2});
  const Background background{
      {Tensor::zeros({1, 4}), Tensor::from(std::vector<int32_t>{0, 1, 2, 3}, {1, 4})}};
  const auto close = [&](SharedClusters shared) {
    return close_by_clusters(bank_of(unit_rows(4, 4, 1)), labels, i32({0}), background, shared)[0]
        .to_vector<uint8_t>();
  };
  CHECK(close(SharedClusters::all) == std::vector<uint8_t>{1, 0, 0, 1});
  CHECK(close(SharedClusters::count) == std::vector<uint8_t>{2, 1, 0, 2});
}

TEST_CASE("components join chains of nearest neighbors") {
  // On a circle, by their angles: 0 and 1 point to each other, 2 to 1; 3 and 4 to each other; 5 to 4. Two twins, 6
  // and 7, to each other.
  std::vector<float> points;
  for (const double angle : {0.0, 0.1, 0.25, 2.0, 2.1, 2.3, 4.0, 4.0}) {
    points.push_back(static_cast<float>(std::cos(angle)));
    points.push_back(static_cast<float>(std::sin(angle)));
  }
  const Components components = nearest_neighbor_components(bank_of(Tensor::from(points, {8, 2})));
  CHECK(components.count == 3);
  CHECK(components.labels.to_vector<int32_t>() == std::vector<int32_t>{0, 0, 0, 1, 1, 1, 2, 2});
}

TEST_CASE("components of many vectors are those of a search in the graph of links") {
  constexpr size_t n = 300, dim = 3;
  const Tensor vectors = unit_rows(n, dim, 21);
  const auto host = vectors.to_vector<float>();
  std::vector<std::vector<size_t>> linked(n);
  for (size_t i = 0; i < n; ++i) {
    size_t nearest = i == 0 ? 1 : 0;
    for (size_t j = 0; j < n; ++j)
      if (j != i && dot(host, i, host, j, dim) > dot(host, i, host, nearest, dim)) nearest = j;
    linked[i].push_back(nearest);
    linked[nearest].push_back(i);
  }
  std::vector<int32_t> expected(n, -1);
  int32_t count = 0;
  for (size_t start = 0; start < n; ++start) {
    if (expected[start] >= 0) continue;
    std::vector<size_t> open{start};
    expected[start] = count;
    while (!open.empty()) {
      const size_t i = open.back();
      open.pop_back();
      for (const size_t j : linked[i])
        if (expected[j] < 0) {
          expected[j] = count;
          open.push_back(j);
        }
    }
    ++count;
  }
  const Components components = nearest_neighbor_components(bank_of(vectors));
  CHECK(count > 10);
  CHECK(components.count == count);
  CHECK(components.labels.to_vector<int32_t>() == expected);
}

TEST_CASE("with the whole bank as background the LA loss is -log P(C | v)") {
  const Tensor vectors = unit_rows(70, 12, 14);
  const MemoryBank bank = bank_of(vectors);
  const Tensor v = unit_rows(3, 12, 15), pictures = i32({4, 40, 69});
  const Tensor labels = ops::random_below({70, 2}, 5, {.seed = 16});
  const Background all = whole_bank(bank, v, rows_of_whole_bank(bank, 3));
  const Background nearest = background_neighbors(bank, v, pictures, 70);  // all of them too, by selection
  CHECK(all[0].indices.to_vector<int32_t>() == nearest[0].indices.to_vector<int32_t>());

  const auto host_v = v.to_vector<float>(), host_bank = vectors.to_vector<float>();
  const auto host_labels = labels.to_vector<int32_t>();
  double expected = 0;
  for (size_t row = 0; row < 3; ++row) {
    const auto own = static_cast<size_t>(pictures.to_vector<int32_t>()[row]);
    double sum = 0, close = 0;
    for (size_t j = 0; j < 70; ++j) {
      const double p = std::exp(dot(host_v, row, host_bank, j, 12) / tau);
      const bool shares =
          host_labels[2 * j] == host_labels[2 * own] || host_labels[2 * j + 1] == host_labels[2 * own + 1];
      sum += p;
      close += shares ? p : 0;
    }
    expected -= std::log(close / sum) / 3;
  }
  const Variable x(v, true);
  const Variable loss =
      local_aggregation_loss(x, bank, all, close_by_clusters(bank, labels, pictures, all), tau);
  CHECK(loss.value().item() == doctest::Approx(expected).epsilon(1e-5));
  backward(loss);

  // The gradient by the other way: rows gathered, not multiplied, of a bank that has one row more.
  std::vector<float> longer = host_bank;
  longer.resize(71 * 12);
  const MemoryBank larger = bank_of(Tensor::from(longer, {71, 12}));
  const Variable y(v, true);
  backward(
      local_aggregation_loss(y, larger, nearest, close_by_clusters(bank, labels, pictures, nearest), tau));
  const auto by_product = x.grad().to_vector<float>(), by_rows = y.grad().to_vector<float>();
  for (size_t i = 0; i < by_product.size(); ++i) CHECK(std::abs(by_product[i] - by_rows[i]) < 1e-5);
}

TEST_CASE("the mean of the ratios of several clusterings is the loss of counted neighbors plus log H") {
  const MemoryBank bank = bank_of(unit_rows(60, 12, 17));
  const Tensor v = unit_rows(2, 12, 18), pictures = i32({5, 33});
  constexpr int64_t h = 3;
  const Tensor labels = ops::random_below({60, h}, 4, {.seed = 19});
  const Background background = background_neighbors(bank, v, pictures, 25);
  std::vector<double> ratios(2);  // of each picture, the sum over the clusterings
  for (int64_t i = 0; i < h; ++i) {
    std::vector<int32_t> column;
    for (int64_t j = 0; j < 60; ++j)
      column.push_back(labels.to_vector<int32_t>()[static_cast<size_t>(j * h + i)]);
    const Tensor one = Tensor::from(column, {60, 1});
    const LogSums sums =
        ops::log_sums(background[0].values, close_by_clusters(bank, one, pictures, background)[0], 1 / tau);
    for (size_t row = 0; row < 2; ++row)
      ratios[row] += std::exp(sums.marked.to_vector<float>()[row] - sums.all.to_vector<float>()[row]);
  }
  const double expected = -(std::log(ratios[0] / h) + std::log(ratios[1] / h)) / 2;
  const CloseMasks counts = close_by_clusters(bank, labels, pictures, background, SharedClusters::count);
  const Variable loss = local_aggregation_loss(Variable(v, true), bank, background, counts, tau);
  CHECK(loss.value().item() + std::log(static_cast<double>(h)) == doctest::Approx(expected).epsilon(1e-5));
}

TEST_CASE("close neighbors by distance are the nearest of the background") {
  const Background background{{Tensor::from(std::vector<float>{0.1f, 0.9f, 0.5f, 0.7f}, {1, 4}),
                               Tensor::from(std::vector<int32_t>{2, 3, 5, 9}, {1, 4})}};
  CHECK(close_by_distance(bank_of(unit_rows(10, 4, 1)), background, 2)[0].to_vector<uint8_t>() ==
        std::vector<uint8_t>{0, 1, 0, 1});
}

TEST_CASE("the LA loss is -log(P(C and B | v) / P(B | v)), with its gradient") {
  const Tensor vectors = unit_rows(80, 12, 8);
  const MemoryBank bank = bank_of(vectors);
  const Tensor v = unit_rows(3, 12, 9), pictures = i32({4, 40, 79});
  const Tensor labels = ops::random_below({80, 2}, 5, {.seed = 10});
  const Background background = background_neighbors(bank, v, pictures, 30);
  const CloseMasks close = close_by_clusters(bank, labels, pictures, background);

  const auto host_v = v.to_vector<float>(), host_bank = vectors.to_vector<float>();
  const auto indices = background[0].indices.to_vector<int32_t>();
  const auto mask = close[0].to_vector<uint8_t>();
  double expected = 0;
  std::vector<double> gradient(3 * 12);
  for (size_t row = 0; row < 3; ++row) {
    double all = 0, near = 0;
    for (size_t j = row * 30; j < row * 30 + 30; ++j) {
      const double p = std::exp(dot(host_v, row, host_bank, static_cast<size_t>(indices[j]), 12) / tau);
      all += p;
      near += mask[j] ? p : 0;
    }
    expected -= std::log(near / all) / 3;
    for (size_t j = row * 30; j < row * 30 + 30; ++j) {
      const auto i = static_cast<size_t>(indices[j]);
      const double p = std::exp(dot(host_v, row, host_bank, i, 12) / tau);
      for (size_t d = 0; d < 12; ++d)
        gradient[row * 12 + d] += (p / all - (mask[j] ? p / near : 0)) * host_bank[i * 12 + d] / tau / 3;
    }
  }

  const Variable x(v, true);
  const Variable loss = local_aggregation_loss(x, bank, background, close, tau);
  CHECK(loss.value().item() == doctest::Approx(expected).epsilon(1e-5));
  backward(loss);
  const auto got = x.grad().to_vector<float>();
  for (size_t i = 0; i < gradient.size(); ++i) CHECK(std::abs(got[i] - gradient[i]) < 1e-5);
}

TEST_CASE("both losses of instance recognition agree with finite differences") {
  const MemoryBank bank = bank_of(unit_rows(60, 12, 11));
  const Tensor v = unit_rows(4, 12, 12), pictures = i32({3, 9, 20, 59});
  const Tensor candidates = nce_candidates(pictures, 15, 60, 1, step_two());
  CHECK(
      check_gradients(
          [&](const std::vector<Variable>& in) { return instance_softmax_loss(in[0], bank, pictures, tau); },
          {v}) == "");
  CHECK(check_gradients(
            [&](const std::vector<Variable>& in) {
              return instance_nce_loss(in[0], bank, candidates, 90.0, tau);
            },
            {v}) == "");
}

TEST_CASE("the NCE loss follows its formula, and Z is what it says") {
  const Tensor vectors = unit_rows(60, 12, 11);
  const MemoryBank bank = bank_of(vectors);
  const Tensor v = unit_rows(2, 12, 12);
  const int64_t m = 15;
  const Tensor candidates = nce_candidates(i32({3, 9}), m, 60, 1, step_two());
  const auto chosen = candidates.to_vector<int32_t>();
  CHECK(chosen[0] == 3);
  CHECK(chosen[16] == 9);
  for (int32_t i : chosen) CHECK((i >= 0 && i < 60));

  const double z = 90, noise_probability = 1.0 / 60;
  const auto host_v = v.to_vector<float>(), host_bank = vectors.to_vector<float>();
  double expected = 0, exponentials = 0;
  for (size_t row = 0; row < 2; ++row) {
    for (size_t j = 0; j < 16; ++j) {
      const double e =
          std::exp(dot(host_v, row, host_bank, static_cast<size_t>(chosen[row * 16 + j]), 12) / tau);
      const double p = e / z;
      const double h = p / (p + static_cast<double>(m) * noise_probability);
      expected -= (j == 0 ? std::log(h) : std::log(1 - h)) / 2;
      exponentials += j == 0 ? 0 : e;
    }
  }
  CHECK(instance_nce_loss(Variable(v), bank, candidates, z, tau).value().item() ==
        doctest::Approx(expected).epsilon(1e-5));
  CHECK(estimate_nce_constant(v, bank, candidates, tau) ==
        doctest::Approx(60 * exponentials / 30).epsilon(1e-5));
  CHECK(original_nce_constant(1281167) == doctest::Approx(2876934.2));
}

TEST_CASE("k-means finds well separated groups") {
  // 5 groups of 40 points, at distance 10 from each other, with radius about 1.
  const int64_t groups = 5, each = 40, dim = 8;
  auto values = ops::random_normal({groups * each, dim}, {.seed = 20}).to_vector<float>();
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t row = i / dim, column = i % dim;
    values[i] = 0.3f * values[i] + (row % groups == column ? 10.0f : 0.0f);
  }
  const Tensor x = Tensor::from(values, {groups * each, dim});
  // Of many starts, the best one has one centroid in each group; an inertia within the groups shows it.
  double best = 1e30;
  std::vector<int32_t> labels;
  for (uint64_t start = 0; start < 20; ++start) {
    const KMeansResult result = kmeans(x, {.clusters = groups, .key = {.seed = 1, .index = start}});
    if (result.inertia < best) {
      best = result.inertia;
      labels = result.labels.to_vector<int32_t>();
    }
  }
  for (size_t i = 0; i < labels.size(); ++i)
    for (size_t j = 0; j < labels.size(); ++j) CHECK((labels[i] == labels[j]) == (i % groups == j % groups));
}

TEST_CASE("k-means: inertia never grows, labels are those of the nearest centroid") {
  const Tensor x = unit_rows(500, 16, 21);
  double previous = 1e30;
  for (const int iterations : {1, 2, 4, 8, 16}) {
    const KMeansResult result = kmeans(x, {.clusters = 20, .iterations = iterations, .key = {.seed = 2}});
    CHECK(result.inertia <= previous * (1 + 1e-6));
    previous = result.inertia;

    const auto labels = result.labels.to_vector<int32_t>();
    const auto points = x.to_vector<float>(), centroids = result.centroids.to_vector<float>();
    double inertia = 0;
    for (size_t i = 0; i < 500; ++i) {
      double nearest = 1e30, own = 0;
      for (size_t c = 0; c < 20; ++c) {
        double square = 0;
        for (size_t d = 0; d < 16; ++d) square += std::pow(points[i * 16 + d] - centroids[c * 16 + d], 2);
        nearest = std::min(nearest, square);
        if (labels[i] == static_cast<int32_t>(c)) own = square;
      }
      CHECK(own <= nearest + 1e-5);
      inertia += own;
    }
    CHECK(result.inertia == doctest::Approx(inertia).epsilon(1e-4));
  }
}

TEST_CASE("k-means: the same key gives the same labels, whatever the number of threads") {
  const Tensor x = unit_rows(3000, 32, 22);
  const int before = num_threads();
  std::vector<std::vector<int32_t>> labels;
  for (const int threads : {1, 2, 3}) {
    set_num_threads(threads);
    labels.push_back(kmeans(x, {.clusters = 50, .key = {.seed = 3}}).labels.to_vector<int32_t>());
  }
  set_num_threads(before);
  CHECK(labels[0] == labels[1]);
  CHECK(labels[0] == labels[2]);
  CHECK(labels[0] != kmeans(x, {.clusters = 50, .key = {.seed = 4}}).labels.to_vector<int32_t>());
}

TEST_CASE("k-means: empty clusters are split off the largest") {
  // Ten different points, each ten times, and 20 clusters: the random start must repeat some points, whose
  // clusters then stay empty.
  const Tensor points = unit_rows(10, 8, 23);
  std::vector<int32_t> repeated;
  for (int32_t i = 0; i < 100; ++i) repeated.push_back(i % 10);
  const Tensor x = ops::gather_rows(points, i32(repeated));
  const KMeansResult result = kmeans(x, {.clusters = 20, .iterations = 5, .key = {.seed = 5}});
  CHECK(result.splits > 0);
  CHECK(result.empty >= 10);  // there are no more than ten different points to go round
  const auto labels = result.labels.to_vector<int32_t>();
  for (size_t i = 10; i < 100; ++i) CHECK(labels[i] == labels[i - 10]);  // equal points stay together

  // Two tight groups and one centroid in each half of the first: with three clusters none stays empty.
  const KMeansResult spread = kmeans(unit_rows(200, 8, 24), {.clusters = 150, .key = {.seed = 6}});
  CHECK(spread.empty == 0);
}

TEST_CASE("k-means: one cluster, as many clusters as points, too many") {
  const Tensor x = unit_rows(30, 8, 25);
  const KMeansResult one = kmeans(x, {.clusters = 1, .key = {.seed = 7}});
  CHECK(one.labels.to_vector<int32_t>() == std::vector<int32_t>(30, 0));
  CHECK(one.imbalance == 1.0);

  const KMeansResult all = kmeans(x, {.clusters = 30, .key = {.seed = 7}});
  const auto labels = all.labels.to_vector<int32_t>();
  CHECK(std::set<int32_t>(labels.begin(), labels.end()).size() == 30);
  CHECK(all.inertia < 30 * 1e-5);

  CHECK_THROWS_WITH_AS(kmeans(x, {.clusters = 31}), doctest::Contains("31 clusters of 30 vectors"), Error);
}

TEST_CASE("k-means from given centroids") {
  const Tensor x = Tensor::from(std::vector<float>{0, 1, 10, 11}, {4, 1});
  const KMeansResult result =
      kmeans(x, Tensor::from(std::vector<float>{9, 5}, {2, 1}), {.clusters = 2, .iterations = 5});
  CHECK(result.centroids.to_vector<float>() == std::vector<float>{10.5f, 0.5f});
  CHECK(result.labels.to_vector<int32_t>() == std::vector<int32_t>{1, 1, 0, 0});
  CHECK_THROWS_WITH_AS(kmeans(x, x, {.clusters = 2}), doctest::Contains("expected [2, 1]"), Error);
}

TEST_CASE("spherical k-means keeps its centroids on the sphere") {
  const KMeansResult result =
      kmeans(unit_rows(200, 8, 26), {.clusters = 10, .spherical = true, .key = {.seed = 8}});
  const auto centroids = result.centroids.to_vector<float>();
  for (size_t c = 0; c < 10; ++c)
    CHECK(dot(centroids, c, centroids, c, 8) == doctest::Approx(1.0).epsilon(1e-5));
}
