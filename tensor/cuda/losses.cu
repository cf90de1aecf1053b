// Losses over rows of scores on the GPU: one block for each row, which reads it from memory once for its
// maximum, and again for its sums, while it lies in the cache (4096 scores are 16 KiB). The formulas are those of
// the CPU (tensor/cpu/losses.cpp).
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

/// With l_j = factor s_j:  log sum_j exp(l_j) = max + log sum_j exp(l_j - max), and the same of those that are marked, with
/// the marks w_j as weights, usually 0 and 1; each with its own maximum, so that none underflows. Without a mask, the first
/// alone.
__global__ void log_sums_kernel(int64_t n, const float* scores, const uint8_t* mask, float factor, float* all,
                                float* marked) {
  const int64_t row = int64_t{blockIdx.x} * n;
  const float* s = scores + row;
  float max_all = -infinity, max_marked = -infinity;
  for_each_column(n, [&](int64_t j) {
    const float l = factor * s[j];
    max_all = Max()(max_all, l);
    if (mask != nullptr && mask[row + j] != 0) max_marked = Max()(max_marked, l);
  });
  max_all = block_reduce(max_all, Max(), -infinity);
  if (mask != nullptr) max_marked = block_reduce(max_marked, Max(), -infinity);

  float sum_all = 0.0f, sum_marked = 0.0f;
  for_each_column(n, [&](int64_t j) {
    const float l = factor * s[j];
    sum_all += std::exp(l - max_all);
    if (mask != nullptr && mask[row + j] != 0)
      sum_marked += static_cast<float>(mask[row + j]) * std::exp(l - max_marked);
  });
  sum_all = block_reduce(sum_all, Sum(), 0.0f);
  if (mask != nullptr) sum_marked = block_reduce(sum_marked, Sum(), 0.0f);
  if (threadIdx.x != 0) return;
  // Of nothing but -infinity, the sums are NaN.
  all[blockIdx.x] = max_all == -infinity ? max_all : max_all + std::log(sum_all);
  if (mask != nullptr)
    marked[blockIdx.x] = max_marked == -infinity ? max_marked : max_marked + std::log(sum_marked);
}

/// y_j = factor (exp(l_j - all) - w_j exp(l_j - marked)), w_j the marks, or 0 without a mask; y may be the scores. One
/// thread each; reads and writes once.
__global__ void log_sums_gradient_kernel(int64_t count, int64_t n, const float* scores, const uint8_t* mask,
                                         float factor, const float* all, const float* marked, float* y) {
  for (int64_t i = global_thread(); i < count; i += global_threads()) {
    const int64_t row = i / n;
    const float l = factor * scores[i];
    const float p = std::exp(l - all[row]);
    const bool is_marked = mask != nullptr && mask[i] != 0;
    const float q = is_marked ? static_cast<float>(mask[i]) * std::exp(l - marked[row]) : 0.0f;
    y[i] = scores[i] == -infinity ? 0.0f : factor * (p - q);
  }
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
    const bool there = scores[row + j] != -infinity;
    if (there) sum += (l > 0.0f ? l : 0.0f) + std::log1p(e);
    gradient[row + j] = there ? sign * factor * (l >= 0.0f ? 1.0f : e) / (1.0f + e) : 0.0f;
  });
  sum = block_reduce(sum, Sum(), 0.0f);
  if (threadIdx.x == 0) loss[blockIdx.x] = sum;
}

LaunchShape block_for_each_row(const Tensor& scores) {
  return {static_cast<unsigned>(scores.size(0)), threads};
}

}  // namespace

void CudaBackend::log_sums(const Tensor& scores, const Tensor& mask, float factor, const LogSums& out) {
  launch("log_sums", log_sums_kernel, block_for_each_row(scores), scores.size(1), scores.data<float>(),
         mask.defined() ? mask.data<uint8_t>() : nullptr, factor, out.all.data<float>(),
         mask.defined() ? out.marked.data<float>() : nullptr);
}

void CudaBackend::log_sums_gradient(const Tensor& scores, const Tensor& mask, float factor,
                                    const LogSums& sums, const Tensor& y) {
  launch("log_sums_gradient", log_sums_gradient_kernel, {blocks_for(scores.numel(), threads), threads},
         scores.numel(), scores.size(1), scores.data<float>(),
         mask.defined() ? mask.data<uint8_t>() : nullptr, factor, sums.all.data<float>(),
         mask.defined() ? sums.marked.data<float>() : nullptr, y.data<float>());
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
