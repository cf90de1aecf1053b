// CUDA, played on the host: the words of the language and the functions that kernels use. A launch runs its
// blocks one after the other, or LA_EMULATED_BLOCKS of them by turns; the threads of a block are fibers,
// which run one at a time until they meet a barrier or an operation of the warp. What is missing here is not
// used by our kernels.
//
// The order of the fibers is set by LA_EMULATED_ORDER=forward (the default) or reverse: a barrier that is
// missing shows in one of them. Shared memory starts out full of bytes 0xff, and what is copied to it without
// waiting arrives as late as can be. LA_EMULATED_MULTIPROCESSORS says for how many of them work is shared out
// (2). With LA_EMULATED_PROTECT=1, device memory that is touched from elsewhere ends the program.
// LA_SKIP_BARRIER=file:line leaves out one barrier, and LA_LIST_BARRIERS=FILE writes those met to a
// file: with both, a script can show that the tests find every missing barrier.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
inline dim3 threadIdx, blockIdx, blockDim, gridDim;  // of the fiber that runs

namespace la::cuda::emulated {

struct Shape {
  dim3 blocks;
  int threads;
  size_t shared_bytes;
};

/// Runs the kernel, or remembers it while a graph is being recorded.
void launch(const char* name, const Shape& shape, const std::function<void()>& kernel);
/// Runs other work of the stream, or remembers it.
void enqueue(const std::function<void()>& work);

template <class T>
const void* type_id() {
  static const char id = 0;
  return &id;
}
void* shared_object(const void* type, size_t bytes);
void* dynamic_shared();

struct Site {
  const char* file;
  int line;
};
void block_barrier(const Site& site);
void warp_barrier(const Site& site, unsigned mask);

/// All lanes of `mask` meet; each brings `bytes` bytes and is given a pointer to those of all lanes, `stride`
/// bytes apart, which stay until it meets the others again. `operation` must be the same for all.
constexpr size_t most_exchanged_bytes = 64;
const std::byte* exchange(const char* operation, unsigned mask, const void* value, size_t bytes);

template <class T>
T from_lane(const char* operation, unsigned mask, T value, int lane) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= most_exchanged_bytes);
  const std::byte* all = exchange(operation, mask, &value, sizeof value);
  T result;
  std::memcpy(&result, all + static_cast<size_t>(lane) * most_exchanged_bytes, sizeof result);
  return result;
}
inline int lane() { return static_cast<int>(threadIdx.x) % 32; }

/// A copy to shared memory that this thread does not wait for: until finish_copies(), its place
/// holds bytes 0xff.
void start_copy(void* to, const void* from, size_t bytes);
void finish_copies();

}  // namespace la::cuda::emulated

#define __syncthreads() ::la::cuda::emulated::block_barrier({__FILE__, __LINE__})
#define LA_SYNCWARP_MASK(mask, ...) ::la::cuda::emulated::warp_barrier({__FILE__, __LINE__}, mask)
#define __syncwarp(...) LA_SYNCWARP_MASK(__VA_ARGS__ __VA_OPT__(, ) 0xffffffffu)

template <class T>
T __shfl_sync(unsigned mask, T value, int source) {
  return la::cuda::emulated::from_lane("shfl", mask, value, source & 31);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int distance) {
  return la::cuda::emulated::from_lane("shfl_xor", mask, value, la::cuda::emulated::lane() ^ distance);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance) {
  const int source = la::cuda::emulated::lane() - static_cast<int>(distance);
  return la::cuda::emulated::from_lane("shfl_up", mask, value,
                                       source < 0 ? source + static_cast<int>(distance) : source);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance) {
  const int source = la::cuda::emulated::lane() + static_cast<int>(distance);
  return la::cuda::emulated::from_lane("shfl_down", mask, value,
                                       source > 31 ? source - static_cast<int>(distance) : source);
}
inline unsigned __ballot_sync(unsigned mask, bool predicate) {
  const std::byte* all = la::cuda::emulated::exchange("ballot", mask, &predicate, sizeof predicate);
  unsigned votes = 0;
  for (unsigned lane = 0; lane < 32; ++lane)
    if ((mask >> lane & 1u) && all[lane * la::cuda::emulated::most_exchanged_bytes] != std::byte{0})
      votes |= 1u << lane;
  return votes;
}
inline bool __any_sync(unsigned mask, bool predicate) { return __ballot_sync(mask, predicate) != 0; }
inline bool __all_sync(unsigned mask, bool predicate) { return __ballot_sync(mask, predicate) == mask; }

// Atomics: one fiber runs at a time.
template <class T>
T atomicAdd(T* at, std::type_identity_t<T> value) {
  const T old = *at;
  *at = static_cast<T>(old + value);
  return old;
}
template <class T>
T atomicMax(T* at, std::type_identity_t<T> value) {
  const T old = *at;
  *at = std::max(old, value);
  return old;
}
template <class T>
T atomicMin(T* at, std::type_identity_t<T> value) {
  const T old = *at;
  *at = std::min(old, value);
  return old;
}
template <class T>
T atomicOr(T* at, std::type_identity_t<T> value) {
  const T old = *at;
  *at = old | value;
  return old;
}
template <class T>
T atomicCAS(T* at, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  const T old = *at;
  if (old == expected) *at = value;
  return old;
}

inline int __popc(unsigned x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1; }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline void __threadfence() {}
