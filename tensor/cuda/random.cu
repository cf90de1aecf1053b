// Random tensors on the GPU, with the numbers of the CPU: element e of a tensor takes lane e % 4 of block e /
// 4 of its sequence; a normal number takes two lanes, so that element e has lanes 2 (e % 2) and the next of
// block e / 2. Each thread computes one block and writes its elements.
#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/kernel.h"

namespace la {
namespace {

using namespace cuda;

constexpr int threads = 256;

/// y[e] = make(e, bits of element e), for the key whose index is greater by *step if there is
/// one. Writes y once.
template <class T, class Make>
__global__ void random_kernel(int64_t n, RandomKey key, const int64_t* step, T* y, Make make) {
  if (step != nullptr) key.index += static_cast<uint64_t>(*step);
  for (int64_t block = global_thread(); 4 * block < n; block += global_threads()) {
    const Random4 random = philox(key, static_cast<uint32_t>(block));
    for (int lane = 0; lane < 4; ++lane)
      if (const int64_t e = 4 * block + lane; e < n) y[e] = make(e, random.value[lane]);
  }
}

template <class T, class Make>
void fill_randomly(const char* name, const RandomKey& key, const Tensor& y, Make make,
                   const int64_t* step = nullptr) {
  launch(name, random_kernel<T, Make>, {blocks_for(y.numel(), 4 * threads), threads}, y.numel(), key, step,
         y.data<T>(), make);
}

/// y = elements first to last (exclusive) of the sequence.
__global__ void random_normal_kernel(int64_t first, int64_t last, RandomKey key, float* y) {
  for (int64_t block = first / 2 + global_thread(); 2 * block < last; block += global_threads()) {
    const Random4 random = philox(key, static_cast<uint32_t>(block));
    for (int half = 0; half < 2; ++half)
      if (const int64_t e = 2 * block + half; e >= first && e < last)
        y[e - first] = normal_from(random.value[2 * half], random.value[2 * half + 1]);
  }
}

__global__ void increment_kernel(int64_t* counter) { ++*counter; }

struct Uniform {
  float low, high;
  __device__ float operator()(int64_t, uint32_t bits) const {
    return low + (high - low) * uniform_from(bits);
  }
};

struct Below {
  uint32_t n;
  __device__ int32_t operator()(int64_t, uint32_t bits) const {
    return static_cast<int32_t>(below_from(bits, n));
  }
};

template <class T>
struct Dropout {
  const T* x;
  float p, gain;
  __device__ T operator()(int64_t e, uint32_t bits) const {
    return T(uniform_from(bits) >= p ? gain * static_cast<float>(x[e]) : 0.0f);
  }
};

}  // namespace

void CudaBackend::random_uniform(float low, float high, const RandomKey& key, const Tensor& y) {
  fill_randomly<float>("random_uniform", key, y, Uniform{low, high});
}

void CudaBackend::random_normal(const RandomKey& key, int64_t first, const Tensor& y) {
  launch("random_normal", random_normal_kernel, {blocks_for(y.numel(), 2 * threads), threads}, first,
         first + y.numel(), key, y.data<float>());
}

void CudaBackend::random_below(int64_t n, const RandomKey& key, const Tensor& step, const Tensor& y) {
  fill_randomly<int32_t>("random_below", key, y, Below{static_cast<uint32_t>(n)},
                         step.defined() ? step.data<int64_t>() : nullptr);
}

void CudaBackend::dropout(const Tensor& x, float p, const RandomKey& key, const Tensor& step,
                          const Tensor& y) {
  dispatch_float(x.dtype(), [&]<class T>(T) {
    fill_randomly<T>("dropout", key, y, Dropout<T>{x.data<T>(), p, 1.0f / (1.0f - p)},
                     step.defined() ? step.data<int64_t>() : nullptr);
  });
}

void CudaBackend::increment(const Tensor& counter) {
  launch("increment", increment_kernel, {1u, 1}, counter.data<int64_t>());
}

}  // namespace la
