// Losses over rows of scores on the CPU. Each row is one pass for its maximum, one for its sums and one for
// its gradient, while it lies in the cache. The order of a sum depends on the length of the row alone.
#include <algorithm>
#include <cmath>
#include <limits>

#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/indices.h"
#include "tensor/cpu/parallel.h"
#include "tensor/cpu/vector_math.h"

namespace la {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

// One row each: s are its n scores; writes the gradient and returns the loss.

// Both sums have their own maximum, so that none underflows however far the marked scores lie below the rest:
//   l_j = factor s_j,  A = sum_j exp(l_j - max),  M = sum_{j marked} w_j exp(l_j - max marked),
//   loss = (max + log A) - (max marked + log M),
//   d loss / d s_j = factor (exp(l_j - max) / A - w_j exp(l_j - max marked) / M);
// the weights w_j are the marks, usually 0 and 1. Where that is 0, exp may be infinite.
float softmax_ratio_row(const float* s, const uint8_t* marked, int64_t n, float factor, float* gradient) {
  float max_all = -infinity, max_marked = -infinity;
#pragma omp simd reduction(max : max_all, max_marked)
  for (int64_t j = 0; j < n; ++j) {
    const float l = factor * s[j];
    max_all = std::max(max_all, l);
    max_marked = std::max(max_marked, marked[j] ? l : -infinity);
  }
  float sum_all = 0.0f, sum_marked = 0.0f;
#pragma omp simd reduction(+ : sum_all, sum_marked)
  for (int64_t j = 0; j < n; ++j) {
    const float l = factor * s[j], e = simd_exp(l - max_marked);
    sum_all += simd_exp(l - max_all);
    sum_marked += marked[j] ? static_cast<float>(marked[j]) * e : 0.0f;
  }
  const float share_all = factor / sum_all, share_marked = factor / sum_marked;
#pragma omp simd
  for (int64_t j = 0; j < n; ++j) {
    const float l = factor * s[j], e = share_marked * simd_exp(l - max_marked);
    gradient[j] = share_all * simd_exp(l - max_all) - (marked[j] ? static_cast<float>(marked[j]) * e : 0.0f);
  }
  return (max_all - max_marked) + std::log(sum_all) - std::log(sum_marked);
}

// d loss / d s_j = factor (exp(l_j) / sum exp(l) - [j = target]). The gradient is written over the scores.
float softmax_cross_entropy_row(float* s, int64_t target, int64_t n, float factor) {
  const float l_target = factor * s[target];
  float max = -infinity, sum = 0.0f;
#pragma omp simd reduction(max : max)
  for (int64_t j = 0; j < n; ++j) max = std::max(max, factor * s[j]);
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < n; ++j) {
    s[j] = simd_exp(factor * s[j] - max);
    sum += s[j];
  }
  const float share = factor / sum;
  for (int64_t j = 0; j < n; ++j) s[j] *= share;
  s[target] -= factor;
  return (max - l_target) + std::log(sum);
}

// Column 0 counts with the sign of its logit turned: -log sigmoid(l) = -log(1 - sigmoid(-l)). With e =
// exp(-|l|) in (0, 1], -log(1 - sigmoid(l)) = max(l, 0) + log(1 + e), and its derivative sigmoid(l) is 1 / (1
// + e) for l >= 0 and e / (1 + e) below.
float logistic_row(const float* s, int64_t n, float factor, float offset, float* gradient) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < n; ++j) {
    const float sign = j == 0 ? -1.0f : 1.0f;
    const float l = sign * (factor * s[j] + offset);
    const float e = simd_exp(-std::abs(l));
    sum += (l > 0.0f ? l : 0.0f) + simd_log1p(e);
    gradient[j] = sign * factor * (l >= 0.0f ? 1.0f : e) / (1.0f + e);
  }
  return sum;
}

/// loss[i] <- row(i, scores of row i, gradient of row i) for every row.
template <class Row>
void for_each_row(const Tensor& scores, const RowLosses& out, Row&& row) {
  const int64_t n = scores.size(1), grain = (1 << 12) / std::max<int64_t>(n, 1) + 1;
  float* s = scores.data<float>();
  float* gradient = out.gradient.data<float>();
  float* loss = out.loss.data<float>();
  parallel_for(scores.size(0), grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) loss[i] = row(i, s + i * n, gradient + i * n);
  });
}

}  // namespace

void CpuBackend::softmax_ratio_loss(const Tensor& scores, const Tensor& mask, float factor,
                                    const RowLosses& out) {
  const int64_t n = scores.size(1);
  const uint8_t* marked = mask.data<uint8_t>();
  for_each_row(scores, out, [&](int64_t i, const float* s, float* gradient) {
    const uint8_t* row = marked + i * n;
    check(std::any_of(row, row + n, [](uint8_t mark) { return mark != 0; }),
          "softmax_ratio_loss: row {} has no marked column", i);
    return softmax_ratio_row(s, row, n, factor, gradient);
  });
}

void CpuBackend::softmax_cross_entropy(const Tensor& scores, const Tensor& target, float factor,
                                       const RowLosses& out) {
  check_indices("softmax_cross_entropy", target, scores.size(1));
  for_each_row(scores, out, [&](int64_t i, float* s, float*) {
    return softmax_cross_entropy_row(s, target.data<int32_t>()[i], scores.size(1), factor);
  });
}

void CpuBackend::logistic_loss(const Tensor& scores, float factor, float offset, const RowLosses& out) {
  for_each_row(scores, out, [&](int64_t, const float* s, float* gradient) {
    return logistic_row(s, scores.size(1), factor, offset, gradient);
  });
}

}  // namespace la
