#include "la/losses.h"

#include <cmath>

#include "tensor/ops.h"

namespace la {
namespace {

/// The mean of the rows' losses as a function of v, whose gradient is that of the mean with respect to the
/// scores, pulled back to v by `pull_back`.
template <class PullBack>
Variable mean_over_batch(const char* name, const Variable& v, const RowLosses& rows, PullBack pull_back) {
  const float share = 1.0f / static_cast<float>(v.shape()[0]);
  const Tensor dv = ops::scale(pull_back(rows.gradient), share);
  return record(name, ops::mean(rows.loss), {v},
                [dv](const Tensor& dy) -> Gradients { return {ops::scale_by(dv, dy)}; });
}

/// For scores s_ij = v_i . v-bar_{indices_ij}: d/dv_i = sum_j (d/ds_ij) v-bar_{indices_ij}. Indices of as many
/// rows as there are, in ascending order, are those of the whole bank, whose sum is a matrix product.
auto through_rows_of(const MemoryBank& bank, const Tensor& indices) {
  return [table = bank.vectors(), indices](const Tensor& gradient) {
    const bool whole_bank = indices.size(1) == table.size(0);
    return whole_bank ? ops::matmul(gradient, table) : ops::gather_sum(gradient, indices, table);
  };
}

}  // namespace

// softmax_ratio_loss gives a row's loss and its gradient (p_j - q_j) / tau with respect to the scores;
// through_rows_of sums the bank's rows with these weights.
Variable local_aggregation_loss(const Variable& v, const MemoryBank& bank, const TopK& background,
                                const Tensor& close, float temperature) {
  const RowLosses rows = ops::softmax_ratio_loss(background.values, close, 1.0f / temperature);
  return mean_over_batch("local_aggregation_loss", v, rows, through_rows_of(bank, background.indices));
}

// The gradient with respect to the scores is (P(j | v_i) - [j = i]) / tau.
Variable instance_softmax_loss(const Variable& v, const MemoryBank& bank, const Tensor& indices,
                               float temperature) {
  const Tensor scores = ops::matmul(v.value(), bank.vectors(), {.transpose_b = true});  // [B, N]
  const RowLosses rows = ops::softmax_cross_entropy(scores, indices, 1.0f / temperature);
  return mean_over_batch("instance_softmax_loss", v, rows, [table = bank.vectors()](const Tensor& gradient) {
    return ops::matmul(gradient, table);
  });
}

// h is the sigmoid of log P(j | v) - log(m / N) = s_j / tau - log Z - log(m / N), so that the loss is a
// logistic regression, whose gradient with respect to the scores is (h(j, v_i) - [j = i]) / tau.
Variable instance_nce_loss(const Variable& v, const MemoryBank& bank, const Tensor& candidates, double z,
                           float temperature) {
  const Tensor scores = ops::gather_dot(v.value(), bank.vectors(), candidates);
  const double m = static_cast<double>(candidates.size(1) - 1), n = static_cast<double>(bank.size());
  const auto offset = static_cast<float>(-std::log(z) - std::log(m / n));
  const RowLosses rows = ops::logistic_loss(scores, 1.0f / temperature, offset);
  return mean_over_batch("instance_nce_loss", v, rows,
                         [table = bank.vectors(), candidates](const Tensor& gradient) {
                           return ops::gather_sum(gradient, candidates, table);
                         });
}

Tensor nce_candidates(const Tensor& indices, int64_t m, int64_t bank_size, uint64_t seed,
                      const Tensor& step) {
  const Tensor candidates = ops::random_below({indices.numel(), 1 + m}, bank_size,
                                              {.seed = seed, .stream = RandomStream::noise_samples}, step);
  ops::set_column(candidates, 0, indices);
  return candidates;
}

double original_nce_constant(int64_t bank_size) {
  return 2876934.2 / 1281167.0 * static_cast<double>(bank_size);
}

double estimate_nce_constant(const Tensor& v, const MemoryBank& bank, const Tensor& candidates,
                             float temperature) {
  const std::vector<float> scores = ops::gather_dot(v, bank.vectors(), candidates).to_vector<float>();
  const auto row = static_cast<size_t>(candidates.size(1));
  double sum = 0;
  size_t count = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    if (i % row == 0) continue;  // the picture itself
    sum += std::exp(static_cast<double>(scores[i]) / temperature);
    ++count;
  }
  return static_cast<double>(bank.size()) * sum / static_cast<double>(count);
}

}  // namespace la
