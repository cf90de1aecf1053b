// The optimizer's step on the GPU: all parameters in one launch (one for every 512 of them).
#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/kernel.h"
#include "tensor/pointwise.h"

namespace la {
namespace {

using namespace cuda;

constexpr int threads = 256;
constexpr int elements_per_block = 4096;  // of one parameter
constexpr int most_slots = 512;           // that the 32,764 bytes of a kernel's parameters hold

struct Slot {
  float *parameter, *velocity;
  const float* gradient;
  int64_t size;
  float weight_decay;
  unsigned first_block;  // of those that work on this parameter
};

struct Slots {
  Slot slot[most_slots];
  int count;
};

/// Reads parameter, gradient and velocity once and writes parameter and velocity once.
__global__ void sgd_kernel(Slots slots, const float* learning_rate, float momentum) {
  int s = 0;
  while (s + 1 < slots.count && slots.slot[s + 1].first_block <= blockIdx.x) ++s;
  const Slot& slot = slots.slot[s];
  const float rate = *learning_rate;
  const int64_t begin = int64_t{blockIdx.x - slot.first_block} * elements_per_block;
  const int64_t end = begin + elements_per_block < slot.size ? begin + elements_per_block : slot.size;
  for (int64_t i = begin + threadIdx.x; i < end; i += blockDim.x)
    slot.parameter[i] = pointwise::sgd(slot.parameter[i], slot.gradient[i], slot.velocity[i], rate, momentum,
                                       slot.weight_decay);
}

}  // namespace

void CudaBackend::sgd_step(std::span<const SgdSlot> slots, const Tensor& learning_rate, float momentum) {
  for (size_t first = 0; first < slots.size(); first += most_slots) {
    Slots group{};
    unsigned blocks = 0;
    for (const SgdSlot& slot : slots.subspan(first, std::min<size_t>(most_slots, slots.size() - first))) {
      group.slot[group.count++] = {
          slot.parameter.data<float>(), slot.velocity.data<float>(), slot.gradient.data<float>(),
          slot.parameter.numel(),       slot.weight_decay,           blocks};
      blocks += blocks_for(slot.parameter.numel(), elements_per_block);
    }
    launch("sgd_step", sgd_kernel, {blocks, threads}, group, learning_rate.data<float>(), momentum);
  }
}

}  // namespace la
