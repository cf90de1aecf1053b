// The optimizer's step on the CPU: all parameters in one parallel region.
#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/simd.h"
#include "tensor/pointwise.h"

namespace la {

void CpuBackend::sgd_step(std::span<const SgdSlot> slots, const Tensor& learning_rate, float momentum) {
  const float rate = learning_rate.data<float>()[0];
  int64_t total = 0;
  for (const SgdSlot& slot : slots) total += slot.parameter.numel();
  // Each thread takes a part of the concatenation of all parameters.
  parallel_for(total, elements_per_thread, [=](int64_t begin, int64_t end) {
    int64_t offset = 0;
    for (const SgdSlot& slot : slots) {
      const int64_t n = slot.parameter.numel();
      const int64_t first = std::clamp<int64_t>(begin - offset, 0, n),
                    last = std::clamp<int64_t>(end - offset, 0, n);
      float *parameter = slot.parameter.data<float>(), *velocity = slot.velocity.data<float>();
      const float* gradient = slot.gradient.data<float>();
      const float decay = slot.weight_decay;
#pragma GCC ivdep
      for (int64_t i = first; i < last; ++i)
        parameter[i] = pointwise::sgd(parameter[i], gradient[i], velocity[i], rate, momentum, decay);
      offset += n;
    }
  });
}

}  // namespace la
