// Random tensors on the CPU. Element e of a tensor takes lane e % 4 of block e / 4 of its sequence; a normal
// number takes two lanes, so that element e has lanes 2 (e % 2) and the next of block e / 2.
#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/simd.h"

namespace la {
namespace {

/// Calls f(e, bits) for every element e below n with its 32 random bits.
template <class F>
void for_each_bits(int64_t n, const RandomKey& key, F f) {
  parallel_for((n + 3) / 4, elements_per_thread / 16, [=](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const Random4 random = philox(key, static_cast<uint32_t>(block));
      for (int64_t e = 4 * block; e < std::min(4 * block + 4, n); ++e) f(e, random.value[e % 4]);
    }
  });
}

}  // namespace

void CpuBackend::random_uniform(float low, float high, const RandomKey& key, const Tensor& y) {
  float* to = y.data<float>();
  for_each_bits(y.numel(), key,
                [=](int64_t e, uint32_t bits) { to[e] = low + (high - low) * uniform_from(bits); });
}

void CpuBackend::random_normal(const RandomKey& key, const Tensor& y) {
  float* to = y.data<float>();
  parallel_for(y.numel(), elements_per_thread / 16, [=](int64_t begin, int64_t end) {
    for (int64_t e = begin; e < end; ++e) {
      const Random4 random = philox(key, static_cast<uint32_t>(e / 2));
      to[e] = normal_from(random.value[2 * (e % 2)], random.value[2 * (e % 2) + 1]);
    }
  });
}

void CpuBackend::random_below(int64_t n, const RandomKey& key, const Tensor& y) {
  int32_t* to = y.data<int32_t>();
  for_each_bits(y.numel(), key, [=](int64_t e, uint32_t bits) {
    to[e] = static_cast<int32_t>(below_from(bits, static_cast<uint32_t>(n)));
  });
}

void CpuBackend::dropout(const Tensor& x, float p, const RandomKey& key, const Tensor& y) {
  const float gain = 1.0f / (1.0f - p);
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const T* from = x.data<T>();
    T* to = y.data<T>();
    for_each_bits(x.numel(), key, [=](int64_t e, uint32_t bits) {
      to[e] = T(uniform_from(bits) >= p ? gain * value_of(from[e]) : 0.0f);
    });
  });
}

}  // namespace la
