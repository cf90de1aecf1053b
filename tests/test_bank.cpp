// Tables, losses over rows of scores and k-means against plain loops in double precision.
#include <cmath>

#include "tensor/ops.h"
#include "tests/op_case.h"
#include "tests/plain_loops.h"

using namespace la;

TEST_SUITE_BEGIN("devices");

TEST_CASE("tables: gather, scatter, blend") {
  for (Device device : available_devices()) {
    const int64_t n = 300, depth = 21, count = 40;
    const auto table = random_floats(n * depth, 13), source = random_floats(count * depth, 14);
    std::vector<int32_t> rows(static_cast<size_t>(n));
    std::iota(rows.begin(), rows.end(), 0);
    std::reverse(rows.begin(), rows.end());
    rows.resize(static_cast<size_t>(count));
    const Tensor row = Tensor::from(rows, {count}, device),
                 fresh = Tensor::from(source, {count, depth}, device);

    const Tensor scattered = Tensor::from(table, {n, depth}, device);
    ops::scatter_rows(scattered, row, fresh);
    CHECK(ops::gather_rows(scattered, row).to_vector<float>() == source);
    CHECK(ops::gather_rows(Tensor::from(rows, {count}, device),
                           Tensor::from(std::vector<int32_t>{1, 0}, {2}, device))
              .to_vector<int32_t>() == std::vector<int32_t>{rows[1], rows[0]});

    const Tensor bank = Tensor::from(table, {n, depth}, device);
    ops::ema_update_rows(bank, row, fresh, 0.25f);
    const auto blended = bank.to_vector<float>();
    for (int64_t i = 0; i < count; ++i) {
      std::vector<double> v;
      for (int64_t d = 0; d < depth; ++d)
        v.push_back(0.25 * table[rows[i] * depth + d] + 0.75 * source[i * depth + d]);
      const double norm = std::sqrt(std::inner_product(v.begin(), v.end(), v.begin(), 0.0));
      for (int64_t d = 0; d < depth; ++d)
        CHECK(blended[rows[i] * depth + d] == doctest::Approx(v[d] / norm).epsilon(1e-6));
    }
    CHECK(blended[0] == table[0]);
    CHECK_THROWS_WITH_AS(
        ops::gather_rows(bank, Tensor::from(std::vector<int32_t>{-2}, {1}, device)).to_vector<float>(),
        doctest::Contains("index -2"), Error);
  }
}

TEST_CASE("gather_dot and gather_sum: ascending and other indices, any number of threads") {
  for (Device device : available_devices()) {
    for (const auto& [queries, n, depth, k] :
         {std::tuple<int64_t, int64_t, int64_t, int64_t>{7, 3000, 128, 90},
          {3, 50, 5, 8},
          {2, 4000, 35, 64}}) {
      const auto q = random_floats(queries * depth, 15), t = random_floats(n * depth, 16),
                 c = random_floats(queries * k, 17);
      for (bool ascending : {true, false}) {
        auto indices = random_indices(queries * k, n, 18);
        for (int64_t i = 0; ascending && i < queries; ++i)
          std::sort(indices.begin() + i * k, indices.begin() + (i + 1) * k);
        const Tensor table = Tensor::from(t, {n, depth}, device),
                     index = Tensor::from(indices, {queries, k}, device);
        const Tensor query = Tensor::from(q, {queries, depth}, device),
                     coefficients = Tensor::from(c, {queries, k}, device);
        check_any_threads([&] {
          return std::pair(ops::gather_dot(query, table, index).to_vector<float>(),
                           ops::gather_sum(coefficients, index, table).to_vector<float>());
        });
        const auto scores = ops::gather_dot(query, table, index).to_vector<float>();
        const auto sums = ops::gather_sum(coefficients, index, table).to_vector<float>();
        for (int64_t i = 0; i < queries; ++i) {
          std::vector<double> sum(static_cast<size_t>(depth), 0.0);
          for (int64_t j = 0; j < k; ++j) {
            const float* row = &t[indices[i * k + j] * depth];
            CHECK(std::abs(scores[i * k + j] - plain_dot(&q[i * depth], row, depth)) <= dot_error(depth));
            for (int64_t d = 0; d < depth; ++d) sum[d] += static_cast<double>(c[i * k + j]) * row[d];
          }
          for (int64_t d = 0; d < depth; ++d) CHECK(std::abs(sums[i * depth + d] - sum[d]) <= dot_error(k));
        }
      }
    }
  }
}

namespace {

/// Checks a loss and its gradient with respect to row 0 .. rows - 1 against double precision. `loss`
/// gives the loss of a row, `gradient` the derivative for one column. Errors are relative to the loss
/// and to `factor`.
template <class Loss, class Gradient>
void check_rows(const RowLosses& out, const std::vector<float>& scores, float factor, Loss loss,
                Gradient gradient) {
  const auto losses = out.loss.to_vector<float>(), gradients = out.gradient.to_vector<float>();
  const auto rows = static_cast<int64_t>(losses.size()), n = static_cast<int64_t>(scores.size()) / rows;
  // Each logit, of size up to L, is rounded before exp makes its absolute error a relative one.
  const double epsilon = 0x1p-24 * (8 + 4 * std::abs(factor)) + 0x1p-24 * std::sqrt(static_cast<double>(n));
  for (int64_t i = 0; i < rows; ++i) {
    const float* row = &scores[i * n];
    const double expected = loss(i, row);
    CHECK(std::abs(losses[i] - expected) <= 4 * epsilon * (1 + std::abs(expected)));
    for (int64_t j = 0; j < n; ++j)
      CHECK(std::abs(gradients[i * n + j] - gradient(i, row, j)) <= 4 * epsilon * std::abs(factor));
  }
}

double log_sum_exp(const float* row, int64_t n, double factor, const uint8_t* mask) {
  double max = -1e300, sum = 0;
  for (int64_t j = 0; j < n; ++j)
    if (!mask || mask[j]) max = std::max(max, factor * row[j]);
  for (int64_t j = 0; j < n; ++j)
    if (!mask || mask[j]) sum += std::exp(factor * row[j] - max);
  return max + std::log(sum);
}

}  // namespace

TEST_CASE("losses over rows against double precision") {
  for (Device device : available_devices()) {
    const int64_t rows = 4;
    for (int64_t n : {1, 5, 16, 100, 4096})
      for (float factor : {1.0f, 1.0f / 0.07f, 100.0f}) {
        CAPTURE(n);
        CAPTURE(factor);
        const auto scores = random_floats(rows * n, 19);
        const Shape shape{rows, n};
        std::vector<uint8_t> mask;
        for (int32_t x : random_indices(rows * n, 10, 20)) mask.push_back(x == 0 ? 1 : 0);
        for (int64_t i = 0; i < rows; ++i) mask[i * n] = 1;
        const Tensor marks = Tensor::from(mask, shape, device), x = Tensor::from(scores, shape, device);
        const LogSums sums = ops::log_sums(x, marks, factor);
        check_rows(
            {ops::subtract(sums.all, sums.marked), ops::log_sums_gradient(x, marks, factor, sums)}, scores,
            factor,
            [&](int64_t i, const float* s) {
              return log_sum_exp(s, n, factor, nullptr) - log_sum_exp(s, n, factor, &mask[i * n]);
            },
            [&](int64_t i, const float* s, int64_t j) {
              const double marked =
                  mask[i * n + j] ? std::exp(factor * s[j] - log_sum_exp(s, n, factor, &mask[i * n])) : 0.0;
              return factor * (std::exp(factor * s[j] - log_sum_exp(s, n, factor, nullptr)) - marked);
            });

        const auto target = random_indices(rows, n, 21);
        const auto entropy = ops::softmax_cross_entropy(Tensor::from(scores, shape, device),
                                                        Tensor::from(target, {rows}, device), factor);
        check_rows(
            entropy, scores, factor,
            [&](int64_t i, const float* s) {
              return log_sum_exp(s, n, factor, nullptr) - factor * s[target[i]];
            },
            [&](int64_t i, const float* s, int64_t j) {
              return factor *
                     (std::exp(factor * s[j] - log_sum_exp(s, n, factor, nullptr)) - (j == target[i]));
            });

        const float offset = -2.5f;
        const auto logistic = ops::logistic_loss(Tensor::from(scores, shape, device), factor, offset);
        check_rows(
            logistic, scores, factor,
            [&](int64_t, const float* s) {
              double sum = 0;
              for (int64_t j = 0; j < n; ++j) {
                const double l = (j == 0 ? -1 : 1) * (static_cast<double>(factor) * s[j] + offset);
                sum += std::max(l, 0.0) + std::log1p(std::exp(-std::abs(l)));
              }
              return sum;
            },
            [&](int64_t, const float* s, int64_t j) {
              const double l = static_cast<double>(factor) * s[j] + offset;
              return factor * (1.0 / (1.0 + std::exp(-l)) - (j == 0));
            });
      }
  }
}

TEST_CASE("losses over rows: extremes") {
  for (Device device : available_devices()) {
    // The marked scores lie so far below the others that exp(difference) is 0 in f32: the loss
    // is the difference.
    const float infinity = std::numeric_limits<float>::infinity();
    const Tensor x = Tensor::from(std::vector<float>{1000.0f, 0.0f, 0.0f, -infinity}, {1, 4}, device),
                 marks = Tensor::from(std::vector<uint8_t>{0, 1, 1, 1}, {1, 4}, device);
    const LogSums far = ops::log_sums(x, marks, 1.0f);
    CHECK(far.all.item() == 1000.0f);
    CHECK(far.marked.item() == doctest::Approx(std::log(2.0)));
    const auto gradient = ops::log_sums_gradient(x, marks, 1.0f, far).to_vector<float>();
    const double expected[] = {1.0, -0.5, -0.5, 0.0};
    for (size_t j = 0; j < 4; ++j) CHECK(gradient[j] == doctest::Approx(expected[j]).epsilon(1e-6));
    CHECK(gradient[3] == 0.0f);
    // Of nothing: no marked column, no column, and nothing but scores of -infinity.
    const Tensor none = Tensor::zeros({1, 4}, DType::u8, device);
    CHECK(ops::log_sums(x, none, 1.0f).marked.item() == -infinity);
    CHECK(ops::log_sums(Tensor({1, 0}, DType::f32, device), {}, 1.0f).all.item() == -infinity);
    CHECK(ops::log_sums(Tensor::full({1, 4}, -infinity, DType::f32, device), marks, 1.0f).marked.item() ==
          -infinity);

    Tensor scores = Tensor::from(std::vector<float>{0.0f, 2.0f}, {1, 2}, device);
    const auto entropy =
        ops::softmax_cross_entropy(scores, Tensor::from(std::vector<int32_t>{0}, {1}, device), 50.0f);
    CHECK(entropy.loss.item() == doctest::Approx(100.0));
    CHECK(entropy.gradient.raw() == scores.raw());

    const auto nan =
        ops::logistic_loss(Tensor::from(std::vector<float>{0.0f, NAN}, {1, 2}, device), 1.0f, 0.0f);
    CHECK(std::isnan(nan.loss.item()));
  }
}

TEST_CASE("nearest_centroid: exact, with ties to the lower label, any number of threads") {
  for (Device device : available_devices()) {
    for (const auto& [n, depth, m] : {std::tuple<int64_t, int64_t, int64_t>{1, 1, 1},
                                      {50, 3, 50},
                                      {600, 24, 1},
                                      {400, 16, 60},
                                      {700, 37, 49}}) {
      auto centroids = coarse_floats(m * depth, 22);
      for (int64_t c = m / 2; c < m; ++c)  // the second half are copies of the first: all ties
        std::copy_n(&centroids[(c - m / 2) * depth], depth, &centroids[c * depth]);
      const auto x = coarse_floats(n * depth, 23);
      const Tensor points = Tensor::from(x, {n, depth}, device),
                   centers = Tensor::from(centroids, {m, depth}, device);
      check_any_threads([&] {
        const Assignment found = ops::nearest_centroid(points, centers);
        return std::pair(found.labels.to_vector<int32_t>(), found.distances.to_vector<float>());
      });
      const Assignment found = ops::nearest_centroid(points, centers);
      const auto labels = found.labels.to_vector<int32_t>();
      const auto distances = found.distances.to_vector<float>();
      for (int64_t i = 0; i < n; ++i) {
        std::vector<double> negative;
        for (int64_t c = 0; c < m; ++c) {
          double sum = 0;
          for (int64_t d = 0; d < depth; ++d) {
            const double difference = static_cast<double>(x[i * depth + d]) - centroids[c * depth + d];
            sum -= difference * difference;
          }
          negative.push_back(sum);
        }
        CHECK(labels[i] == best_first(negative, 1)[0]);
        CHECK(distances[i] == -negative[labels[i]]);  // exact: small multiples of 1/64
      }
    }
  }
}

TEST_CASE("sum_by_label and count_labels: unused labels, any number of threads") {
  for (Device device : available_devices()) {
    const int64_t n = 5000, depth = 19, m = 40;
    const auto x = random_floats(n * depth, 24);
    auto labels = random_indices(n, m - 3, 25);  // the last three are not used
    const Tensor points = Tensor::from(x, {n, depth}, device), label = Tensor::from(labels, {n}, device);
    check_any_threads([&] {
      return std::pair(ops::sum_by_label(points, label, m).to_vector<float>(),
                       ops::count_labels(label, m).to_vector<int32_t>());
    });
    const auto found = ops::sum_by_label(points, label, m).to_vector<float>();
    std::vector<double> sums(static_cast<size_t>(m * depth), 0.0);
    std::vector<int32_t> expected(static_cast<size_t>(m), 0);
    for (int64_t i = 0; i < n; ++i) {
      ++expected[labels[i]];
      for (int64_t d = 0; d < depth; ++d) sums[labels[i] * depth + d] += x[i * depth + d];
    }
    CHECK(ops::count_labels(label, m).to_vector<int32_t>() == expected);
    for (int64_t i = 0; i < m * depth; ++i) {  // each of its additions rounds a sum of at most that size
      const double terms = expected[i / depth];
      CHECK(std::abs(found[i] - sums[i]) <= 0x1p-24 * terms * terms);
    }
    CHECK_THROWS_WITH_AS(ops::sum_by_label(points, label, 5).to_vector<float>(),
                         doctest::Contains("sum_by_label: index"), Error);
    CHECK_THROWS_WITH_AS(ops::count_labels(label, 5).to_vector<int32_t>(),
                         doctest::Contains("count_labels: index"), Error);
  }
}

TEST_CASE("ops on tables: nothing to do") {
  for (Device device : available_devices()) {
    const Tensor table = Tensor::full({10, 4}, 1.0f, DType::f32, device), none({0, 4}, DType::f32, device),
                 no_rows({0}, DType::i32, device), no_columns({2, 0}, DType::i32, device);
    CHECK(ops::nearest_rows(none, table, 3).indices.shape() == Shape{0, 3});
    CHECK(ops::gather_rows(table, no_rows).shape() == Shape{0, 4});
    CHECK(ops::gather_dot(table.rows(0, 2), table, no_columns).shape() == Shape{2, 0});
    CHECK(ops::gather_sum(Tensor({2, 0}, DType::f32, device), no_columns, table).to_vector<float>() ==
          std::vector<float>(8, 0.0f));
    CHECK(ops::nearest_centroid(none, table).labels.numel() == 0);
    CHECK(ops::sum_by_label(none, no_rows, 2).to_vector<float>() == std::vector<float>(8, 0.0f));
    const Tensor flat({3, 0}, DType::f32, device),
        index = Tensor::from(std::vector<int32_t>{2, 0}, {1, 2}, device);  // vectors of no numbers
    CHECK(ops::gather_dot(flat.rows(0, 1), flat, index).to_vector<float>() == std::vector<float>{0.0f, 0.0f});
  }
}

TEST_SUITE_END();

TEST_CASE("ops on tables name the operand that does not fit") {
  const Tensor table = Tensor::full({10, 4}, 0.0f), queries = Tensor::full({2, 5}, 0.0f);
  CHECK_THROWS_WITH_AS(ops::nearest_rows(queries, table, 3),
                       "nearest_rows: queries has shape [2, 5], expected [any, 4]", Error);
  CHECK_THROWS_WITH_AS(ops::nearest_rows(table, table, 11), doctest::Contains("k is 11, expected 1 to 10"),
                       Error);
  CHECK_THROWS_WITH_AS(ops::nearest_centroid(table, queries), doctest::Contains("centroids"), Error);
  CHECK_THROWS_WITH_AS(ops::gather_rows(table, table), doctest::Contains("expected i32"), Error);
  CHECK_THROWS_WITH_AS(
      ops::ema_update_rows(table, Tensor::from(std::vector<int32_t>{0}, {1}), table.rows(0, 1), 1.5f),
      doctest::Contains("keep is 1.5"), Error);
}
