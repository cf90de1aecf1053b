#include "la/memory_bank.h"

#include "tensor/ops.h"

namespace la {

// A normal vector has no preferred direction, so its normalization is uniform on the sphere.
MemoryBank::MemoryBank(int64_t size, int64_t dim, float momentum, uint64_t seed, Device device)
    : vectors_(ops::l2_normalize(ops::random_normal({size, dim}, {seed, RandomStream::bank, 0}, device)).y),
      momentum_(momentum) {}

void MemoryBank::update(const Tensor& indices, const Tensor& v) {
  ops::ema_update_rows(vectors_, indices, v, momentum_);
}

void MemoryBank::assign(const Tensor& indices, const Tensor& v) { ops::scatter_rows(vectors_, indices, v); }

void MemoryBank::assign_all(const Tensor& v) { ops::copy_into(vectors_, v); }

}  // namespace la
