// Principal components of rows that come in blocks, beside those of all rows at once.
#include <doctest/doctest.h>

#include <cmath>

#include "evaluation/pca.h"
#include "tensor/ops.h"
#include "tests/temporary_folder.h"

using namespace la;

namespace {

/// Rows [n, dim] that vary by 2^-k along the k-th of `rank` orthonormal directions, around a mean far from 0.
Tensor rows_of_rank(int64_t n, int64_t dim, int64_t rank, uint64_t seed) {
  Tensor rows({n, dim});
  const auto noise = ops::random_normal({n, rank}, {.seed = seed}).to_vector<float>();
  for (int64_t i = 0; i < n; ++i)
    for (int64_t d = 0; d < dim; ++d) {
      double value = 3 + 0.1 * static_cast<double>(d);
      for (int64_t k = 0; k < rank; ++k)  // cosines are orthogonal
        value += noise[static_cast<size_t>(i * rank + k)] * std::pow(0.5, k) *
                 std::sqrt(2.0 / static_cast<double>(dim)) *
                 std::cos(M_PI * (static_cast<double>(d) + 0.5) * static_cast<double>(k + 1) /
                          static_cast<double>(dim));
      rows.data<float>()[i * dim + d] = static_cast<float>(value);
    }
  return rows;
}

/// The variance of the rows along a direction.
double variance_along(const Tensor& rows, const float* direction) {
  const int64_t n = rows.size(0), dim = rows.size(1);
  std::vector<double> along(static_cast<size_t>(n));
  double mean = 0;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t d = 0; d < dim; ++d)
      along[static_cast<size_t>(i)] += static_cast<double>(rows.data<float>()[i * dim + d]) * direction[d];
    mean += along[static_cast<size_t>(i)] / static_cast<double>(n);
  }
  double sum = 0;
  for (const double x : along) sum += (x - mean) * (x - mean);
  return sum / static_cast<double>(n - 1);
}

PrincipalComponents components_of(const Tensor& rows, int64_t components, int64_t at_once) {
  StreamingPca pca(rows.size(1), components);
  for (int64_t begin = 0; begin < rows.size(0); begin += at_once)
    pca.add(rows.rows(begin, std::min(begin + at_once, rows.size(0))));
  CHECK(pca.rows() == rows.size(0));
  return pca.result();
}

}  // namespace

TEST_CASE("PCA in blocks finds the directions of rows that have no more of them") {
  constexpr int64_t n = 700, dim = 40, rank = 5;  // three blocks of 256
  const Tensor rows = rows_of_rank(n, dim, rank, 3);
  const PrincipalComponents pca = components_of(rows, rank, 100);
  const float* c = pca.components.data<float>();
  double total = 0, all = 0;
  for (int64_t k = 0; k < rank; ++k) {
    // f32 sums of squares of up to 700 rows: the smallest variance is 1/256 of the largest.
    CHECK(pca.variances.data<float>()[k] == doctest::Approx(variance_along(rows, c + k * dim)).epsilon(1e-3));
    if (k > 0) CHECK(pca.variances.data<float>()[k] < pca.variances.data<float>()[k - 1]);
    total += pca.variances.data<float>()[k];
    for (int64_t j = 0; j <= k; ++j) {
      double dot = 0;
      for (int64_t d = 0; d < dim; ++d) dot += static_cast<double>(c[k * dim + d]) * c[j * dim + d];
      CHECK(std::abs(dot - (j == k ? 1 : 0)) < 1e-3);
    }
  }
  for (int64_t d = 0; d < dim; ++d) {
    std::vector<float> axis(dim);
    axis[static_cast<size_t>(d)] = 1;
    all += variance_along(rows, axis.data());
    double mean = 0;
    for (int64_t i = 0; i < n; ++i) mean += rows.data<float>()[i * dim + d] / static_cast<double>(n);
    CHECK(pca.mean.data<float>()[d] == doctest::Approx(mean).epsilon(1e-6));
  }
  CHECK(total == doctest::Approx(all).epsilon(1e-3));  // nothing is left out

  // The coordinates give the rows back.
  const auto coordinates = pca.project(rows).to_vector<float>();
  for (int64_t i = 0; i < n; i += 50)
    for (int64_t d = 0; d < dim; ++d) {
      double value = pca.mean.data<float>()[d];
      for (int64_t k = 0; k < rank; ++k)
        value += static_cast<double>(coordinates[static_cast<size_t>(i * rank + k)]) * c[k * dim + d];
      CHECK(std::abs(value - rows.data<float>()[i * dim + d]) < 1e-3);
    }
}

TEST_CASE("PCA that keeps fewer directions than there are finds almost all that they can hold") {
  const Tensor rows = rows_of_rank(1200, 40, 8, 5);
  const PrincipalComponents some = components_of(rows, 3, 77);
  for (int64_t k = 0; k < 3; ++k) {
    const double held = variance_along(rows, some.components.data<float>() + k * 40);
    const double best =
        std::pow(0.25, k);  // of the population; 1200 rows know it to some 4 %, six times that
    CHECK(held == doctest::Approx(best).epsilon(0.25));
    CHECK(some.variances.data<float>()[k] == doctest::Approx(held).epsilon(0.01));
  }
}

TEST_CASE("PCA: files, and what is wrong") {
  const TemporaryFolder folder;
  const Tensor rows = rows_of_rank(20, 6, 2, 7);
  const PrincipalComponents pca = components_of(rows, 2, 20);
  save_components(folder.file("pca.safetensors"), pca);
  const PrincipalComponents read = load_components(folder.file("pca.safetensors"));
  CHECK(read.project(rows).to_vector<float>() == pca.project(rows).to_vector<float>());
  CHECK_THROWS_WITH_AS(StreamingPca(6, 7), doctest::Contains("7 components of 6 dimensions"), Error);
  StreamingPca few(6, 3);
  few.add(rows.rows(0, 3));
  CHECK_THROWS_WITH_AS(few.result(), doctest::Contains("3 components of 3 rows"), Error);
  CHECK_THROWS_WITH_AS(few.add(Tensor({2, 5})), doctest::Contains("expected f32 [N, 6]"), Error);
}
