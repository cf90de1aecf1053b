// What every file of kernels includes: the language of CUDA under nvcc, and under a plain C++ compiler a
// header of ours that plays it on the host (emulated/cuda.h), so that the same source runs in tests where
// there is no GPU. Kernels are launched by launch(), keep their shared memory in a struct that
// shared_memory() gives, and report values that cannot be right through Fault.
#pragma once

#ifdef __CUDACC__
#include <cuda_runtime.h>
#else
#include "tensor/cuda/emulated/cuda.h"
#endif

#include <tuple>

#include "tensor/cuda/runtime.h"
#include "tensor/dtype.h"

namespace la::cuda {

struct LaunchShape {
  dim3 blocks;
  int threads;              // a block
  size_t shared_bytes = 0;  // of dynamic_shared_memory()
};

/// Enqueues kernel(arguments...) on the stream; nothing if there are no blocks. `name` is for error messages
/// and profiles.
template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), const LaunchShape& shape,
            Arguments... arguments) {
  if (shape.blocks.x == 0 || shape.blocks.y == 0 || shape.blocks.z == 0) return;
#ifdef __CUDACC__
  constexpr size_t always_allowed = 48 << 10;
  if (shape.shared_bytes > always_allowed)
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                         static_cast<int>(shape.shared_bytes));
  kernel<<<shape.blocks, static_cast<unsigned>(shape.threads), shape.shared_bytes, stream()>>>(
      static_cast<Parameters>(arguments)...);
  check_launch(name);
#else
  emulated::launch(name, {shape.blocks, shape.threads, shape.shared_bytes},
                   [kernel, values = std::tuple<Parameters...>(static_cast<Parameters>(arguments)...)] {
                     std::apply(kernel, values);
                   });
#endif
}

/// Blocks that cover `count` items with `each` items a block.
inline unsigned blocks_for(int64_t count, int64_t each) {
  return static_cast<unsigned>((count + each - 1) / each);
}

/// The block's shared memory of type T, with undefined contents: one object for each T, so that a kernel and
/// a function that it calls each have their own.
template <class T>
__device__ T& shared_memory() {
#ifdef __CUDACC__
  __shared__ alignas(16) unsigned char bytes[sizeof(T)];
  return *reinterpret_cast<T*>(bytes);
#else
  return *static_cast<T*>(emulated::shared_object(emulated::type_id<T>(), sizeof(T)));
#endif
}

/// The block's shared memory whose size the launch gave, aligned to 16 bytes.
template <class T>
__device__ T* dynamic_shared_memory() {
#ifdef __CUDACC__
  extern __shared__ __align__(16) unsigned char dynamic_shared[];
  return reinterpret_cast<T*>(dynamic_shared);
#else
  return static_cast<T*>(emulated::dynamic_shared());
#endif
}

/// The number of this thread among all of a one-dimensional launch, and how many there are.
__device__ inline int64_t global_thread() { return int64_t{blockIdx.x} * blockDim.x + threadIdx.x; }
__device__ inline int64_t global_threads() { return int64_t{gridDim.x} * blockDim.x; }

constexpr int warp_size = 32;
constexpr unsigned whole_warp = 0xffffffffu;
__device__ inline int lane_id() { return static_cast<int>(threadIdx.x) % warp_size; }
__device__ inline int warp_id() { return static_cast<int>(threadIdx.x) / warp_size; }

/// value of all lanes combined by f (commutative, associative); every lane has the result.
template <class T, class F>
__device__ T warp_reduce(T value, F f) {
  for (int distance = warp_size / 2; distance > 0; distance /= 2)
    value = f(value, __shfl_xor_sync(whole_warp, value, distance));
  return value;
}

struct Sum {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Max {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a > b ? a : b;
  }
};

/// The same over the whole block of one dimension, whose threads are a multiple of the warp's;
/// `neutral` leaves other values as they are. Every thread has the result, which depends on the number
/// of threads alone.
template <class T, class F>
__device__ T block_reduce(T value, F f, T neutral) {
  struct Partial {
    T of_warp[32];
  };
  Partial& shared = shared_memory<Partial>();
  const int warps = static_cast<int>(blockDim.x) / warp_size;
  value = warp_reduce(value, f);
  if (lane_id() == 0) shared.of_warp[warp_id()] = value;
  __syncthreads();
  value = warp_reduce(lane_id() < warps ? shared.of_warp[lane_id()] : neutral, f);
  __syncthreads();  // the partial results may be overwritten from here on
  return value;
}

/// Elements that one 16-byte access moves.
template <class T>
constexpr int vector_width = 16 / sizeof(T);

/// `width` elements that are loaded and stored together.
template <class T, int width>
struct alignas(sizeof(T) * width) Pack {
  T value[width];

  __device__ static Pack load(const T* from) {
    check_alignment(from);
    return *reinterpret_cast<const Pack*>(from);
  }
  __device__ void store(T* to) const {
    check_alignment(to);
#ifdef __CUDACC__
    // The compiler would often make several narrower stores of it.
    if constexpr (sizeof(Pack) == 16) {
      uint32_t word[4];
      memcpy(word, value, sizeof word);
      asm volatile("st.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(word[0]), "r"(word[1]), "r"(word[2]),
                   "r"(word[3])
                   : "memory");
      return;
    }
#endif
    *reinterpret_cast<Pack*>(to) = *this;
  }

 private:
  /// A GPU would fail at an address that the host reads without warning.
  __device__ static void check_alignment([[maybe_unused]] const T* address) {
#ifndef __CUDACC__
    check(reinterpret_cast<uintptr_t>(address) % alignof(Pack) == 0,
          "{} bytes at an address not aligned to them", sizeof(Pack));
#endif
  }
};

/// Whether all of these pointers allow 16-byte accesses.
template <class... P>
bool aligned_for_vectors(const P*... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) % 16 == 0) && ...);
}

/// Calls f(std::integral_constant<int, width>) with the widest access that `columns` elements a row of type T
/// allow: 16 bytes, or one element.
template <class T, class F>
void dispatch_width(int64_t columns, bool aligned, F&& f) {
  if (aligned && columns % vector_width<T> == 0)
    f(std::integral_constant<int, vector_width<T>>());
  else
    f(std::integral_constant<int, 1>());
}

/// Reports a value that cannot be right: the first report makes an Error of the next wait for the device.
/// `text` has a place {} for each of the two numbers.
struct Reporter {
  Fault* fault;
  const char* text;  // in host memory: only the host reads it

  explicit Reporter(const char* message) : fault(fault_record()), text(message) {}
  __device__ void operator()(int64_t first, int64_t second) const {
    if (fault->is_set != 0 || atomicCAS(&fault->is_set, 0, 1) != 0) return;
    fault->text = text;
    fault->first = first;
    fault->second = second;
  }
};

}  // namespace la::cuda
