// Tables on the CPU: gathering and scattering rows, updating the memory bank, products with chosen rows.
#include <algorithm>
#include <cmath>

#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/indices.h"
#include "tensor/cpu/parallel.h"
#include "tensor/cpu/vector_math.h"

namespace la {
namespace {

constexpr int64_t grain_bytes = 1 << 15;  // a thread is worth waking for more bytes than this

int64_t rows_per_grain(int64_t row_bytes) { return grain_bytes / std::max<int64_t>(row_bytes, 1) + 1; }

int64_t row_bytes_of(const Tensor& table) {
  return table.size(0) == 0 ? 0 : static_cast<int64_t>(table.bytes()) / table.size(0);
}

/// y[0 .. vectors lanes) += sum over j of coefficients[j] * (the same columns of row indices[j]), in
/// registers.
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

void check_indices(const char* op, const Tensor& indices, int64_t n) {
  const int32_t* index = indices.data<int32_t>();
  parallel_for(indices.numel(), grain_bytes, [&](int64_t begin, int64_t end) {
    int32_t wrong = 0;
#pragma omp simd reduction(| : wrong)
    for (int64_t i = begin; i < end; ++i) wrong |= (index[i] < 0) | (index[i] >= n);
    if (wrong == 0) return;
    for (int64_t i = begin; i < end; ++i)
      check(index[i] >= 0 && index[i] < n, "{}: index {} at position {} is not in 0 to {}", op, index[i], i,
            n - 1);
  });
}

void CpuBackend::gather_rows(const Tensor& table, const Tensor& rows, const Tensor& y) {
  check_indices("gather_rows", rows, table.size(0));
  const int64_t bytes = row_bytes_of(table);
  const int32_t* row = rows.data<int32_t>();
  const auto* source = static_cast<const std::byte*>(table.raw());
  auto* destination = static_cast<std::byte*>(y.raw());
  parallel_for(rows.numel(), rows_per_grain(bytes), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      std::memcpy(destination + i * bytes, source + row[i] * bytes, static_cast<size_t>(bytes));
  });
}

void CpuBackend::scatter_rows(const Tensor& rows, const Tensor& source, const Tensor& table) {
  check_indices("scatter_rows", rows, table.size(0));
  const int64_t bytes = row_bytes_of(table);
  const int32_t* row = rows.data<int32_t>();
  const auto* from = static_cast<const std::byte*>(source.raw());
  auto* to = static_cast<std::byte*>(table.raw());
  parallel_for(rows.numel(), rows_per_grain(bytes), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      std::memcpy(to + row[i] * bytes, from + i * bytes, static_cast<size_t>(bytes));
  });
}

void CpuBackend::blend_normalized_rows(const Tensor& rows, const Tensor& source, float keep,
                                       const Tensor& table) {
  check_indices("blend_normalized_rows", rows, table.size(0));
  const int64_t depth = table.size(1);
  const int32_t* row = rows.data<int32_t>();
  const float* fresh = source.data<float>();
  float* bank = table.data<float>();
  parallel_for(rows.numel(), rows_per_grain(row_bytes_of(table)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* v = bank + row[i] * depth;
      const float* s = fresh + i * depth;
      for (int64_t d = 0; d < depth; ++d) v[d] = keep * v[d] + (1.0f - keep) * s[d];
      const float norm = std::sqrt(dot(v, v, depth));
      const float factor = norm == 0.0f ? 0.0f : 1.0f / norm;  // a row of zeros stays zero
      for (int64_t d = 0; d < depth; ++d) v[d] *= factor;
    }
  });
}

void CpuBackend::gather_dot(const Tensor& queries, const Tensor& table, const Tensor& indices,
                            const Tensor& y) {
  check_indices("gather_dot", indices, table.size(0));
  const int64_t depth = table.size(1), width = indices.size(1);
  const float* query = queries.data<float>();
  const float* rows = table.data<float>();
  const int32_t* index = indices.data<int32_t>();
  float* scores = y.data<float>();
  constexpr int64_t ahead = 8;  // rows to ask for before they are needed: chosen rows lie anywhere in memory
  parallel_for(indices.numel(), rows_per_grain(row_bytes_of(table)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      prefetch(rows, index[std::min(i + ahead, end - 1)] * depth * 4, depth * 4);
      scores[i] = dot(query + i / width * depth, rows + index[i] * depth, depth);
    }
  });
}

// The indices of a row ascend as a rule, so the table is walked in tiles that stay in the cache while every
// query adds what it has there: the table comes from memory once, not once for each query. The sum of a query
// is in the order of its indices, whatever that is; an index below its tile is only slower.
void CpuBackend::gather_sum(const Tensor& coefficients, const Tensor& indices, const Tensor& table,
                            const Tensor& y) {
  check_indices("gather_sum", indices, table.size(0));
  constexpr int64_t tile_bytes = 1 << 18;
  const int64_t n = table.size(0), depth = table.size(1), width = indices.size(1);
  const int64_t tile = rows_per_grain(row_bytes_of(table)) * (tile_bytes / grain_bytes);
  const int32_t* index = indices.data<int32_t>();
  const float* coefficient = coefficients.data<float>();
  const float* rows = table.data<float>();
  float* sums = y.data<float>();
  parallel_for(y.size(0), 1, [&](int64_t begin, int64_t end) {
    std::fill(sums + begin * depth, sums + end * depth, 0.0f);
    std::vector<int64_t> position(static_cast<size_t>(end - begin), 0);
    const int64_t bytes_ahead = tile * depth * 4 / (end - begin);
    for (int64_t first = 0; first < n; first += tile)
      for (int64_t i = begin; i < end; ++i) {
        prefetch(rows + (first + tile) * depth, (i - begin) * bytes_ahead, bytes_ahead);
        int64_t& from = position[static_cast<size_t>(i - begin)];
        int64_t to = from;
        while (to < width && index[i * width + to] < first + tile) ++to;
        add_rows(coefficient + i * width + from, index + i * width + from, to - from, rows, depth,
                 sums + i * depth);
        from = to;
      }
  });
}

}  // namespace la
