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

/// Calls body(row number, its scores, its gradient) for every row.
template <class Body>
void for_each_row(const Tensor& scores, const RowLosses& out, Body&& body) {
  const int64_t width = scores.size(1);
  parallel_for(scores.size(0), (1 << 12) / std::max<int64_t>(width, 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      body(i, scores.data<float>() + i * width, out.gradient.data<float>() + i * width);
  });
}

}  // namespace

// Both sums have their own maximum, so that none underflows however far the marked scores lie below the rest:
//   l_j = factor s_j,  A = sum_j exp(l_j - max),  M = sum_{j marked} exp(l_j - max marked),
//   loss = (max + log A) - (max marked + log M),
//   d loss / d s_j = factor (exp(l_j - max) / A - [j marked] exp(l_j - max marked) / M).
void CpuBackend::softmax_ratio_loss(const Tensor& scores, const Tensor& mask, float factor,
                                    const RowLosses& out) {
  const int64_t width = scores.size(1);
  for_each_row(scores, out, [&](int64_t i, const float* s, float* gradient) {
    const uint8_t* marked = mask.data<uint8_t>() + i * width;
    float max_all = -infinity, max_marked = -infinity;
    int32_t any = 0;
#pragma omp simd reduction(max : max_all, max_marked) reduction(| : any)
    for (int64_t j = 0; j < width; ++j) {
      const float l = factor * s[j];
      max_all = std::max(max_all, l);
      max_marked = std::max(max_marked, marked[j] ? l : -infinity);
      any |= marked[j];
    }
    check(any != 0, "softmax_ratio_loss: row {} has no marked column", i);
    float sum_all = 0.0f, sum_marked = 0.0f;
#pragma omp simd reduction(+ : sum_all, sum_marked)
    for (int64_t j = 0; j < width; ++j) {
      const float l = factor * s[j];
      sum_all += simd_exp(l - max_all);
      sum_marked += marked[j] ? simd_exp(l - max_marked) : 0.0f;
    }
    const float share_all = factor / sum_all, share_marked = factor / sum_marked;
#pragma omp simd
    for (int64_t j = 0; j < width; ++j) {
      const float l = factor * s[j];
      gradient[j] =
          share_all * simd_exp(l - max_all) - (marked[j] ? share_marked * simd_exp(l - max_marked) : 0.0f);
    }
    out.loss.data<float>()[i] = (max_all - max_marked) + std::log(sum_all) - std::log(sum_marked);
  });
}

// d loss / d s_j = factor (exp(l_j) / sum exp(l) - [j = target]).
void CpuBackend::softmax_cross_entropy(const Tensor& scores, const Tensor& target, float factor,
                                       const RowLosses& out) {
  const int64_t width = scores.size(1);
  check_indices("softmax_cross_entropy", target, width);
  for_each_row(scores, out, [&](int64_t i, const float* s, float* gradient) {
    const int32_t wanted = target.data<int32_t>()[i];
    const float l_wanted = factor * s[wanted];
    float max = -infinity, sum = 0.0f;
#pragma omp simd reduction(max : max)
    for (int64_t j = 0; j < width; ++j) max = std::max(max, factor * s[j]);
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < width; ++j) {
      gradient[j] = simd_exp(factor * s[j] - max);  // s and gradient are the same array
      sum += gradient[j];
    }
    const float share = factor / sum;
    for (int64_t j = 0; j < width; ++j) gradient[j] *= share;
    gradient[wanted] -= factor;
    out.loss.data<float>()[i] = (max - l_wanted) + std::log(sum);
  });
}

// Column 0 counts with the sign of its logit turned: -log sigmoid(l) = -log(1 - sigmoid(-l)). With e =
// exp(-|l|) in (0, 1], -log(1 - sigmoid(l)) = max(l, 0) + log(1 + e), and its derivative sigmoid(l) is 1 / (1
// + e) for l >= 0 and e / (1 + e) below.
void CpuBackend::logistic_loss(const Tensor& scores, float factor, float offset, const RowLosses& out) {
  const int64_t width = scores.size(1);
  for_each_row(scores, out, [&](int64_t i, const float* s, float* gradient) {
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < width; ++j) {
      const float sign = j == 0 ? -1.0f : 1.0f;
      const float l = sign * (factor * s[j] + offset);
      const float e = simd_exp(-std::abs(l));
      sum += std::max(l, 0.0f) + simd_log1p(e);
      gradient[j] = sign * factor * (l >= 0.0f ? 1.0f : e) / (1.0f + e);
    }
    out.loss.data<float>()[i] = sum;
  });
}

}  // namespace la
