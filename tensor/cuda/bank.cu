// Tables on the GPU: gathering and scattering rows, updating the memory bank, products with chosen rows. An
// index that is out of range is reported and its row left alone.
#include <cmath>
#include <limits>

#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/kernel.h"
#include "tensor/cuda/row_sums.h"

namespace la {
namespace {

using namespace cuda;

constexpr int threads = 256;
constexpr int warps = threads / warp_size;

/// Row numbers of a table with n rows, or absent_row.
struct Rows {
  const int32_t* index;
  int64_t n;
  Reporter report;

  Rows(const char* message, const Tensor& indices, const Tensor& table)
      : index(indices.data<int32_t>()), n(table.size(0)), report(message) {}

  /// The row that entry i names, or -1 for one of another part, or that does not exist.
  __device__ int64_t operator[](int64_t i) const {
    const int64_t row = index[i];
    if (row >= absent_row && row < n) return row;
    report(row, n - 1);
    return absent_row;
  }
};

// ---- Moving rows ------------------------------------------------------------------------------------------

/// Elements of 4 bytes, 16 bytes at a time where rows allow it.
using Word = uint32_t;

/// y[i] = table[rows[i]], or the other way round; one thread for each pack of a row. Reads and writes once.
template <int width, bool scatter>
__global__ void move_rows_kernel(Rows rows, int64_t count, int64_t columns, const Word* from, Word* to) {
  const int64_t packs = columns / width;
  for (int64_t item = global_thread(); item < count * packs; item += global_threads()) {
    const int64_t i = item / packs, column = item % packs * width;
    const int64_t row = rows[i];
    if (row >= 0)
      Pack<Word, width>::load(from + (scatter ? i : row) * columns + column)
          .store(to + (scatter ? row : i) * columns + column);
    else if (!scatter)
      Pack<Word, width>{}.store(to + i * columns + column);
  }
}

template <bool scatter>
void move_rows(const char* name, const Rows& rows, int64_t count, int64_t columns, const void* from,
               void* to) {
  const auto* source = static_cast<const Word*>(from);
  auto* destination = static_cast<Word*>(to);
  dispatch_width<Word>(columns, aligned_for_vectors(source, destination), [&](auto width) {
    launch(name, move_rows_kernel<width(), scatter>,
           {blocks_for(count * columns / width(), threads), threads}, rows, count, columns, source,
           destination);
  });
}

int64_t columns_of(const Tensor& table) { return table.rank() == 1 ? 1 : table.size(1); }

__global__ void set_column_kernel(int64_t count, int64_t width, const int32_t* values, int32_t* column) {
  for (int64_t i = global_thread(); i < count; i += global_threads()) column[i * width] = values[i];
}

/// table[rows[i]] <- normalize(keep * table[rows[i]] + (1 - keep) * source[i]). One warp for each row, which
/// it reads twice and writes twice; the second time it is in the cache.
__global__ void ema_update_rows_kernel(Rows rows, int64_t count, int64_t depth, const float* source,
                                       float keep, float* table) {
  const int64_t i = global_thread() / warp_size;
  if (i >= count) return;
  const int64_t row = rows[i];
  if (row < 0) return;
  float* v = table + row * depth;
  float squares = 0.0f;
  for (int64_t d = lane_id(); d < depth; d += warp_size) {
    v[d] = keep * v[d] + (1.0f - keep) * source[i * depth + d];
    squares += v[d] * v[d];
  }
  const float norm = std::sqrt(warp_reduce(squares, Sum()));
  const float factor = norm == 0.0f ? 0.0f : 1.0f / norm;  // a row of zeros stays zero
  for (int64_t d = lane_id(); d < depth; d += warp_size) v[d] *= factor;
}

// ---- Products with chosen rows ----------------------------------------------------------------------------

constexpr int indices_per_block = 256;

/// y_ij = queries_i . table[indices_ij]. A block takes 256 indices of one query; each of its warps takes one
/// after the other, so that a row is read by neighboring lanes. Reads each chosen row once; the query stays
/// in the cache.
template <int width>
__global__ void gather_dot_kernel(Rows indices, int64_t k, int64_t depth, const float* queries,
                                  const float* table, float* y) {
  using Floats = Pack<float, width>;
  const int64_t parts = (k + indices_per_block - 1) / indices_per_block, i = blockIdx.x / parts;
  const int64_t begin = blockIdx.x % parts * indices_per_block;
  const int64_t end = begin + indices_per_block < k ? begin + indices_per_block : k;
  const float* query = queries + i * depth;
  for (int64_t j = begin + warp_id(); j < end; j += warps) {
    const int64_t row = indices[i * k + j];
    float sum = 0.0f;
    for (int64_t d = lane_id() * width; row >= 0 && d < depth; d += warp_size * width) {
      const Floats a = Floats::load(query + d), b = Floats::load(table + row * depth + d);
      for (int e = 0; e < width; ++e) sum += a.value[e] * b.value[e];
    }
    sum = warp_reduce(sum, Sum());
    if (lane_id() == 0) y[i * k + j] = row < 0 ? -std::numeric_limits<float>::infinity() : sum;
  }
}

constexpr int rows_per_part = 512;

/// partial[part, i] = the sum over 512 of the j of coefficients_ij * table[indices_ij]. A block takes one
/// part of one query and 32 packs of columns (blockIdx.y); each warp sums every 8th row, and the sums of the
/// warps are added in their order. Reads each chosen row once.
template <int width>
__global__ void gather_sum_kernel(Rows indices, int64_t queries, int64_t k, int64_t depth,
                                  const float* coefficients, const float* table, float* partial) {
  using Floats = Pack<float, width>;
  const int64_t parts = (k + rows_per_part - 1) / rows_per_part;
  const int64_t i = blockIdx.x / parts, part = blockIdx.x % parts;
  const int64_t begin = part * rows_per_part, end = begin + rows_per_part < k ? begin + rows_per_part : k;
  const int64_t first_column = int64_t{blockIdx.y} * warp_size * width;
  const int64_t column = first_column + lane_id() * width;

  Floats sum{};
  for (int64_t j = begin + warp_id(); j < end && column < depth; j += warps) {
    const int64_t row = indices[i * k + j];
    if (row < 0) continue;
    const float coefficient = coefficients[i * k + j];
    const Floats term = Floats::load(table + row * depth + column);
    for (int e = 0; e < width; ++e) sum.value[e] += coefficient * term.value[e];
  }
  add_warps<warps>(sum, first_column, depth, partial + (part * queries + i) * depth);
}

/// y[e] = the sum of all parts at e, in their order.
__global__ void add_parts_kernel(int64_t parts, int64_t n, const float* partial, float* y) {
  for (int64_t e = global_thread(); e < n; e += global_threads()) {
    float sum = 0.0f;
    for (int64_t part = 0; part < parts; ++part) sum += partial[part * n + e];
    y[e] = sum;
  }
}

}  // namespace

void CudaBackend::gather_rows(const Tensor& table, const Tensor& rows, const Tensor& y) {
  move_rows<false>("gather_rows", Rows("gather_rows: index {} is not in 0 to {}", rows, table), rows.numel(),
                   columns_of(table), table.raw(), y.raw());
}

void CudaBackend::scatter_rows(const Tensor& rows, const Tensor& source, const Tensor& table) {
  move_rows<true>("scatter_rows", Rows("scatter_rows: index {} is not in 0 to {}", rows, table), rows.numel(),
                  columns_of(table), source.raw(), table.raw());
}

void CudaBackend::set_column(const Tensor& values, int64_t column, const Tensor& matrix) {
  launch("set_column", set_column_kernel, {blocks_for(values.numel(), threads), threads}, values.numel(),
         matrix.size(1), values.data<int32_t>(), matrix.data<int32_t>() + column);
}

void CudaBackend::ema_update_rows(const Tensor& rows, const Tensor& source, float keep, const Tensor& table) {
  const Rows bank_rows("ema_update_rows: index {} is not in 0 to {}", rows, table);
  launch("ema_update_rows", ema_update_rows_kernel, {blocks_for(rows.numel(), warps), threads}, bank_rows,
         rows.numel(), table.size(1), source.data<float>(), keep, table.data<float>());
}

void CudaBackend::gather_dot(const Tensor& queries, const Tensor& table, const Tensor& indices,
                             const Tensor& y) {
  const int64_t k = indices.size(1), depth = table.size(1);
  const float *query = queries.data<float>(), *rows = table.data<float>();
  const Rows chosen("gather_dot: index {} is not in 0 to {}", indices, table);
  const auto blocks = static_cast<unsigned>(queries.size(0) * blocks_for(k, indices_per_block));
  dispatch_width<float>(depth, aligned_for_vectors(query, rows), [&](auto width) {
    launch("gather_dot", gather_dot_kernel<width()>, {blocks, threads}, chosen, k, depth, query, rows,
           y.data<float>());
  });
}

void CudaBackend::gather_sum(const Tensor& coefficients, const Tensor& indices, const Tensor& table,
                             const Tensor& y) {
  const int64_t queries = y.size(0), depth = y.size(1), k = indices.size(1);
  const int64_t parts = blocks_for(k, rows_per_part);
  const Tensor partial({parts, queries, depth}, DType::f32, Device::cuda());
  const float* rows = table.data<float>();
  const Rows chosen("gather_sum: index {} is not in 0 to {}", indices, table);
  dispatch_width<float>(depth, aligned_for_vectors(rows), [&](auto width) {
    const dim3 blocks(static_cast<unsigned>(parts * queries), blocks_for(depth, warp_size * width()));
    launch("gather_sum", gather_sum_kernel<width()>, {blocks, threads}, chosen, queries, k, depth,
           coefficients.data<float>(), rows, partial.data<float>());
  });
  launch("gather_sum", add_parts_kernel, {blocks_for(y.numel(), threads), threads}, parts, y.numel(),
         partial.data<float>(), y.data<float>());
}

}  // namespace la
