// Selection against a full sort, on random and on awkward inputs.
#include <cmath>
#include <limits>
#include <set>

#include "tensor/ops.h"
#include "tests/op_case.h"
#include "tests/plain_loops.h"

using namespace la;

namespace {

struct Sizes {
  int64_t queries, rows, depth, k;
};

/// Compares nearest_rows with a full sort, for numbers whose scores are exact.
void check_nearest(const Sizes& s, const std::vector<float>& queries, const std::vector<float>& table,
                   const std::vector<int32_t>& include, Device device) {
  CAPTURE(s.queries);
  CAPTURE(s.rows);
  CAPTURE(s.depth);
  CAPTURE(s.k);
  const Tensor wanted = include.empty() ? Tensor() : Tensor::from(include, {s.queries}, device);
  const TopK found = ops::nearest_rows(Tensor::from(queries, {s.queries, s.depth}, device),
                                       Tensor::from(table, {s.rows, s.depth}, device), s.k, wanted);
  const auto values = found.values.to_vector<float>();
  const auto indices = found.indices.to_vector<int32_t>();
  for (int64_t q = 0; q < s.queries; ++q) {
    std::vector<double> scores;
    for (int64_t r = 0; r < s.rows; ++r)
      scores.push_back(plain_dot(&queries[q * s.depth], &table[r * s.depth], s.depth));
    std::vector<int32_t> expected = best_first(scores, s.k);
    if (!include.empty() && std::find(expected.begin(), expected.end(), include[q]) == expected.end())
      expected.back() = include[q];
    std::sort(expected.begin(), expected.end());
    const std::vector<int32_t> row(&indices[q * s.k], &indices[q * s.k] + s.k);
    REQUIRE(row == expected);
    for (int64_t j = 0; j < s.k; ++j) REQUIRE(values[q * s.k + j] == scores[row[j]]);
  }
}

}  // namespace

TEST_SUITE_BEGIN("devices");

TEST_CASE("nearest_rows: exact, with ties to the lower index") {
  for (Device device : available_devices()) {
    const Sizes all[] = {{5, 1, 3, 1},         {3, 40, 8, 7},      {7, 100, 16, 100},
                         {1, 257, 5, 1},       {9, 1000, 33, 250}, {3, 14000, 7, 100},
                         {17, 20011, 16, 300}, {130, 15000, 4, 1}, {2, 13000, 16, 3400}};
    for (const Sizes& s : all) {
      const auto queries = coarse_floats(s.queries * s.depth, 1), table = coarse_floats(s.rows * s.depth, 2);
      check_nearest(s, queries, table, {}, device);
      check_nearest(s, queries, table, random_indices(s.queries, s.rows, 3), device);
    }
  }
}

TEST_CASE("nearest_rows: inputs that mislead a threshold guessed from a sample") {
  for (Device device : available_devices()) {
    const Sizes s{3, 20000, 8, 500};
    const auto queries = coarse_floats(s.queries * s.depth, 4);
    const auto random = coarse_floats(s.rows * s.depth, 5);

    {  // all rows equal
      std::vector<float> table(random.size());
      for (size_t i = 0; i < table.size(); ++i) table[i] = random[i % s.depth];
      check_nearest(s, queries, table, {19999, 0, 700}, device);
    }
    check_nearest(s, queries, std::vector<float>(random.size()), {}, device);  // all zero
    {  // scores that ascend, descend, or lie in one place
      const auto one = std::vector<float>(static_cast<size_t>(s.queries * s.depth), 0.125f);
      for (int shape = 0; shape < 3; ++shape) {
        std::vector<float> table(random.size(), 0.0f);
        for (int64_t r = 0; r < s.rows; ++r) {
          const int64_t height = shape == 0 ? r : shape == 1 ? s.rows - r : (r / 600 == 7 ? r : 0);
          table[r * s.depth] = static_cast<float>(height) / 16.0f;
        }
        check_nearest(s, one, table, {}, device);
      }
    }
    {  // the sampled rows are all high, or all low
      for (float height : {-4.0f, 4.0f}) {
        std::vector<float> table = random;
        for (int64_t step : {8, 12, 16, 24, 32})
          for (int64_t r = 0; r < s.rows; r += step) table[r * s.depth] = height;
        check_nearest(s, queries, table, {}, device);
      }
    }
    {  // zeros of both signs are equal
      std::vector<float> table(random.size());
      for (size_t i = 0; i < table.size(); ++i) table[i] = i / s.depth % 3 == 0 ? -0.0f : 0.0f;
      check_nearest(s, queries, table, {}, device);
    }
  }
}

TEST_CASE("nearest_rows: real numbers, any number of threads") {
  for (Device device : available_devices()) {
    const Sizes s{device.is_cpu() ? 37 : 11, 30011, 48, 700};
    const Tensor queries = Tensor::from(random_floats(s.queries * s.depth, 6), {s.queries, s.depth}, device);
    const Tensor table = Tensor::from(random_floats(s.rows * s.depth, 7), {s.rows, s.depth}, device);
    const auto run = [&] {
      const TopK found = ops::nearest_rows(queries, table, s.k);
      return std::pair(found.values.to_vector<float>(), found.indices.to_vector<int32_t>());
    };
    if (device.is_cpu())
      check_any_threads(run);
    else
      CHECK(run() == run());
    const TopK found = ops::nearest_rows(queries, table, s.k);
    const auto q = queries.to_vector<float>(), t = table.to_vector<float>();
    const auto indices = found.indices.to_vector<int32_t>();
    const auto values = found.values.to_vector<float>();
    for (int64_t i = 0; i < s.queries; ++i) {
      const std::set<int32_t> chosen(&indices[i * s.k], &indices[i * s.k] + s.k);
      REQUIRE(chosen.size() == static_cast<size_t>(s.k));
      double lowest = 1e9, highest_left = -1e9;
      for (int64_t r = 0; r < s.rows; ++r) {
        const double score = plain_dot(&q[i * s.depth], &t[r * s.depth], s.depth);
        if (chosen.count(static_cast<int32_t>(r)) != 0)
          lowest = std::min(lowest, score);
        else
          highest_left = std::max(highest_left, score);
      }
      CHECK(lowest >= highest_left - 2 * dot_error(s.depth));
      for (int64_t j = 0; j < s.k; ++j)
        CHECK(std::abs(values[i * s.k + j] - plain_dot(&q[i * s.depth], &t[indices[i * s.k + j] * s.depth],
                                                       s.depth)) <= dot_error(s.depth));
    }
  }
}

TEST_CASE("nearest_rows: a NaN anywhere is an error, infinity is not") {
  for (Device device : available_devices()) {
    const Sizes s{2, 20000, 4, 50};
    auto table = coarse_floats(s.rows * s.depth, 8);
    const Tensor queries = Tensor::full({s.queries, s.depth}, 1.0f, DType::f32, device);
    for (int64_t row : {int64_t{0}, int64_t{777}, s.rows - 1}) {
      const float before = table[row * s.depth];
      table[row * s.depth] = std::numeric_limits<float>::quiet_NaN();
      CHECK_THROWS_WITH_AS(ops::nearest_rows(queries, Tensor::from(table, {s.rows, s.depth}, device), s.k)
                               .values.to_vector<float>(),
                           doctest::Contains("nearest_rows"), Error);
      table[row * s.depth] = before;
    }
    table[4321 * s.depth] = std::numeric_limits<float>::infinity();
    const auto found = ops::nearest_rows(queries, Tensor::from(table, {s.rows, s.depth}, device), 1);
    CHECK(found.indices.to_vector<int32_t>() == std::vector<int32_t>{4321, 4321});
  }
}

TEST_CASE("top_k: from the largest down, ties to the lower index") {
  for (Device device : available_devices()) {
    for (const auto& [rows, n, k] : {std::tuple<int64_t, int64_t, int64_t>{3, 1, 1},
                                     {4, 50, 50},
                                     {2, 5000, 700},
                                     {1, 5000, 4500},
                                     {3, 999, 1}}) {
      auto scores = coarse_floats(rows * n, 9);
      for (float& score : scores)
        if (score == 0.125f) score = -0.0f;
      const TopK found = ops::top_k(Tensor::from(scores, {rows, n}, device), k);
      const auto indices = found.indices.to_vector<int32_t>();
      const auto values = found.values.to_vector<float>();
      for (int64_t i = 0; i < rows; ++i) {
        const std::vector<double> row(&scores[i * n], &scores[i * n] + n);
        const auto expected = best_first(row, k);
        CHECK(std::vector<int32_t>(&indices[i * k], &indices[i * k] + k) == expected);
        for (int64_t j = 0; j < k; ++j) CHECK(values[i * k + j] == row[expected[j]]);
      }
    }
    CHECK_THROWS_WITH_AS(
        ops::top_k(Tensor::from(std::vector<float>{1.0f, NAN}, {1, 2}, device), 1).values.to_vector<float>(),
        doctest::Contains("NaN"), Error);
    CHECK_THROWS_WITH_AS(ops::top_k(Tensor::full({1, 2}, 0.0f, DType::f32, device), 3),
                         doctest::Contains("k is 3"), Error);
  }
}

TEST_CASE("same_cluster_mask: whether any labeling agrees") {
  for (Device device : available_devices()) {
    const int64_t labelings = 3, n = 500, queries = 9, k = 77;
    const auto labels = random_indices(labelings * n, 6, 10),
               own = random_indices(queries * labelings, 6, 11), indices = random_indices(queries * k, n, 12);
    const auto mask = ops::same_cluster_mask(Tensor::from(labels, {n, labelings}, device),
                                             Tensor::from(own, {queries, labelings}, device),
                                             Tensor::from(indices, {queries, k}, device))
                          .to_vector<uint8_t>();
    for (int64_t i = 0; i < queries; ++i)
      for (int64_t j = 0; j < k; ++j) {
        bool same = false;
        for (int64_t h = 0; h < labelings; ++h)
          same = same || labels[indices[i * k + j] * labelings + h] == own[i * labelings + h];
        CHECK(mask[i * k + j] == (same ? 1 : 0));
      }
  }
}

TEST_SUITE_END();
