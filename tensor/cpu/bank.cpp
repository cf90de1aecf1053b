// Tables on the CPU: gathering and scattering rows, updating the memory bank.
#include <algorithm>
#include <cmath>

#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/indices.h"
#include "tensor/parallel.h"
#include "tensor/vector_math.h"

namespace la {
namespace {

constexpr int64_t grain_bytes = 1 << 15;  // a thread is worth waking for more bytes than this

int64_t rows_per_grain(int64_t row_bytes) { return grain_bytes / std::max<int64_t>(row_bytes, 1) + 1; }

int64_t row_bytes_of(const Tensor& table) {
  return (table.rank() == 1 ? 1 : table.size(1)) * static_cast<int64_t>(size_of(table.dtype()));
}

/// An Error unless all indices are in {lowest, ..., n - 1}.
void check_between(const char* op, const Tensor& indices, int32_t lowest, int64_t n) {
  const int32_t* index = indices.data<int32_t>();
  parallel_for(indices.numel(), grain_bytes, [&](int64_t begin, int64_t end) {
    const int32_t* x = index;
    const auto limit =
        static_cast<uint32_t>(n - lowest);  // what is below the lowest is a large unsigned number
    uint32_t wrong = 0;
#pragma omp simd reduction(| : wrong)
    for (int64_t i = begin; i < end; ++i)
      wrong |= static_cast<uint32_t>(x[i]) - static_cast<uint32_t>(lowest) >= limit ? 1u : 0u;
    if (wrong == 0) return;
    for (int64_t i = begin; i < end; ++i)
      check(index[i] >= lowest && index[i] < n, "{}: index {} at position {} is not in {} to {}", op,
            index[i], i, lowest, n - 1);
  });
}

}  // namespace

void check_indices(const char* op, const Tensor& indices, int64_t n) { check_between(op, indices, 0, n); }

bool check_part_rows(const char* op, const Tensor& rows, int64_t n) {
  check_between(op, rows, absent_row, n);
  const int32_t* row = rows.data<int32_t>();
  int32_t smallest = 0;
#pragma omp simd reduction(min : smallest)
  for (int64_t i = 0; i < rows.numel(); ++i) smallest = row[i] < smallest ? row[i] : smallest;
  return smallest == absent_row;
}

void CpuBackend::gather_rows(const Tensor& table, const Tensor& rows, const Tensor& y) {
  check_part_rows("gather_rows", rows, table.size(0));
  const int64_t bytes = row_bytes_of(table);
  const int32_t* row = rows.data<int32_t>();
  const auto* source = static_cast<const std::byte*>(table.raw());
  auto* destination = static_cast<std::byte*>(y.raw());
  parallel_for(rows.numel(), rows_per_grain(bytes), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      if (row[i] == absent_row)
        std::memset(destination + i * bytes, 0, static_cast<size_t>(bytes));
      else
        std::memcpy(destination + i * bytes, source + row[i] * bytes, static_cast<size_t>(bytes));
  });
}

void CpuBackend::scatter_rows(const Tensor& rows, const Tensor& source, const Tensor& table) {
  check_part_rows("scatter_rows", rows, table.size(0));
  const int64_t bytes = row_bytes_of(table);
  const int32_t* row = rows.data<int32_t>();
  const auto* from = static_cast<const std::byte*>(source.raw());
  auto* to = static_cast<std::byte*>(table.raw());
  parallel_for(rows.numel(), rows_per_grain(bytes), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      if (row[i] != absent_row)
        std::memcpy(to + row[i] * bytes, from + i * bytes, static_cast<size_t>(bytes));
  });
}

void CpuBackend::set_column(const Tensor& values, int64_t column, const Tensor& matrix) {
  const int32_t* from = values.data<int32_t>();
  int32_t* to = matrix.data<int32_t>() + column;
  for (int64_t i = 0; i < values.numel(); ++i) to[i * matrix.size(1)] = from[i];
}

void CpuBackend::ema_update_rows(const Tensor& rows, const Tensor& source, float keep, const Tensor& table) {
  check_part_rows("ema_update_rows", rows, table.size(0));
  const int64_t depth = table.size(1);
  const int32_t* row = rows.data<int32_t>();
  const float* fresh = source.data<float>();
  float* bank = table.data<float>();
  parallel_for(rows.numel(), rows_per_grain(row_bytes_of(table)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (row[i] == absent_row) continue;
      float* v = bank + row[i] * depth;
      const float* s = fresh + i * depth;
      for (int64_t d = 0; d < depth; ++d) v[d] = keep * v[d] + (1.0f - keep) * s[d];
      const float norm = std::sqrt(dot(v, v, depth));
      const float factor = norm == 0.0f ? 0.0f : 1.0f / norm;  // a row of zeros stays zero
      for (int64_t d = 0; d < depth; ++d) v[d] *= factor;
    }
  });
}

}  // namespace la
