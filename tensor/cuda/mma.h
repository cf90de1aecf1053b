// Products of small matrices on the tensor cores, and what feeds them: one warp multiplies together, each
// lane holding a fixed part of every matrix. Under nvcc these are single instructions of PTX; on the host the
// lanes exchange their parts, laid out as the PTX manual says (section "Matrix Fragments for mma.m16n8k16"),
// so that tests of a kernel see whether it gives every lane the right part.
#pragma once

#include <bit>

#include "tensor/cuda/kernel.h"

/// Unrolls the loop that follows completely, as arrays need to lie in registers, which have no addresses.
#ifdef __CUDACC__
#define LA_UNROLL _Pragma("unroll")
#else
#define LA_UNROLL
#endif

namespace la::cuda {

/// D[16, 8] += A[16, 16] B[16, 8] with A, B in bf16 and D in f32. With g = lane / 4
/// and t = lane % 4, a lane has
///   d:  D[g, 2t], D[g, 2t + 1], D[g + 8, 2t], D[g + 8, 2t + 1]
///   a:  pairs from A[g, 2t], A[g + 8, 2t], A[g, 2t + 8], A[g + 8, 2t + 8] on, along the row
///   b:  pairs from B[2t, g], B[2t + 8, g] on, down the column
/// where the first of a pair is in the lower half of its word.
__device__ inline void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#ifdef __CUDACC__
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  struct Parts {
    uint32_t a[4], b[2];
  };
  const Parts mine{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  const std::byte* all = emulated::exchange("mma", whole_warp, &mine, sizeof mine);
  const auto parts = [all](int lane) -> const Parts& {
    return *reinterpret_cast<const Parts*>(all + static_cast<size_t>(lane) * emulated::most_exchanged_bytes);
  };
  const auto half = [](uint32_t word, int which) {
    return std::bit_cast<float>(which == 0 ? word << 16 : word & 0xffff0000u);
  };
  for (int e = 0; e < 4; ++e) {
    const int row = lane_id() / 4 + 8 * (e / 2), column = 2 * (lane_id() % 4) + e % 2;
    for (int k = 0; k < 16; ++k) {
      const int pair = k % 8 / 2;
      d[e] += half(parts(row % 8 * 4 + pair).a[row / 8 + 2 * (k / 8)], k % 2) *
              half(parts(column * 4 + pair).b[k / 8], k % 2);
    }
  }
#endif
}

/// Four matrices of 8 rows of 8 bf16 from shared memory: lane l gives the address of row l % 8 of matrix l /
/// 8, aligned to 16 bytes, and gets of each matrix the pair from [l / 4, 2 (l % 4)] on. Rows of B's transpose
/// so become the parts of B above.
__device__ inline void load_matrices(uint32_t (&pairs)[4], const bf16* row) {
#ifdef __CUDACC__
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(pairs[0]), "=r"(pairs[1]), "=r"(pairs[2]), "=r"(pairs[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
#else
  check(reinterpret_cast<uintptr_t>(row) % 16 == 0, "load_matrices: a row is not aligned to 16 bytes");
  const std::byte* all = emulated::exchange("ldmatrix", whole_warp, &row, sizeof row);
  for (int matrix = 0; matrix < 4; ++matrix) {
    const int lane = 8 * matrix + lane_id() / 4;
    const bf16* from;
    std::memcpy(&from, all + static_cast<size_t>(lane) * emulated::most_exchanged_bytes, sizeof from);
    std::memcpy(&pairs[matrix], from + 2 * (lane_id() % 4), sizeof pairs[matrix]);
  }
#endif
}

/// Starts copying 16 bytes from global to shared memory, both aligned to that.
__device__ inline void start_copy(void* to, const void* from) {
#ifdef __CUDACC__
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;\n" ::"r"(
                   static_cast<uint32_t>(__cvta_generic_to_shared(to))),
               "l"(__cvta_generic_to_global(from))
               : "memory");
#else
  check((reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from)) % 16 == 0,
        "start_copy: an address is not aligned to 16 bytes");
  emulated::start_copy(to, from, 16);
#endif
}

/// Waits for the copies that this thread has started; a barrier then shows them to the other threads.
__device__ inline void wait_for_copies() {
#ifdef __CUDACC__
  asm volatile("cp.async.wait_all;\n" ::: "memory");
#else
  emulated::finish_copies();
#endif
}

}  // namespace la::cuda
