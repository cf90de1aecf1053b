#include "la/memory_bank.h"

#include <algorithm>

#include "tensor/ops.h"

namespace la {
namespace {

// A normal vector has no preferred direction, so its normalization is uniform on the sphere.
Tensor random_unit_vectors(const RowRange& rows, int64_t dim, uint64_t seed, Device device) {
  constexpr int64_t block = 65536;  // rows that are there twice for a moment
  const Tensor vectors({rows.size(), dim}, DType::f32, device);
  for (int64_t begin = 0; begin < rows.size(); begin += block) {
    const Tensor some = vectors.rows(begin, std::min(begin + block, rows.size()));
    ops::random_normal_into(some, {seed, RandomStream::bank, 0}, (rows.begin + begin) * dim);
    ops::copy_into(some, ops::l2_normalize(some).y);
  }
  return vectors;
}

}  // namespace

MemoryBank::MemoryBank(int64_t size, int64_t dim, float momentum, uint64_t seed, Device device,
                       const Shards& shards)
    : rows_(random_unit_vectors(shards.own_rows(size), dim, seed, device), size, shards),
      momentum_(momentum) {}

void MemoryBank::update(const Tensor& indices, const Tensor& v) {
  ops::ema_update_rows(rows_.own, own_rows_of(indices), v, momentum_);
}

void MemoryBank::assign(const Tensor& indices, const Tensor& v) {
  ops::scatter_rows(rows_.own, own_rows_of(indices), v);
}

void MemoryBank::assign_all(const Tensor& v) { ops::copy_into(rows_.own, v); }

Tensor MemoryBank::own_rows_of(const Tensor& indices) const {
  // A process alone has them all; one that does not exist is then an error where it is used, unless it is called absent_row.
  if (shards().ranks().alone()) return indices;
  return ops::rows_of_part(indices, rows_.range().begin, rows_.range().end);
}

Tensor MemoryBank::part_rows_of(const Tensor& indices, int64_t p) const {
  if (shards().count() == 1) return indices;
  return ops::rows_of_part(indices, rows_.range(p).begin, rows_.range(p).end);
}

}  // namespace la
