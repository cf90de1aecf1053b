// k-means on the CPU: the nearest centroid of each row, and the mean of the rows of each cluster.
#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/indices.h"
#include "tensor/cpu/panels.h"
#include "tensor/parallel.h"

namespace la {
namespace {

/// The best score of one row so far, lane by lane, and the panel register where it was found.
struct Best {
  Floats score;
  Ints place;
};

/// The best of all lanes; of equal scores the lowest label.
std::pair<float, int32_t> reduce(const Best& best) {
  float score = best.score[0];
  int32_t label = best.place[0] * simd_lanes;
  for (int i = 1; i < simd_lanes; ++i) {
    const int32_t other = best.place[i] * simd_lanes + i;
    if (best.score[i] > score || (best.score[i] == score && other < label)) {
      score = best.score[i];
      label = other;
    }
  }
  return {score, label};
}

/// Centroids packed into panels, with what is added to the scores of each: -|c|^2 / 2.
struct Centroids {
  Tensor panels;  // [panels, depth, panel_width]
  Tensor bias;    // [panels, panel_width]; -infinity where there is no centroid

  explicit Centroids(const Tensor& c)
      : panels({panel_count(c.size(0)), c.size(1), panel_width}),
        bias({panel_count(c.size(0)), panel_width}) {
    const int64_t n = c.size(0), depth = c.size(1);
    std::fill_n(bias.data<float>(), bias.numel(), -std::numeric_limits<float>::infinity());
    parallel_for(panels.size(0), 8, [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) {
        const int64_t first = p * panel_width, count = std::min<int64_t>(n - first, panel_width);
        const float* rows = c.data<float>() + first * depth;
        pack_panel(rows, count, depth, depth, panels.data<float>() + first * depth);
        for (int64_t i = 0; i < count; ++i)
          bias.data<float>()[first + i] = -0.5f * dot(rows + i * depth, rows + i * depth, depth);
      }
    });
  }
};

constexpr int64_t block_rows =
    256;  // rows that meet one panel after the other; their Bests stay in the cache

/// best[r] <- the best centroid of each of n <= block_rows rows.
void find_best(const float* rows, int64_t n, int64_t depth, const Centroids& centroids, Best* best) {
  std::fill_n(best, n, Best{Floats{} - std::numeric_limits<float>::infinity(), Ints{}});
  for (int64_t p = 0; p < centroids.panels.size(0); ++p) {
    const float* bias = centroids.bias.data<float>() + p * panel_width;
    PanelScores start;
    for (int v = 0; v < tile_vectors; ++v) start[v] = load(bias + v * simd_lanes);
    const auto place = static_cast<int32_t>(p * tile_vectors);
    score_rows(rows, n, depth, centroids.panels.data<float>() + p * panel_width * depth, start,
               [&](int64_t r, const PanelScores& s) {
                 for (int v = 0; v < tile_vectors; ++v) {
                   const Ints better = s[v] > best[r].score;  // not >=: the lower label keeps its place
                   best[r].score = better ? s[v] : best[r].score;
                   best[r].place = better ? Ints{} + (place + v) : best[r].place;
                 }
               });
  }
}

}  // namespace

// |x - c|^2 = |x|^2 - 2 (x . c - |c|^2 / 2): the nearest centroid has the largest x . c - |c|^2 / 2.
void CpuBackend::nearest_centroid(const Tensor& x, const Tensor& centroids, const Assignment& out) {
  const int64_t n = x.size(0), depth = x.size(1);
  const Centroids packed(centroids);
  parallel_for(divide_up(n, block_rows), 1, [&](int64_t begin, int64_t end) {
    std::vector<Best> best(block_rows);
    for (int64_t first = begin * block_rows; first < std::min(end * block_rows, n); first += block_rows) {
      const int64_t count = std::min(block_rows, n - first);
      const float* rows = x.data<float>() + first * depth;
      find_best(rows, count, depth, packed, best.data());
      for (int64_t r = 0; r < count; ++r) {
        const auto [score, label] = reduce(best[static_cast<size_t>(r)]);
        const float* row = rows + r * depth;
        out.labels.data<int32_t>()[first + r] = label;
        out.distances.data<float>()[first + r] =
            std::max(dot(row, row, depth) - 2.0f * score, 0.0f);  // keeps NaN
      }
    }
  });
}

void CpuBackend::count_labels(const Tensor& labels, const Tensor& counts) {
  check_indices("count_labels", labels, counts.numel());
  fill(0.0f, counts);
  for (int64_t i = 0; i < labels.numel(); ++i) ++counts.data<int32_t>()[labels.data<int32_t>()[i]];
}

// The rows are first sorted by label (counting sort), so that each sum is made in registers by one thread, in
// ascending order of the rows.
void CpuBackend::sum_by_label(const Tensor& x, const Tensor& labels, const Tensor& sums) {
  const int64_t n = x.size(0), depth = x.size(1), m = sums.size(0);
  check_indices("sum_by_label", labels, m);
  const int32_t* label = labels.data<int32_t>();
  std::vector<int64_t> end(static_cast<size_t>(m + 1), 0);  // end[c + 1]: where label c ends in `order`
  for (int64_t i = 0; i < n; ++i) ++end[static_cast<size_t>(label[i] + 1)];
  std::partial_sum(end.begin(), end.end(), end.begin());
  std::vector<int32_t> order(static_cast<size_t>(n));
  std::vector<int64_t> next(end.begin(), end.end() - 1);
  for (int64_t i = 0; i < n; ++i)
    order[static_cast<size_t>(next[static_cast<size_t>(label[i])]++)] = static_cast<int32_t>(i);
  parallel_for(m, 1, [&](int64_t from, int64_t to) {
    for (int64_t c = from; c < to; ++c) {
      const int64_t first = end[static_cast<size_t>(c)], last = end[static_cast<size_t>(c + 1)];
      float* sum = sums.data<float>() + c * depth;
      std::fill(sum, sum + depth, 0.0f);
      for (int64_t j = first; j < last; ++j) {
        const float* row = x.data<float>() + order[static_cast<size_t>(j)] * depth;
        for (int64_t d = 0; d < depth; ++d) sum[d] += row[d];
      }
    }
  });
}

}  // namespace la
