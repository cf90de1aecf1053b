// The steps of docs/fast.md, which shows these functions. All run on one thread; the library's product would take
// more.
#include "docs/nearest_steps.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "tensor/cpu/kth_largest.h"
#include "tensor/cpu/panels.h"
#include "tensor/ops.h"

namespace la::steps {
namespace {

TopK make_result(int64_t rows, int64_t k) { return {Tensor({rows, k}), Tensor({rows, k}, DType::i32)}; }

/// `order` holds the numbers of all scores, of which the first k are the best; they are written by ascending
/// index.
void write_first(std::vector<int32_t>& order, const float* scores, int64_t k, float* values,
                 int32_t* indices) {
  std::sort(order.begin(), order.begin() + k);
  for (int64_t j = 0; j < k; ++j) {
    indices[j] = order[j];
    values[j] = scores[order[j]];
  }
}

/// Selects from each row of scores: arrange(order, scores) moves the k best to the front.
template <class Arrange>
TopK select_each(const Tensor& scores, int64_t k, Arrange arrange) {
  const TopK best = make_result(scores.size(0), k);
  std::vector<int32_t> order(static_cast<size_t>(scores.size(1)));
  for (int64_t q = 0; q < scores.size(0); ++q) {
    const float* row = scores.rows(q, q + 1).data<float>();
    std::iota(order.begin(), order.end(), 0);
    arrange(order, row);
    write_first(order, row, k, best.values.data<float>() + q * k, best.indices.data<int32_t>() + q * k);
  }
  return best;
}

}  // namespace

// ---- Step 1: as it is written -----------------------------------------------------------------------------

Tensor scores_by_loops(const Tensor& queries, const Tensor& table) {
  const int64_t count = queries.size(0), n = table.size(0), depth = table.size(1);
  const Tensor scores({count, n});
  const float *query = queries.data<float>(), *row = table.data<float>();
  for (int64_t q = 0; q < count; ++q)
    for (int64_t i = 0; i < n; ++i) {
      float sum = 0;
      for (int64_t d = 0; d < depth; ++d) sum += query[q * depth + d] * row[i * depth + d];
      scores.data<float>()[q * n + i] = sum;
    }
  return scores;
}

TopK select_by_sorting(const Tensor& scores, int64_t k) {
  return select_each(scores, k, [](std::vector<int32_t>& order, const float* s) {
    std::stable_sort(order.begin(), order.end(), [s](int32_t a, int32_t b) { return s[a] > s[b]; });
  });
}

// ---- Step 2: vectors and blocks ---------------------------------------------------------------------------

Tensor scores_by_blocks(const Tensor& queries, const Tensor& table) {
  constexpr int64_t block = 64;  // rows of the table, which stay in the first cache while all queries pass
  const int64_t count = queries.size(0), n = table.size(0), depth = table.size(1);
  const Tensor scores({count, n});
  for (int64_t first = 0; first < n; first += block)
    for (int64_t q = 0; q < count; ++q) {
      const float* query = queries.data<float>() + q * depth;
      float* score = scores.data<float>() + q * n;
      for (int64_t i = first; i < std::min(first + block, n); ++i) {
        const float* row = table.data<float>() + i * depth;
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t d = 0; d < depth; ++d) sum += query[d] * row[d];
        score[i] = sum;
      }
    }
  return scores;
}

TopK select_by_partitioning(const Tensor& scores, int64_t k) {
  return select_each(scores, k, [k](std::vector<int32_t>& order, const float* s) {
    std::nth_element(order.begin(), order.begin() + (k - 1), order.end(),
                     [s](int32_t a, int32_t b) { return s[a] > s[b] || (s[a] == s[b] && a < b); });
  });
}

// ---- Step 3: a library's product --------------------------------------------------------------------------

Tensor scores_by_library(const Tensor& queries, const Tensor& table) {
  return ops::matmul(queries, table, {.transpose_b = true});
}

TopK select_by_counting(const Tensor& scores, int64_t k) {
  const int64_t n = scores.size(1);
  const TopK best = make_result(scores.size(0), k);
  for (int64_t q = 0; q < scores.size(0); ++q) {
    const float* row = scores.data<float>() + q * n;
    keep_largest(row, nullptr, kth_largest(row, n, k), k, best.values.data<float>() + q * k,
                 best.indices.data<int32_t>() + q * k);
  }
  return best;
}

// ---- Step 4: scores that are never stored -----------------------------------------------------------------

namespace {

/// For each query a score that some more than k rows will probably reach, from every 24th row of the table.
std::vector<float> guess_thresholds(const Tensor& queries, const Tensor& table, int64_t k) {
  constexpr int64_t stride = 24;
  std::vector<int32_t> every;
  for (int64_t i = 0; i < table.size(0); i += stride) every.push_back(static_cast<int32_t>(i));
  const auto size = std::ssize(every);
  // About k / stride of the sample are among the k nearest; four standard deviations more for safety.
  const double expected = static_cast<double>(k) / stride;
  const auto rank = static_cast<int64_t>(expected + 4 * std::sqrt(expected) + 4);
  std::vector<float> thresholds(static_cast<size_t>(queries.size(0)),
                                -std::numeric_limits<float>::infinity());
  if (rank > size) return thresholds;  // too small a sample: every row passes
  const Tensor scores = scores_by_library(queries, ops::gather_rows(table, Tensor::from(every, {size})));
  for (size_t q = 0; q < thresholds.size(); ++q)
    thresholds[q] = kth_largest(scores.data<float>() + static_cast<int64_t>(q) * size, size, rank).threshold;
  return thresholds;
}

}  // namespace

TopK nearest_by_threshold(const Tensor& queries, const Tensor& table, int64_t k) {
  const int64_t count = queries.size(0), n = table.size(0), depth = table.size(1);
  const std::vector<float> threshold = guess_thresholds(queries, table, k);
  const Tensor listed({count, n + 1}), numbers({count, n + 1}, DType::i32);  // only their beginnings are used
  std::vector<int64_t> size(static_cast<size_t>(count), 0);

  const Tensor panel({depth, panel_width});
  for (int64_t first = 0; first < n; first += panel_width) {
    const int64_t width = std::min<int64_t>(panel_width, n - first);
    pack_panel(table.data<float>() + first * depth, width, depth, depth, panel.data<float>());
    score_rows(queries.data<float>(), count, depth, panel.data<float>(), PanelScores{},
               [&](int64_t q, const PanelScores& scores) {
                 float* list = listed.data<float>() + q * (n + 1);
                 int32_t* number = numbers.data<int32_t>() + q * (n + 1);
                 for (int64_t i = 0; i < width; ++i) {  // written in any case, counted only if it passes
                   const float score = scores[i / simd_lanes][i % simd_lanes];
                   list[size[q]] = score;
                   number[size[q]] = static_cast<int32_t>(first + i);
                   size[q] += score >= threshold[q];
                 }
               });
  }

  const TopK best = make_result(count, k);
  for (int64_t q = 0; q < count; ++q) {
    float* values = best.values.data<float>() + q * k;
    int32_t* indices = best.indices.data<int32_t>() + q * k;
    const float* list = listed.data<float>() + q * (n + 1);
    if (size[q] >= k) {
      keep_largest(list, numbers.data<int32_t>() + q * (n + 1), kth_largest(list, size[q], k), k, values,
                   indices);
    } else {  // the guess was wrong: this query again, with all its scores
      const TopK again = select_by_counting(scores_by_library(queries.rows(q, q + 1), table), k);
      std::copy_n(again.values.data<float>(), k, values);
      std::copy_n(again.indices.data<int32_t>(), k, indices);
    }
  }
  return best;
}

}  // namespace la::steps
