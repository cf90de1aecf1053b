#include "evaluation/pca.h"

#include <algorithm>
#include <cmath>
#include <eigen3/Eigen/Eigenvalues>

#include "tensor/error.h"
#include "tensor/format.h"
#include "tensor/io/safetensors.h"
#include "tensor/ops.h"

namespace la {
namespace {

constexpr int64_t smallest_block = 256;

std::vector<double> mean_of_rows(const Tensor& x) {
  const int64_t rows = x.size(0), dim = x.size(1);
  std::vector<double> mean(static_cast<size_t>(dim));
  for (int64_t i = 0; i < rows; ++i) {
    const float* const row = x.data<float>() + i * dim;
    for (int64_t d = 0; d < dim; ++d) mean[static_cast<size_t>(d)] += row[d];
  }
  for (double& m : mean) m /= static_cast<double>(std::max<int64_t>(rows, 1));
  return mean;
}

/// The rows of m [R, D] turned so that they are orthogonal, the longest first; of these the first `most`. Sums of
/// squares along any direction stay, but for what is left out.
Tensor longest_directions(const Tensor& m, int64_t most) {
  const int64_t rows = m.size(0), kept = std::min(most, rows);
  const Tensor products = ops::matmul(m, m, {.transpose_b = true});  // [R, R]
  const Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>> gram(
      products.data<float>(), rows, rows);
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(gram.cast<double>());
  check(solver.info() == Eigen::Success, "PCA: the eigenvalues of {} rows were not found", rows);
  const Tensor turn({kept, rows});
  for (int64_t i = 0; i < kept; ++i)  // eigenvalues come in ascending order
    for (int64_t j = 0; j < rows; ++j)
      turn.data<float>()[i * rows + j] = static_cast<float>(solver.eigenvectors()(j, rows - 1 - i));
  return ops::matmul(turn, m);
}

}  // namespace

Tensor PrincipalComponents::project(const Tensor& x) const {
  const Device device = x.device();
  // (x - mean) C^T = x C^T - mean C^T
  const Tensor c = components.to(device), m = mean.to(device).reshape({1, -1});
  const Tensor offset = ops::scale(ops::matmul(m, c, {.transpose_b = true}), -1.0f);
  return ops::add_bias(ops::matmul(x, c, {.transpose_b = true}), offset.reshape({-1}));
}

void save_components(const std::string& path, const PrincipalComponents& pca) {
  write_safetensors(path, {{"mean", pca.mean}, {"components", pca.components}, {"variances", pca.variances}});
}

PrincipalComponents load_components(const std::string& path) {
  const SafetensorsFile file = read_safetensors(path);
  PrincipalComponents pca{file.at("mean"), file.at("components"), file.at("variances")};
  check(pca.components.rank() == 2 && pca.mean.shape() == Shape{pca.components.size(1)} &&
            pca.variances.shape() == Shape{pca.components.size(0)},
        "{}: components of shape {}, a mean of {} and variances of {}", path, pca.components.shape(),
        pca.mean.shape(), pca.variances.shape());
  return pca;
}

StreamingPca::StreamingPca(int64_t dim, int64_t components)
    : dim_(dim),
      components_(components),
      block_({std::max(2 * components, smallest_block), dim}),
      mean_(static_cast<size_t>(dim)) {
  check(components >= 1 && components <= dim, "PCA: {} components of {} dimensions; expected 1 to {}",
        components, dim, dim);
}

void StreamingPca::add(const Tensor& rows) {
  check(rows.rank() == 2 && rows.size(1) == dim_ && rows.dtype() == DType::f32,
        "PCA: rows are {} {}, expected f32 [N, {}]", rows.dtype(), rows.shape(), dim_);
  for (int64_t at = 0; at < rows.size(0);) {
    const int64_t some = std::min(rows.size(0) - at, block_.size(0) - filled_);
    ops::copy_into(block_.rows(filled_, filled_ + some), rows.rows(at, at + some));
    at += some;
    filled_ += some;
    if (filled_ == block_.size(0)) take_in_block();
  }
}

// The scatter of all rows around their mean is that of the rows before around theirs, that of the block around its
// own, and n b / (n + b) of the square of the means' difference.
void StreamingPca::take_in_block() {
  if (filled_ == 0) return;
  const Tensor block = block_.rows(0, filled_);
  const std::vector<double> mean = mean_of_rows(block);
  const int64_t known = directions_.defined() ? directions_.size(0) : 0;
  const Tensor all({known + filled_ + (count_ > 0 ? 1 : 0), dim_});
  if (known > 0) ops::copy_into(all.rows(0, known), directions_);
  float* to = all.data<float>() + known * dim_;
  const float* from = block.data<float>();
  for (int64_t i = 0; i < filled_ * dim_; ++i)
    to[i] = static_cast<float>(from[i] - mean[static_cast<size_t>(i % dim_)]);
  const auto n = static_cast<double>(count_), b = static_cast<double>(filled_);
  if (count_ > 0) {
    float* const difference = to + filled_ * dim_;
    for (size_t d = 0; d < mean.size(); ++d)
      difference[d] = static_cast<float>(std::sqrt(n * b / (n + b)) * (mean_[d] - mean[d]));
  }
  directions_ = longest_directions(all, components_);
  for (size_t d = 0; d < mean.size(); ++d) mean_[d] += (mean[d] - mean_[d]) * b / (n + b);
  count_ += filled_;
  filled_ = 0;
}

PrincipalComponents StreamingPca::result() {
  take_in_block();
  check(count_ > components_, "PCA: {} components of {} rows; expected more rows than components",
        components_, count_);
  const Normalized unit = ops::l2_normalize(directions_);
  const Tensor variances({components_});
  for (int64_t k = 0; k < components_; ++k) {
    const double length = unit.norm.data<float>()[k];
    variances.data<float>()[k] = static_cast<float>(length * length / static_cast<double>(count_ - 1));
  }
  const std::vector<float> mean(mean_.begin(), mean_.end());
  return {Tensor::from(mean, {dim_}), unit.y, variances};
}

}  // namespace la
