// Losses over rows of scores on the GPU: one block for each row, which reads it from memory once for its
// maximum, and again for its sums and its gradient, while it lies in the cache (4096 scores are 16 KiB). The
// formulas are those of the CPU (tensor/cpu/losses.cpp).
#include <cmath>
#include <limits>

#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/kernel.h"

namespace la {
namespace {

using namespace cuda;

constexpr int threads = 256;
constexpr float infinity = std::numeric_limits<float>::infinity();

/// f(column) for each column of this thread; together the threads take them all.
template <class F>
__device__ void for_each_column(int64_t n, F f) {
  for (int64_t j = threadIdx.x; j < n; j += threads) f(j);
}

/// With l_j = factor s_j:  A = sum_j exp(l_j - max),  M = sum_{j marked} w_j exp(l_j - max marked), each with its
/// own maximum, so that none underflows;  loss = (max + log A) - (max marked + log M),
/// d loss / d s_j = factor (exp(l_j - max) / A - w_j exp(l_j - max marked) / M), where the weights w_j are the
/// marks, usually 0 and 1.
__global__ void softmax_ratio_loss_kernel(int64_t n, const float* scores, const uint8_t* mask, float factor,
                                          Reporter report, float* loss, float* gradient) {
  const int64_t row = int64_t{blockIdx.x} * n;
  const float* s = scores + row;
  const uint8_t* marked = mask + row;
  float max_all = -infinity, max_marked = -infinity;
  int some = 0;
  for_each_column(n, [&](int64_t j) {
    const float l = factor * s[j];
    max_all = Max()(max_all, l);
    if (marked[j]) max_marked = Max()(max_marked, l);
    some |= marked[j];
  });
  max_all = block_reduce(max_all, Max(), -infinity);
  max_marked = block_reduce(max_marked, Max(), -infinity);
  if (block_reduce(some, Max(), 0) == 0 && threadIdx.x == 0) report(blockIdx.x, 0);

  float sum_all = 0.0f, sum_marked = 0.0f;
  for_each_column(n, [&](int64_t j) {
    const float l = factor * s[j];
    sum_all += std::exp(l - max_all);
    if (marked[j]) sum_marked += static_cast<float>(marked[j]) * std::exp(l - max_marked);
  });
  sum_all = block_reduce(sum_all, Sum(), 0.0f);
  sum_marked = block_reduce(sum_marked, Sum(), 0.0f);

  const float share_all = factor / sum_all, share_marked = factor / sum_marked;
  for_each_column(n, [&](int64_t j) {
    const float l = factor * s[j];
    const float of_marked = marked[j] ? share_marked * std::exp(l - max_marked) : 0.0f;
    gradient[row + j] = share_all * std::exp(l - max_all) - static_cast<float>(marked[j]) * of_marked;
  });
  if (threadIdx.x == 0) loss[blockIdx.x] = (max_all - max_marked) + std::log(sum_all) - std::log(sum_marked);
}

/// d loss / d s_j = factor (exp(l_j) / sum exp(l) - [j = target]), written over the scores, which are read
/// twice before.
__global__ void softmax_cross_entropy_kernel(int64_t n, const int32_t* targets, float factor, Reporter report,
                                             float* scores, float* loss) {
  float* s = scores + int64_t{blockIdx.x} * n;
  const int64_t target = targets[blockIdx.x];
  const bool is_valid = target >= 0 && target < n;
  if (!is_valid && threadIdx.x == 0) report(target, n - 1);
  const float l_target = is_valid ? factor * s[target] : 0.0f;
  float max = -infinity, sum = 0.0f;
  for_each_column(n, [&](int64_t j) { max = Max()(max, factor * s[j]); });
  max = block_reduce(max, Max(), -infinity);
  for_each_column(n, [&](int64_t j) { sum += std::exp(factor * s[j] - max); });
  sum = block_reduce(sum, Sum(), 0.0f);
  const float share = factor / sum;
  for_each_column(
      n, [&](int64_t j) { s[j] = share * std::exp(factor * s[j] - max) - (j == target ? factor : 0.0f); });
  if (threadIdx.x == 0) loss[blockIdx.x] = (max - l_target) + std::log(sum);
}

/// Column 0 counts with the sign of its logit turned. With e = exp(-|l|), -log(1 - sigmoid(l)) = max(l, 0) +
/// log(1 + e), and its derivative is 1 / (1 + e) for l >= 0 and e / (1 + e) below. One pass.
__global__ void logistic_loss_kernel(int64_t n, const float* scores, float factor, float offset, float* loss,
                                     float* gradient) {
  const int64_t row = int64_t{blockIdx.x} * n;
  float sum = 0.0f;
  for_each_column(n, [&](int64_t j) {
    const float sign = j == 0 ? -1.0f : 1.0f;
    const float l = sign * (factor * scores[row + j] + offset);
    const float e = std::exp(-std::abs(l));
    sum += (l > 0.0f ? l : 0.0f) + std::log1p(e);
    gradient[row + j] = sign * factor * (l >= 0.0f ? 1.0f : e) / (1.0f + e);
  });
  sum = block_reduce(sum, Sum(), 0.0f);
  if (threadIdx.x == 0) loss[blockIdx.x] = sum;
}

LaunchShape block_for_each_row(const Tensor& scores) {
  return {static_cast<unsigned>(scores.size(0)), threads};
}

}  // namespace

void CudaBackend::softmax_ratio_loss(const Tensor& scores, const Tensor& mask, float factor,
                                     const RowLosses& out) {
  launch("softmax_ratio_loss", softmax_ratio_loss_kernel, block_for_each_row(scores), scores.size(1),
         scores.data<float>(), mask.data<uint8_t>(), factor,
         Reporter("softmax_ratio_loss: row {} has no marked column"), out.loss.data<float>(),
         out.gradient.data<float>());
}

void CudaBackend::softmax_cross_entropy(const Tensor& scores, const Tensor& target, float factor,
                                        const RowLosses& out) {
  launch("softmax_cross_entropy", softmax_cross_entropy_kernel, block_for_each_row(scores), scores.size(1),
         target.data<int32_t>(), factor, Reporter("softmax_cross_entropy: index {} is not in 0 to {}"),
         scores.data<float>(), out.loss.data<float>());
}

void CudaBackend::logistic_loss(const Tensor& scores, float factor, float offset, const RowLosses& out) {
  launch("logistic_loss", logistic_loss_kernel, block_for_each_row(scores), scores.size(1),
         scores.data<float>(), factor, offset, out.loss.data<float>(), out.gradient.data<float>());
}

}  // namespace la
