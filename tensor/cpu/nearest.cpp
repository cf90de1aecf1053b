// The k nearest rows of a table, exactly, without ever storing all scores. For each group of queries:
//   1. score a sample of the table and guess from it a threshold that a little more than k rows will reach;
//   2. stream the table once and list, for each query, the rows that reach its threshold;
//   3. cut the list to the k largest scores.
// A query whose threshold let through too few rows, or more than its list holds, is done over with all scores
// at hand; whatever the guesses, the result is exact. It is also the same for any number of threads, because
// each score is (panels.h).
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#ifdef __AVX512F__
#include <immintrin.h>
#endif

#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/indices.h"
#include "tensor/cpu/kth_largest.h"
#include "tensor/cpu/panels.h"
#include "tensor/parallel.h"

namespace la {
namespace {

constexpr int64_t sample_stride = 24;      // the sample is every 24th row of the table
constexpr int64_t smallest_sample = 512;   // below, sampling gains nothing over scoring everything
constexpr int64_t most_queries = 512;      // in a group: with depth 128 they fill a quarter of the cache
constexpr int64_t list_budget = 1 << 21;   // list entries of a group and a part of the table
constexpr int64_t score_budget = 1 << 23;  // floats, where all scores of some queries are stored
constexpr int64_t most_parts = 8;          // of the table, each with its own lists

struct Rows {
  const float* data;
  int64_t count, depth;

  const float* operator[](int64_t i) const { return data + i * depth; }
};

/// scores [queries.count, width] <- the scores of every `stride`-th row of the table, `width` a multiple of
/// panel_width; what lies beyond the table is 0.
void score_all(const Rows& queries, const Rows& table, int64_t stride, float* scores, int64_t width) {
  const int64_t rows = divide_up(table.count, stride);
  parallel_for(panel_count(rows), 1, [&](int64_t begin, int64_t end) {
    const Tensor panel({panel_width, table.depth});
    for (int64_t p = begin; p < end; ++p) {
      const int64_t first = p * panel_width;
      pack_panel(table[first * stride], std::min<int64_t>(rows - first, panel_width), stride * table.depth,
                 table.depth, panel.data<float>());
      score_rows(queries.data, queries.count, table.depth, panel.data<float>(), PanelScores{},
                 [&](int64_t q, const PanelScores& s) {
                   for (int v = 0; v < tile_vectors; ++v)
                     store(scores + q * width + first + v * simd_lanes, s[v]);
                 });
    }
  });
}

/// The rows that reached the threshold, in ascending order. After a panel it has room for
/// another, or it is full.
struct List {
  float* scores;
  int32_t* indices;
  int64_t size;

  /// Appends the lanes of s, the scores of rows first, first + 1, ..., that are not below the threshold; a
  /// NaN is not below anything, so it is listed and found later.
  void append(Floats s, float threshold, int32_t first) {
#ifdef __AVX512F__
    const __m512 x = reinterpret_cast<__m512>(s);
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i index = _mm512_add_epi32(lane, _mm512_set1_epi32(first));
    const __mmask16 in = _mm512_cmp_ps_mask(x, _mm512_set1_ps(threshold), _CMP_NLT_UQ);
    _mm512_storeu_ps(scores + size, _mm512_maskz_compress_ps(in, x));
    _mm512_storeu_si512(indices + size, _mm512_maskz_compress_epi32(in, index));
    size += __builtin_popcount(in);
#else
    for (int i = 0; i < simd_lanes; ++i) {
      scores[size] = s[i];
      indices[size] = first + i;
      size += !(s[i] < threshold);
    }
#endif
  }
};

/// The lists of a group of queries: one for each query and part of the table.
class Lists {
 public:
  Lists(int64_t parts, int64_t queries, int64_t capacity)
      : parts_(parts),
        capacity_(capacity),
        scores_({parts * queries * capacity}),
        indices_({parts * queries * capacity}, DType::i32),
        sizes_(static_cast<size_t>(parts * queries)) {}

  int64_t parts() const { return parts_; }

  /// Lists the rows of one part of the table for queries begin to end (exclusive).
  void fill(int64_t part, const Rows& queries, int64_t begin, int64_t end, const float* thresholds,
            const Rows& table) {
    const int64_t panels = panel_count(table.count), count = end - begin;
    const Tensor panel({panel_width, table.depth});
    const int64_t bytes_ahead = (panel.numel() * 4 / count + 63) / 64 * 64;
    std::vector<List> lists;
    for (int64_t q = begin; q < end; ++q) lists.push_back(list(part, q));
    for (int64_t p = panels * part / parts_; p < panels * (part + 1) / parts_; ++p) {
      const int64_t first = p * panel_width;
      pack_panel(table[first], std::min<int64_t>(table.count - first, panel_width), table.depth, table.depth,
                 panel.data<float>());
      score_rows(queries[begin], count, table.depth, panel.data<float>(), PanelScores{},
                 [&](int64_t q, const PanelScores& s) {
                   prefetch(table[first + panel_width], q * bytes_ahead, bytes_ahead);  // packed next
                   List& list = lists[static_cast<size_t>(q)];
                   if (is_full(list)) return;
                   for (int v = 0; v < tile_vectors; ++v)
                     list.append(s[v], thresholds[begin + q], static_cast<int32_t>(first + v * simd_lanes));
                 });
    }
    for (int64_t q = 0; q < count; ++q) {
      const List& list = lists[static_cast<size_t>(q)];
      sizes_[index(part, begin + q)] = is_full(list) ? -1 : list.size;
    }
  }

  /// Joins the lists of a query; false if one of them was full.
  bool join(int64_t query, int64_t rows, std::vector<float>& scores, std::vector<int32_t>& indices) const {
    scores.clear();
    indices.clear();
    for (int64_t part = 0; part < parts_; ++part) {
      const List list = this->list(part, query);
      if (list.size < 0) return false;
      scores.insert(scores.end(), list.scores, list.scores + list.size);
      indices.insert(indices.end(), list.indices, list.indices + list.size);
    }
    while (!indices.empty() && indices.back() >= rows) {  // the zeros that fill the last panel
      indices.pop_back();
      scores.pop_back();
    }
    return true;
  }

 private:
  size_t index(int64_t part, int64_t query) const {
    return static_cast<size_t>(part) * (sizes_.size() / static_cast<size_t>(parts_)) +
           static_cast<size_t>(query);
  }
  List list(int64_t part, int64_t query) const {
    const size_t i = index(part, query), offset = i * static_cast<size_t>(capacity_);
    return {scores_.data<float>() + offset, indices_.data<int32_t>() + offset, sizes_[i]};
  }
  bool is_full(const List& list) const { return list.size > capacity_ - panel_width; }

  int64_t parts_, capacity_;
  Tensor scores_, indices_;
  std::vector<int64_t> sizes_;
};

/// One call of nearest_rows.
class Search {
 public:
  Search(const Tensor& queries, const Tensor& table, const TopK& out)
      : queries_{queries.data<float>(), queries.size(0), queries.size(1)},
        table_{table.data<float>(), table.size(0), table.size(1)},
        k_(out.indices.size(1)),
        values_(out.values.data<float>()),
        indices_(out.indices.data<int32_t>()),
        sample_(divide_up(table_.count, sample_stride)) {
    // The sample has about `expected` of the k nearest rows, Poisson distributed; four standard
    // deviations more let through too few rows once in some ten thousand queries, and the list has room
    // for as many again.
    const double expected = static_cast<double>(k_) / sample_stride;
    rank_ = static_cast<int64_t>(expected + 4 * std::sqrt(expected) + 4);
    const auto spare = static_cast<int64_t>(4 * std::sqrt(static_cast<double>(rank_)));
    capacity_ = std::min((rank_ + spare) * sample_stride, table_.count) + 2 * panel_width;
  }

  void run() {
    std::vector<int64_t> left;  // queries to be done over
    if (sample_ < smallest_sample || rank_ > sample_ / 4) {
      left.resize(static_cast<size_t>(queries_.count));
      std::iota(left.begin(), left.end(), 0);
    } else {
      const int64_t group = std::clamp<int64_t>(list_budget / capacity_, 1, most_queries);
      for (int64_t begin = 0; begin < queries_.count; begin += group)
        search_by_threshold(begin, std::min(begin + group, queries_.count), left);
    }
    const int64_t group = std::max<int64_t>(1, score_budget / table_.count);
    for (int64_t begin = 0; begin < std::ssize(left); begin += group)
      search_all(std::span(left).subspan(begin, std::min(group, std::ssize(left) - begin)));
  }

  /// Puts row include[i] into the result of query i, in place of the farthest, if it is not there.
  void force(const int32_t* include) const {
    for (int64_t i = 0; i < queries_.count; ++i) {
      if (include[i] == absent_row) continue;
      float* values = values_ + i * k_;
      int32_t* indices = indices_ + i * k_;
      int32_t* place = std::lower_bound(indices, indices + k_, include[i]);
      if (place < indices + k_ && *place == include[i]) continue;
      int64_t farthest = 0;
      for (int64_t j = 1; j < k_; ++j)
        if (values[j] <= values[farthest]) farthest = j;
      // The entries between the place left and the place taken move by one.
      int64_t to = place - indices;
      if (farthest < to) {
        --to;
        std::rotate(indices + farthest, indices + farthest + 1, indices + to + 1);
        std::rotate(values + farthest, values + farthest + 1, values + to + 1);
      } else {
        std::rotate(indices + to, indices + farthest, indices + farthest + 1);
        std::rotate(values + to, values + farthest, values + farthest + 1);
      }
      indices[to] = include[i];
      values[to] = dot(queries_[i], table_[include[i]], table_.depth);
    }
  }

 private:
  void search_by_threshold(int64_t begin, int64_t end, std::vector<int64_t>& left) {
    const Rows queries{queries_[begin], end - begin, queries_.depth};
    const std::vector<float> thresholds = guess_thresholds(queries);
    Lists lists(std::min<int64_t>(num_threads(), most_parts), queries.count, capacity_);
    const int64_t blocks =
        std::min(num_threads() / lists.parts(), queries.count);  // where threads outnumber parts
    parallel_for(lists.parts() * blocks, 1, [&](int64_t first, int64_t last) {
      for (int64_t task = first; task < last; ++task) {
        const int64_t part = task / blocks, block = task % blocks;
        lists.fill(part, queries, queries.count * block / blocks, queries.count * (block + 1) / blocks,
                   thresholds.data(), table_);
      }
    });
    std::vector<uint8_t> done(static_cast<size_t>(queries.count), 0);
    parallel_for(queries.count, 1, [&](int64_t first, int64_t last) {
      std::vector<float> scores;
      std::vector<int32_t> indices;
      for (int64_t q = first; q < last; ++q) {
        if (!lists.join(q, table_.count, scores, indices) || std::ssize(scores) < k_) continue;
        select(begin + q, scores.data(), indices.data(), std::ssize(scores));
        done[static_cast<size_t>(q)] = 1;
      }
    });
    for (int64_t q = 0; q < queries.count; ++q)
      if (!done[static_cast<size_t>(q)]) left.push_back(begin + q);
  }

  std::vector<float> guess_thresholds(const Rows& queries) const {
    const int64_t width = panel_count(sample_) * panel_width;
    const Tensor scores({queries.count, width});
    score_all(queries, table_, sample_stride, scores.data<float>(), width);
    std::vector<float> thresholds(static_cast<size_t>(queries.count));
    parallel_for(queries.count, 1, [&](int64_t first, int64_t last) {
      for (int64_t q = first; q < last; ++q)
        thresholds[static_cast<size_t>(q)] =
            kth_largest(scores.data<float>() + q * width, sample_, rank_).threshold;
    });
    return thresholds;
  }

  void search_all(std::span<const int64_t> chosen) {
    const int64_t width = panel_count(table_.count) * panel_width;
    const Tensor queries({std::ssize(chosen), queries_.depth}), scores({std::ssize(chosen), width});
    for (size_t q = 0; q < chosen.size(); ++q)
      std::copy_n(queries_[chosen[q]], queries_.depth,
                  queries.data<float>() + static_cast<int64_t>(q) * queries_.depth);
    score_all({queries.data<float>(), std::ssize(chosen), queries_.depth}, table_, 1, scores.data<float>(),
              width);
    parallel_for(std::ssize(chosen), 1, [&](int64_t first, int64_t last) {
      for (int64_t q = first; q < last; ++q)
        select(chosen[static_cast<size_t>(q)], scores.data<float>() + q * width, nullptr, table_.count);
    });
  }

  void select(int64_t query, const float* scores, const int32_t* indices, int64_t n) const {
    check(!has_nan(scores, n), "nearest_rows: the scores of query {} contain a NaN", query);
    keep_largest(scores, indices, kth_largest(scores, n, k_), k_, values_ + query * k_,
                 indices_ + query * k_);
  }

  Rows queries_, table_;
  int64_t k_;
  float* values_;
  int32_t* indices_;
  int64_t sample_, rank_ = 0, capacity_ = 0;
};

}  // namespace

void CpuBackend::nearest_rows(const Tensor& queries, const Tensor& table, const Tensor& include,
                              const TopK& out) {
  if (include.defined()) check_part_rows("nearest_rows", include, table.size(0));
  Search search(queries, table, out);
  search.run();
  if (include.defined()) search.force(include.data<int32_t>());
}

}  // namespace la
