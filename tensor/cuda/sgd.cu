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
  bool aligned;          // all three arrays, to 16 bytes
  unsigned first_block;  // of those that work on this parameter
};

struct Slots {
  Slot slot[most_slots];
  int count;
};

/// Elements begin to end of a slot, `width` at a time.
template <int width>
__device__ void update(const Slot& slot, int64_t begin, int64_t end, float rate, float momentum) {
  using Floats = Pack<float, width>;
  for (int64_t i = begin + width * threadIdx.x; i < end; i += width * blockDim.x) {
    Floats parameter = Floats::load(slot.parameter + i), velocity = Floats::load(slot.velocity + i);
    const Floats gradient = Floats::load(slot.gradient + i);
    for (int e = 0; e < width; ++e)
      parameter.value[e] = pointwise::sgd(parameter.value[e], gradient.value[e], velocity.value[e], rate,
                                          momentum, slot.weight_decay);
    parameter.store(slot.parameter + i);
    velocity.store(slot.velocity + i);
  }
}

/// Each block takes its part of one parameter. Reads parameter, gradient and velocity once and writes
/// parameter and velocity once.
__global__ void sgd_kernel(Slots slots, const float* learning_rate, float momentum) {
  // The last slot that begins at or before this block, by halving: what the kernel is given is more than a
  // multiprocessor keeps at hand.
  int s = 0;
  for (int end = slots.count; end - s > 1;) {
    const int middle = (s + end) / 2;
    (slots.slot[middle].first_block <= blockIdx.x ? s : end) = middle;
  }
  const Slot& slot = slots.slot[s];
  const int64_t begin = int64_t{blockIdx.x - slot.first_block} * elements_per_block;
  const int64_t end = begin + elements_per_block < slot.size ? begin + elements_per_block : slot.size;
  constexpr int wide = vector_width<float>;
  const int64_t in_packs = slot.aligned ? begin + (end - begin) / wide * wide : begin;
  update<wide>(slot, begin, in_packs, *learning_rate, momentum);
  update<1>(slot, in_packs, end, *learning_rate, momentum);
}

}  // namespace

void CudaBackend::sgd_step(std::span<const SgdSlot> slots, const Tensor& learning_rate, float momentum) {
  for (size_t first = 0; first < slots.size(); first += most_slots) {
    Slots group{};
    unsigned blocks = 0;
    for (const SgdSlot& slot : slots.subspan(first, std::min<size_t>(most_slots, slots.size() - first))) {
      float *parameter = slot.parameter.data<float>(), *velocity = slot.velocity.data<float>();
      const float* gradient = slot.gradient.data<float>();
      group.slot[group.count++] = {.parameter = parameter,
                                   .velocity = velocity,
                                   .gradient = gradient,
                                   .size = slot.parameter.numel(),
                                   .weight_decay = slot.weight_decay,
                                   .aligned = aligned_for_vectors(parameter, velocity, gradient),
                                   .first_block = blocks};
      blocks += blocks_for(slot.parameter.numel(), elements_per_block);
    }
    launch("sgd_step", sgd_kernel, {blocks, threads}, group, learning_rate.data<float>(), momentum);
  }
}

}  // namespace la
