#include "la/losses.h"

#include <cmath>

#include "tensor/ops.h"

namespace la {
namespace {

/// The mean of the rows' losses [B] as a function of v, the rows of this process; dv_of_shards: for each shard of the bank that
/// this process has, what its members add to the rows' gradients, [B, D].
Variable mean_over_batch(const char* name, const Variable& v, const Tensor& losses,
                         std::vector<Tensor> dv_of_shards, const MemoryBank& bank) {
  const float share = 1.0f / static_cast<float>(losses.size(0));
  const Tensor dv =
      ops::scale(bank.shards().sum_own_rows("gradients of embeddings", std::move(dv_of_shards)), share);
  return record(name, ops::mean(losses), {v},
                [dv](const Tensor& dy) -> Gradients { return {ops::scale_by(dv, dy)}; });
}

/// log (exp(x_1) + exp(x_2) + ...) over the shards, of x [B] of each shard of this process: log-sums of parts of the bank
/// become that of the whole. The largest is taken out first, so that nothing overflows.
Tensor log_sum_over_shards(const MemoryBank& bank, const std::vector<Tensor>& parts) {
  const int64_t shards = bank.shards().count(), rows = parts[0].size(0);
  if (shards == 1) return parts[0];
  const Tensor own = ops::concatenate(parts, 0).reshape({bank.shards().own(), rows});
  const Tensor x = bank.shards().gather_shards("sums over neighbors", own);
  const Tensor largest = ops::max(x, 0).values;
  const Tensor sum = ops::sum(ops::exp(ops::subtract(x, ops::broadcast(largest, 0, shards))), 0);
  return ops::add(largest, ops::log(sum));
}

/// For scores s_ij = v_i . v-bar_{indices_ij}: d/dv_i = sum_j (d/ds_ij) v-bar_{indices_ij}. Indices of as many
/// rows as there are, in ascending order, are those of the whole bank, whose sum is a matrix product.
Tensor through_rows_of(const Tensor& vectors, const Tensor& indices, const Tensor& gradient) {
  const bool all_rows = indices.size(1) == vectors.size(0) && indices.size(1) > 0;
  return all_rows ? ops::matmul(gradient, vectors) : ops::gather_sum(gradient, indices, vectors);
}

}  // namespace

// log_sums adds up exp(s_j / tau) over B_i, and over C_i and B_i; the derivative of the difference of the logarithms is
// (p_j - q_j) / tau, and through_rows_of sums the bank's rows with these weights.
Variable local_aggregation_loss(const Variable& v, const MemoryBank& bank, const Background& background,
                                const CloseMasks& close, float temperature) {
  std::vector<Tensor> in_background, in_close, dv;
  for (size_t p = 0; p < background.size(); ++p) {
    const LogSums sums = ops::log_sums(background[p].values, close[p], 1.0f / temperature);
    in_background.push_back(sums.all);
    in_close.push_back(sums.marked);
  }
  const LogSums sums{log_sum_over_shards(bank, in_background), log_sum_over_shards(bank, in_close)};
  for (size_t p = 0; p < background.size(); ++p) {
    const auto& [scores, indices] = background[p];
    const Tensor weights = ops::log_sums_gradient(scores, close[p], 1.0f / temperature, sums);
    dv.push_back(through_rows_of(bank.rows().part(static_cast<int64_t>(p)), indices, weights));
  }
  return mean_over_batch("local_aggregation_loss", v, ops::subtract(sums.all, sums.marked), dv, bank);
}

// The derivative with respect to the scores is (P(j | v_i) - [j = i]) / tau.
Variable instance_softmax_loss(const Variable& v, const Tensor& all, const MemoryBank& bank,
                               const Tensor& indices, float temperature) {
  const int64_t batch = all.size(0);
  std::vector<Tensor> rows, scores, in_bank, of_itself, dv;  // rows: [B, 1], of the pictures themselves
  for (int64_t p = 0; p < bank.shards().own(); ++p) {
    const Tensor vectors = bank.rows().part(p);
    rows.push_back(bank.part_rows_of(indices, p).reshape({batch, 1}));
    scores.push_back(ops::matmul(all, vectors, {.transpose_b = true}));  // [B, N]
    in_bank.push_back(ops::log_sums(scores.back(), {}, 1.0f / temperature).all);
    of_itself.push_back(ops::gather_dot(all, vectors, rows.back()).reshape({batch}));
  }
  const Tensor sum = log_sum_over_shards(bank, in_bank);
  // One shard has the picture, and the others -infinity.
  const Tensor own = ops::scale(log_sum_over_shards(bank, of_itself), 1.0f / temperature);
  const Tensor less = Tensor::full({batch, 1}, -1.0f / temperature, DType::f32, all.device());
  for (size_t p = 0; p < scores.size(); ++p) {
    const Tensor vectors = bank.rows().part(static_cast<int64_t>(p));
    const Tensor weights = ops::log_sums_gradient(scores[p], {}, 1.0f / temperature, {sum, {}});
    dv.push_back(ops::matmul(weights, vectors));
    ops::add_in_place(dv.back(), ops::gather_sum(less, rows[p], vectors));
  }
  return mean_over_batch("instance_softmax_loss", v, ops::subtract(sum, own), dv, bank);
}

// h is the sigmoid of log P(j | v) - log(m / N) = s_j / tau - log Z - log(m / N), so that the loss is a
// logistic regression, whose derivative with respect to the scores is (h(j, v_i) - [j = i]) / tau.
Variable instance_nce_loss(const Variable& v, const Tensor& all, const MemoryBank& bank,
                           const Tensor& candidates, double z, float temperature) {
  const double m = static_cast<double>(candidates.size(1) - 1), n = static_cast<double>(bank.size());
  const auto offset = static_cast<float>(-std::log(z) - std::log(m / n));
  std::vector<Tensor> losses, dv;
  for (int64_t p = 0; p < bank.shards().own(); ++p) {
    const Tensor vectors = bank.rows().part(p), rows = bank.part_rows_of(candidates, p);
    const RowLosses of_shard =
        ops::logistic_loss(ops::gather_dot(all, vectors, rows), 1.0f / temperature, offset);
    losses.push_back(of_shard.loss);
    dv.push_back(ops::gather_sum(of_shard.gradient, rows, vectors));
  }
  return mean_over_batch("instance_nce_loss", v, bank.shards().sum("losses", losses), dv, bank);
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
  const auto row = static_cast<size_t>(candidates.size(1));
  std::vector<Tensor> sums;
  for (int64_t p = 0; p < bank.shards().own(); ++p) {
    const std::vector<float> scores =
        ops::gather_dot(v, bank.rows().part(p), bank.part_rows_of(candidates, p)).to_vector<float>();
    double sum = 0;
    for (size_t i = 0; i < scores.size(); ++i)
      if (i % row != 0)
        sum += std::exp(static_cast<double>(scores[i]) / temperature);  // the first is the picture itself
    sums.push_back(Tensor::full({1}, static_cast<float>(sum)));
  }
  const double count = static_cast<double>(candidates.numel() - candidates.size(0));
  return static_cast<double>(bank.size()) * bank.shards().sum("the constant of nce", sums).item() / count;
}

}  // namespace la
