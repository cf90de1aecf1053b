// Random tensors on the CPU. Element e of a tensor takes lane e % 4 of block e / 4 of its sequence; a normal
// number takes two lanes, so that element e has lanes 2 (e % 2) and the next of block e / 2.
#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/simd.h"

namespace la {
namespace {

/// Calls f(n-th number of the sequence, its 32 bits) for all n below `count`. Blocks are computed some at a
/// time, in a loop that the compiler vectorizes.
template <class F>
void for_each_bits(int64_t count, const RandomKey& key, F f) {
  constexpr int64_t together = 64;
  constexpr int64_t numbers = 4 * together;
  const int64_t groups = divide_up(count, numbers);
  parallel_for(groups, elements_per_thread / (4 * numbers), [=](int64_t begin, int64_t end) {
    uint32_t bits[numbers];
    for (int64_t group = begin; group < end; ++group) {
      const auto first_block = static_cast<uint32_t>(group * together);
#pragma GCC ivdep
      for (uint32_t b = 0; b < together; ++b) {
        const Random4 random = philox(key, first_block + b);
        for (int lane = 0; lane < 4; ++lane) bits[4 * b + lane] = random.value[lane];
      }
      const int64_t first = group * numbers, last = std::min(first + numbers, count);
#pragma GCC ivdep
      for (int64_t n = first; n < last; ++n) f(n, bits[n - first]);
    }
  });
}

/// The key whose index is greater by the step, if there is one.
RandomKey at_step(RandomKey key, const Tensor& step) {
  if (step.defined()) key.index += static_cast<uint64_t>(step.data<int64_t>()[0]);
  return key;
}

}  // namespace

void CpuBackend::random_uniform(float low, float high, const RandomKey& key, const Tensor& y) {
  float* to = y.data<float>();
  for_each_bits(y.numel(), key,
                [=](int64_t e, uint32_t bits) { to[e] = low + (high - low) * uniform_from(bits); });
}

void CpuBackend::random_normal(const RandomKey& key, int64_t first, const Tensor& y) {
  float* to = y.data<float>() - first;
  const int64_t last = first + y.numel(), first_block = first / 2;
  parallel_for((last + 1) / 2 - first_block, elements_per_thread / 32, [=](int64_t begin, int64_t end) {
    for (int64_t block = first_block + begin; block < first_block + end; ++block) {
      const Random4 random = philox(key, static_cast<uint32_t>(block));
      for (int64_t e = std::max(2 * block, first); e < std::min(2 * block + 2, last); ++e)
        to[e] = normal_from(random.value[2 * (e % 2)], random.value[2 * (e % 2) + 1]);
    }
  });
}

void CpuBackend::random_below(int64_t n, const RandomKey& key, const Tensor& step, const Tensor& y) {
  int32_t* to = y.data<int32_t>();
  for_each_bits(y.numel(), at_step(key, step), [=](int64_t e, uint32_t bits) {
    to[e] = static_cast<int32_t>(below_from(bits, static_cast<uint32_t>(n)));
  });
}

void CpuBackend::dropout(const Tensor& x, float p, const RandomKey& key, const Tensor& step,
                         const Tensor& y) {
  const float gain = 1.0f / (1.0f - p);
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const T* from = x.data<T>();
    T* to = y.data<T>();
    for_each_bits(x.numel(), at_step(key, step), [=](int64_t e, uint32_t bits) {
      to[e] = T(uniform_from(bits) >= p ? gain * value_of(from[e]) : 0.0f);
    });
  });
}

void CpuBackend::increment(const Tensor& counter) { ++counter.data<int64_t>()[0]; }

}  // namespace la
