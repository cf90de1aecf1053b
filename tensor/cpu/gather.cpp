// Products with chosen rows of a table on the CPU. Thousands of rows are chosen for each query, from a table
// much larger than the cache; one after the other they would come from memory once for each query. So the
// table is walked in tiles that stay in the cache while every query does what it has to do there.
#include <algorithm>
#include <limits>
#include <vector>

#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/indices.h"
#include "tensor/parallel.h"
#include "tensor/vector_math.h"

namespace la {
namespace {

constexpr int64_t tile_bytes = 1 << 18;  // of the table: a quarter of a core's cache
constexpr int64_t most_parts = 16;       // of the table, shared out to the threads

/// The indices of each query in an order in which the tiles ascend: their own if they ascend.
class TileWalk {
 public:
  TileWalk(const Tensor& indices, const Tensor& table)
      : queries_(indices.size(0)), width_(indices.size(1)), rows_(table.size(0)), depth_(table.size(1)) {
    while (tile_rows() < rows_ && tile_rows() * 2 * depth_ * 4 <= tile_bytes) ++shift_;
    tiles_ = ((rows_ - 1) >> shift_) + 1;
    index_ = indices.data<int32_t>();
    std::vector<uint8_t> ascends(static_cast<size_t>(queries_));
    parallel_for(queries_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        ascends[static_cast<size_t>(i)] = std::is_sorted(index(i), index(i) + width_);
    });
    if (std::find(ascends.begin(), ascends.end(), 0) != ascends.end()) group_by_tile(index_);
  }

  int64_t parts() const { return std::min(tiles_, most_parts); }

  /// Calls visit(query, first, count) for the visits of each query to each tile in one part of the table:
  /// those numbered first, ..., first + count - 1.
  template <class Visit>
  void walk(int64_t part, const float* table, Visit&& visit) const {
    const int64_t first_tile = tiles_ * part / parts(), last_tile = tiles_ * (part + 1) / parts();
    std::vector<int64_t> next(static_cast<size_t>(queries_));
    for (int64_t i = 0; i < queries_; ++i) {
      const auto before = [&](int32_t row) { return row >> shift_ < first_tile; };
      next[static_cast<size_t>(i)] = std::partition_point(index(i), index(i) + width_, before) - index(i);
    }
    const int64_t bytes_ahead = tile_rows() * depth_ * 4 / queries_;
    for (int64_t tile = first_tile; tile < last_tile; ++tile)
      for (int64_t i = 0; i < queries_; ++i) {
        prefetch(table + ((tile + 1) << shift_) * depth_, i * bytes_ahead, bytes_ahead);
        const int32_t* row = index(i);
        const int64_t first = next[static_cast<size_t>(i)];
        int64_t end = first;
        while (end < width_ && row[end] >> shift_ == tile) ++end;
        visit(i, first, end - first);
        next[static_cast<size_t>(i)] = end;
      }
  }

  /// The rows of the table that query i visits, in the order of the walk.
  const int32_t* index(int64_t i) const { return index_ + i * width_; }
  /// The column of `indices` that visit j of query i stands in.
  int64_t column(int64_t i, int64_t j) const { return column_ ? column_[i * width_ + j] : j; }
  /// One value for each index, in the order of the walk.
  Tensor arrange(const Tensor& values) const {
    if (!column_) return values;
    const Tensor arranged(values.shape());
    const float* from = values.data<float>();
    float* to = arranged.data<float>();
    parallel_for(queries_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        for (int64_t j = 0; j < width_; ++j) to[i * width_ + j] = from[i * width_ + column(i, j)];
    });
    return arranged;
  }

 private:
  int64_t tile_rows() const { return int64_t{1} << shift_; }

  /// A stable counting sort of each query's indices by their tile.
  void group_by_tile(const int32_t* indices) {
    grouped_ = Tensor({2, queries_, width_}, DType::i32);
    int32_t* grouped_index = grouped_.data<int32_t>();
    int32_t* grouped_column = grouped_index + queries_ * width_;
    parallel_for(queries_, 1, [&](int64_t begin, int64_t end) {
      std::vector<int32_t> place(static_cast<size_t>(tiles_ + 2));  // absent rows lie before the first tile
      for (int64_t i = begin; i < end; ++i) {
        const int32_t* from = indices + i * width_;
        int32_t* to = grouped_index + i * width_;
        int32_t* column = grouped_column + i * width_;
        std::fill(place.begin(), place.end(), 0);
        for (int64_t j = 0; j < width_; ++j) ++place[static_cast<size_t>((from[j] >> shift_) + 2)];
        for (int64_t t = 0; t <= tiles_; ++t)
          place[static_cast<size_t>(t + 1)] += place[static_cast<size_t>(t)];
        for (int64_t j = 0; j < width_; ++j) {
          const int32_t at = place[static_cast<size_t>((from[j] >> shift_) + 1)]++;
          to[at] = from[j];
          column[at] = static_cast<int32_t>(j);
        }
      }
    });
    index_ = grouped_index;
    column_ = grouped_column;
  }

  int64_t queries_, width_, rows_, depth_, tiles_ = 0;
  int shift_ = 0;                    // a tile has 2^shift rows
  const int32_t* index_;             // [queries, width]
  const int32_t* column_ = nullptr;  // null: each index is visited in its place
  Tensor grouped_;                   // holds both if the caller's indices do not ascend
};

/// y[0 .. vectors lanes) += sum over j of coefficients[j] * (the same columns of row
/// indices[j]), in registers.
template <int vectors>
void add_rows(const float* coefficients, const int32_t* indices, int64_t n, const float* table, int64_t depth,
              float* y) {
  Floats sum[vectors];
  for (int v = 0; v < vectors; ++v) sum[v] = load(y + v * simd_lanes);
  for (int64_t j = 0; j < n; ++j) {
    const float* row = table + indices[j] * depth;
    for (int v = 0; v < vectors; ++v) sum[v] += coefficients[j] * load(row + v * simd_lanes);
  }
  for (int v = 0; v < vectors; ++v) store(y + v * simd_lanes, sum[v]);
}

/// y [depth] += sum over j of coefficients[j] * table[indices[j]], in the order of j.
void add_rows(const float* coefficients, const int32_t* indices, int64_t n, const float* table, int64_t depth,
              float* y) {
  constexpr int wide = 8;
  int64_t d = 0;
  for (; d + wide * simd_lanes <= depth; d += wide * simd_lanes)
    add_rows<wide>(coefficients, indices, n, table + d, depth, y + d);
  for (; d + simd_lanes <= depth; d += simd_lanes)
    add_rows<1>(coefficients, indices, n, table + d, depth, y + d);
  for (; d < depth; ++d)
    for (int64_t j = 0; j < n; ++j) y[d] += coefficients[j] * table[indices[j] * depth + d];
}

}  // namespace

void CpuBackend::gather_dot(const Tensor& queries, const Tensor& table, const Tensor& indices,
                            const Tensor& y) {
  if (check_part_rows("gather_dot", indices, table.size(0))) fill(-std::numeric_limits<float>::infinity(), y);
  if (y.numel() == 0 || table.size(0) == 0) return;
  const int64_t depth = table.size(1), width = indices.size(1);
  const float* query = queries.data<float>();
  const float* rows = table.data<float>();
  float* scores = y.data<float>();
  const TileWalk walk(indices, table);
  parallel_for(walk.parts(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part)
      walk.walk(part, rows, [&](int64_t i, int64_t first, int64_t count) {
        for (int64_t j = first; j < first + count; ++j)
          scores[i * width + walk.column(i, j)] =
              dot(query + i * depth, rows + walk.index(i)[j] * depth, depth);
      });
  });
}

// Each part of the table gives a partial sum, and these are added in the order of the parts, so that the
// result does not depend on the number of threads.
void CpuBackend::gather_sum(const Tensor& coefficients, const Tensor& indices, const Tensor& table,
                            const Tensor& y) {
  check_part_rows("gather_sum", indices, table.size(0));
  const int64_t queries = y.size(0), depth = y.size(1), width = indices.size(1);
  if (y.numel() == 0) return;
  if (width == 0 || table.size(0) == 0) return fill(0.0f, y);
  const TileWalk walk(indices, table);
  const Tensor factors = walk.arrange(coefficients);
  const Tensor partial({walk.parts(), queries, depth});
  parallel_for(walk.parts(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      float* sums = partial.data<float>() + part * queries * depth;
      std::fill(sums, sums + queries * depth, 0.0f);
      walk.walk(part, table.data<float>(), [&](int64_t i, int64_t first, int64_t count) {
        add_rows(factors.data<float>() + i * width + first, walk.index(i) + first, count, table.data<float>(),
                 depth, sums + i * depth);
      });
    }
  });
  parallel_for(queries, 16, [&](int64_t begin, int64_t end) {
    float* sums = y.data<float>();
    std::fill(sums + begin * depth, sums + end * depth, 0.0f);
    for (int64_t part = 0; part < walk.parts(); ++part) {
      const float* term = partial.data<float>() + part * queries * depth;
      for (int64_t e = begin * depth; e < end * depth; ++e) sums[e] += term[e];
    }
  });
}

}  // namespace la
