// Losses over rows of scores on the CPU. Each row is one pass for its maximum, one for its sums and one for
// its gradient, while it lies in the cache. The order of a sum depends on the length of the row alone.
#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>
#include <utility>

#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/indices.h"
#include "tensor/parallel.h"
#include "tensor/vector_math.h"

namespace la {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

// One row each: s are its n scores.

// Both sums have their own maximum, so that none underflows however far the marked scores lie below the rest:
//   l_j = factor s_j,  log sum_j exp(l_j) = max + log sum_j exp(l_j - max), and the same of those that are marked, with
// the weights w_j that the marks are, usually 0 and 1. Where that is 0, exp may be infinite.
std::pair<float, float> log_sums_row(const float* s, const uint8_t* marked, int64_t n, float factor) {
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
  // Of nothing but -infinity, the sums are NaN.
  return {max_all == -infinity ? max_all : max_all + std::log(sum_all),
          max_marked == -infinity ? max_marked : max_marked + std::log(sum_marked)};
}

float log_sum_row(const float* s, int64_t n, float factor) {
  float max = -infinity, sum = 0.0f;
#pragma omp simd reduction(max : max)
  for (int64_t j = 0; j < n; ++j) max = std::max(max, factor * s[j]);
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < n; ++j) sum += simd_exp(factor * s[j] - max);
  return max == -infinity ? max : max + std::log(sum);
}

/// exp(x) as simd_exp, but 0 where that would give the value at its border, as for -infinity.
float exp_or_zero(float x) { return x < -87.0f ? 0.0f : simd_exp(x); }

// factor (exp(l_j - all) - w_j exp(l_j - marked)).
void log_sums_gradient_row(const float* s, const uint8_t* weights, int64_t n, float factor, float all,
                           float marked, float* gradient) {
#pragma omp simd
  for (int64_t j = 0; j < n; ++j) {
    const float l = factor * s[j], e = exp_or_zero(l - marked);
    const float q = weights[j] ? static_cast<float>(weights[j]) * e : 0.0f;
    gradient[j] = factor * (exp_or_zero(l - all) - q);
  }
}

void log_sum_gradient_row(float* s, int64_t n, float factor, float all) {
#pragma omp simd
  for (int64_t j = 0; j < n; ++j) s[j] = factor * exp_or_zero(factor * s[j] - all);
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
    const float loss = (l > 0.0f ? l : 0.0f) + simd_log1p(e);
    const float slope = sign * factor * (l >= 0.0f ? 1.0f : e) / (1.0f + e);
    sum += s[j] == -infinity ? 0.0f : loss;
    gradient[j] = s[j] == -infinity ? 0.0f : slope;
  }
  return sum;
}

/// row(i, scores of row i) for every row.
template <class Row>
void for_each_row(const Tensor& scores, Row&& row) {
  const int64_t n = scores.size(1), grain = (1 << 12) / std::max<int64_t>(n, 1) + 1;
  float* s = scores.data<float>();
  parallel_for(scores.size(0), grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) row(i, s + i * n);
  });
}

}  // namespace

void CpuBackend::log_sums(const Tensor& scores, const Tensor& mask, float factor, const LogSums& out) {
  const int64_t n = scores.size(1);
  const uint8_t* marks = mask.defined() ? mask.data<uint8_t>() : nullptr;
  float* all = out.all.data<float>();
  float* marked = marks ? out.marked.data<float>() : nullptr;
  for_each_row(scores, [&](int64_t i, const float* s) {
    if (marks)
      std::tie(all[i], marked[i]) = log_sums_row(s, marks + i * n, n, factor);
    else
      all[i] = log_sum_row(s, n, factor);
  });
}

void CpuBackend::log_sums_gradient(const Tensor& scores, const Tensor& mask, float factor,
                                   const LogSums& sums, const Tensor& y) {
  const int64_t n = scores.size(1);
  const float* all = sums.all.data<float>();
  for_each_row(scores, [&](int64_t i, float* s) {
    if (mask.defined())
      log_sums_gradient_row(s, mask.data<uint8_t>() + i * n, n, factor, all[i], sums.marked.data<float>()[i],
                            y.data<float>() + i * n);
    else
      log_sum_gradient_row(s, n, factor, all[i]);
  });
}

void CpuBackend::softmax_cross_entropy(const Tensor& scores, const Tensor& target, float factor,
                                       const RowLosses& out) {
  check_indices("softmax_cross_entropy", target, scores.size(1));
  for_each_row(scores, [&](int64_t i, float* s) {
    out.loss.data<float>()[i] =
        softmax_cross_entropy_row(s, target.data<int32_t>()[i], scores.size(1), factor);
  });
}

void CpuBackend::logistic_loss(const Tensor& scores, float factor, float offset, const RowLosses& out) {
  const int64_t n = scores.size(1);
  for_each_row(scores, [&](int64_t i, const float* s) {
    out.loss.data<float>()[i] = logistic_row(s, n, factor, offset, out.gradient.data<float>() + i * n);
  });
}

}  // namespace la
