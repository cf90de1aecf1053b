#include "evaluation/health.h"

#include <algorithm>
#include <cmath>
#include <eigen3/Eigen/Eigenvalues>

#include "evaluation/sample.h"
#include "tensor/error.h"

namespace la {
namespace {

using FloatRows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// sum_i v_i v_i^T, of which the lower triangle is filled, and sum_i v_i. In double precision, for a singular value is the root
/// of an eigenvalue of the first: an error of 1e-7 of the largest eigenvalue would be 3e-4 of the largest singular value.
struct Sums {
  Eigen::MatrixXd products;  // [D, D]
  Eigen::VectorXd vectors;   // [D]
};

Sums sums_of(const ShardedRows& x, const std::vector<int32_t>& numbers) {
  constexpr int64_t block = 4096;  // vectors that are there twice for a moment
  const int64_t dim = x.own.size(1), n = std::ssize(numbers);
  Sums sums{Eigen::MatrixXd::Zero(dim, dim), Eigen::VectorXd::Zero(dim)};
  for (int64_t begin = 0; begin < n; begin += block) {
    const std::vector<int32_t> some(numbers.begin() + begin, numbers.begin() + std::min(begin + block, n));
    const Tensor rows = x.gather("vectors of the bank", some).to(Device::cpu());
    const Eigen::MatrixXd v =
        Eigen::Map<const FloatRows>(rows.data<float>(), rows.size(0), dim).cast<double>();
    sums.products.selfadjointView<Eigen::Lower>().rankUpdate(v.transpose());
    sums.vectors += v.colwise().sum().transpose();
  }
  return sums;
}

/// exp of the entropy of p_k = sigma_k / sum_j sigma_j.
double effective_rank(const Eigen::MatrixXd& products) {
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(products, Eigen::EigenvaluesOnly);
  const Eigen::VectorXd sigma = solver.eigenvalues().cwiseMax(0.0).cwiseSqrt();  // 0 may be rounded to less
  const double sum = sigma.sum();
  double entropy = 0;
  for (const double s : sigma)
    if (s > 0) entropy -= s / sum * std::log(s / sum);
  return sum > 0 ? std::exp(entropy) : 0;
}

/// -sum_c p_c log p_c / log m; 1 for a single cluster.
double normalized_entropy(const std::vector<int32_t>& sizes) {
  if (sizes.size() == 1) return 1;
  double n = 0, entropy = 0;
  for (const int32_t size : sizes) n += size;
  for (const int32_t size : sizes)
    if (size > 0) entropy -= size / n * std::log(size / n);
  return entropy / std::log(static_cast<double>(sizes.size()));
}

}  // namespace

Spread spread_of(const ShardedRows& vectors) {
  const std::vector<int32_t> numbers = evenly_spread(vectors.n, most_spread_vectors);
  const Sums sums = sums_of(vectors, numbers);
  const auto n = static_cast<double>(numbers.size());
  const double pairs = std::max(n * (n - 1), 1.0);
  return {effective_rank(sums.products), (sums.vectors.squaredNorm() - sums.products.trace()) / pairs};
}

ClusterSizes cluster_sizes(const std::vector<std::vector<int32_t>>& sizes) {
  ClusterSizes result{.entropy = 0};
  std::vector<int32_t> all;
  for (const std::vector<int32_t>& of_clustering : sizes) {
    all.insert(all.end(), of_clustering.begin(), of_clustering.end());
    result.entropy += normalized_entropy(of_clustering) / static_cast<double>(sizes.size());
  }
  check(!all.empty(), "sizes of clusters, of which there are none");
  std::sort(all.begin(), all.end());
  result.smallest = all.front();
  result.median = all[(all.size() - 1) / 2];
  result.largest = all.back();
  return result;
}

double moved_share(const Tensor& before, const Tensor& now) {
  check(before.shape() == now.shape() && now.rank() == 2 && now.size(0) > 0,
        "vectors of shape {} that were of shape {}", now.shape(), before.shape());
  const Tensor a = before.to(Device::cpu()), b = now.to(Device::cpu());
  const int64_t n = now.size(0), dim = now.size(1);
  int64_t moved = 0;
  for (int64_t i = 0; i < n; ++i) {
    double similarity = 0;
    for (int64_t d = i * dim; d < (i + 1) * dim; ++d)
      similarity += static_cast<double>(a.data<float>()[d]) * b.data<float>()[d];
    moved += similarity < moved_similarity ? 1 : 0;
  }
  return static_cast<double>(moved) / static_cast<double>(n);
}

}  // namespace la
