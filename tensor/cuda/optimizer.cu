// The optimizers' steps on the GPU: all parameters in one launch (one for every 512 of them), and two more
// where norms are needed.
#include <algorithm>

#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/kernel.h"
#include "tensor/optimizer_rules.h"

namespace la {
namespace {

using namespace cuda;

constexpr int threads = 256;
constexpr int warps = threads / warp_size;
constexpr int elements_per_block = 4096;  // of one parameter
constexpr size_t most_slots = 512;        // that the 32,764 bytes of a kernel's parameters hold

struct Slot {
  float *parameter, *first_moment, *second_moment;
  const float* gradient;
  int64_t size;
  bool decays;
  bool aligned;          // all arrays, to 16 bytes
  unsigned first_block;  // of those that work on this parameter
};

struct Slots {
  Slot slot[most_slots];
  int count = 0;
  unsigned blocks = 0;

  explicit Slots(std::span<const OptimizerSlot> slots) {
    const auto data = [](const Tensor& x) { return x.defined() ? x.data<float>() : nullptr; };
    for (const OptimizerSlot& from : slots) {
      Slot& to = slot[count++];
      to = {.parameter = data(from.parameter),
            .first_moment = data(from.first_moment),
            .second_moment = data(from.second_moment),
            .gradient = data(from.gradient),
            .size = from.gradient.numel(),
            .decays = from.decays,
            .aligned = false,
            .first_block = blocks};
      to.aligned = aligned_for_vectors(to.parameter, to.first_moment, to.second_moment, to.gradient);
      blocks += blocks_for(to.size, elements_per_block);
    }
  }

  /// The last slot that begins at or before this block, by halving: what the kernel is given is more than a
  /// multiprocessor keeps at hand.
  __device__ int of_block(unsigned block) const {
    int s = 0;
    for (int end = count; end - s > 1;) {
      const int middle = (s + end) / 2;
      (slot[middle].first_block <= block ? s : end) = middle;
    }
    return s;
  }
};

/// f(first, std::integral_constant<int, width>()) for this thread's packs of this block's part of a slot.
template <class F>
__device__ void for_each_pack(const Slot& slot, F f) {
  const int64_t begin = int64_t{blockIdx.x - slot.first_block} * elements_per_block;
  const int64_t end = begin + elements_per_block < slot.size ? begin + elements_per_block : slot.size;
  constexpr int wide = vector_width<float>;
  const int64_t in_packs = slot.aligned ? begin + (end - begin) / wide * wide : begin;
  for (int64_t i = begin + wide * threadIdx.x; i < in_packs; i += wide * blockDim.x)
    f(i, std::integral_constant<int, wide>());
  for (int64_t i = in_packs + threadIdx.x; i < end; i += blockDim.x) f(i, std::integral_constant<int, 1>());
}

/// Each block takes its part of one parameter. Reads parameter, gradient and moments once and writes all but
/// the gradient once.
template <class Rule, bool clips>
__global__ void step_kernel(Slots slots, Rule rule, ClippingFactor clipping) {
  const int s = slots.of_block(blockIdx.x);
  const Slot& slot = slots.slot[s];
  const auto step = rule.of(s, slot.decays);
  float factor = 1.0f;
  if constexpr (clips) factor = clipping();
  for_each_pack(slot, [&](int64_t i, auto width) {
    using Floats = Pack<float, width()>;
    Floats parameter = Floats::load(slot.parameter + i), first = Floats::load(slot.first_moment + i), second;
    Floats gradient = Floats::load(slot.gradient + i);
    if constexpr (Rule::moments == 2) second = Floats::load(slot.second_moment + i);
    for (int e = 0; e < width(); ++e) {
      if constexpr (clips) gradient.value[e] *= factor;
      if constexpr (Rule::moments == 2)
        parameter.value[e] = step(parameter.value[e], gradient.value[e], first.value[e], second.value[e]);
      else
        parameter.value[e] = step(parameter.value[e], gradient.value[e], first.value[e]);
    }
    parameter.store(slot.parameter + i);
    first.store(slot.first_moment + i);
    if constexpr (Rule::moments == 2) second.store(slot.second_moment + i);
  });
}

// ---- Norms ------------------------------------------------------------------------------------------------

/// The sum of the values of all threads, written by the first.
__device__ void write_sum(float own, float* to) {
  const float sum = block_reduce(own, Sum(), 0.0f);
  if (threadIdx.x == 0) *to = sum;
}

/// partial[block] = the sum of the squares of its part of a gradient.
__global__ void square_gradients_kernel(Slots slots, float* partial) {
  const Slot& slot = slots.slot[slots.of_block(blockIdx.x)];
  float sum = 0.0f;
  for_each_pack(slot, [&](int64_t i, auto width) {
    const auto gradient = Pack<float, width()>::load(slot.gradient + i);
    for (int e = 0; e < width(); ++e) sum += gradient.value[e] * gradient.value[e];
  });
  write_sum(sum, &partial[blockIdx.x]);
}

/// norm = the square root of the sum of all parts, by one block.
__global__ void finish_norm_kernel(int64_t parts, const float* partial, float* norm) {
  double sum = 0.0;
  for (int64_t i = threadIdx.x; i < parts; i += threads) sum += static_cast<double>(partial[i]);
  sum = block_reduce(sum, Sum(), 0.0);
  if (threadIdx.x == 0) *norm = static_cast<float>(std::sqrt(sum));
}

/// partial[block] = the sums of the squares of its part of a parameter, and of its gradient with weight
/// decay, where it decays.
__global__ void square_parameters_kernel(Slots slots, float weight_decay, ClippingFactor clipping,
                                         float (*partial)[2]) {
  const Slot& slot = slots.slot[slots.of_block(blockIdx.x)];
  if (!slot.decays) return;
  const float factor = clipping.norm == nullptr ? 1.0f : clipping();
  float parameters = 0.0f, gradients = 0.0f;
  for_each_pack(slot, [&](int64_t i, auto width) {
    using Floats = Pack<float, width()>;
    const Floats parameter = Floats::load(slot.parameter + i), gradient = Floats::load(slot.gradient + i);
    for (int e = 0; e < width(); ++e) {
      const float with_decay = factor * gradient.value[e] + weight_decay * parameter.value[e];
      parameters += parameter.value[e] * parameter.value[e];
      gradients += with_decay * with_decay;
    }
  });
  write_sum(parameters, &partial[blockIdx.x][0]);
  write_sum(gradients, &partial[blockIdx.x][1]);
}

/// ratios[slot] from its parts, by one warp each.
__global__ void trust_ratios_kernel(Slots slots, float trust_coefficient, const float (*partial)[2],
                                    float* ratios) {
  const auto s = static_cast<int>(global_thread() / warp_size);
  if (s >= slots.count) return;
  const unsigned end = s + 1 < slots.count ? slots.slot[s + 1].first_block : slots.blocks;
  double parameters = 0.0, gradients = 0.0;
  if (slots.slot[s].decays)
    for (unsigned b = slots.slot[s].first_block + static_cast<unsigned>(lane_id()); b < end; b += warp_size) {
      parameters += static_cast<double>(partial[b][0]);
      gradients += static_cast<double>(partial[b][1]);
    }
  parameters = warp_reduce(parameters, Sum());
  gradients = warp_reduce(gradients, Sum());
  if (lane_id() == 0) ratios[s] = LarsRule::ratio(parameters, gradients, trust_coefficient);
}

/// Calls f(Slots) for all slots, as many at a time as a launch can take.
template <class F>
void for_each_group(std::span<const OptimizerSlot> slots, F f) {
  for (size_t first = 0; first < slots.size(); first += most_slots)
    f(Slots(slots.subspan(first, std::min(most_slots, slots.size() - first))));
}

template <class Rule>
void take_step(const char* name, const Slots& slots, const Rule& rule, const Clipping& clipping) {
  const ClippingFactor factor(clipping);
  const LaunchShape shape{slots.blocks, threads};
  if (factor.norm == nullptr)
    launch(name, step_kernel<Rule, false>, shape, slots, rule, factor);
  else
    launch(name, step_kernel<Rule, true>, shape, slots, rule, factor);
}

}  // namespace

void CudaBackend::gradient_norm(std::span<const OptimizerSlot> slots, const Tensor& norm) {
  int64_t blocks = 0;
  for (const OptimizerSlot& slot : slots) blocks += blocks_for(slot.gradient.numel(), elements_per_block);
  const Tensor partial({blocks}, DType::f32, Device::cuda());
  float* next = partial.data<float>();
  for_each_group(slots, [&](const Slots& group) {
    launch("square_gradients", square_gradients_kernel, {group.blocks, threads}, group, next);
    next += group.blocks;
  });
  launch("finish_norm", finish_norm_kernel, {1, threads}, blocks, partial.data<float>(), norm.data<float>());
}

void CudaBackend::sgd_step(std::span<const OptimizerSlot> slots, const Tensor& learning_rate,
                           const SgdOptions& options, const Clipping& clipping) {
  for_each_group(slots, [&](const Slots& group) {
    if (options.nesterov)
      take_step("sgd_step", group, NesterovRule(learning_rate, options), clipping);
    else
      take_step("sgd_step", group, SgdRule(learning_rate, options), clipping);
  });
}

void CudaBackend::adamw_step(std::span<const OptimizerSlot> slots, const Tensor& learning_rate,
                             const Tensor& steps, const AdamWOptions& options, const Clipping& clipping) {
  for_each_group(slots, [&](const Slots& group) {
    take_step("adamw_step", group, AdamWRule(learning_rate, steps, options), clipping);
  });
}

void CudaBackend::lars_step(std::span<const OptimizerSlot> slots, const Tensor& learning_rate,
                            const LarsOptions& options, const Clipping& clipping) {
  for_each_group(slots, [&](const Slots& group) {
    const Tensor partial({group.blocks, 2}, DType::f32, Device::cuda());
    const Tensor ratios({group.count}, DType::f32, Device::cuda());
    auto* sums = reinterpret_cast<float(*)[2]>(partial.data<float>());
    launch("square_parameters", square_parameters_kernel, {group.blocks, threads}, group,
           options.weight_decay, ClippingFactor(clipping), sums);
    launch("trust_ratios", trust_ratios_kernel, {blocks_for(group.count, warps), threads}, group,
           options.trust_coefficient, sums, ratios.data<float>());
    take_step("lars_step", group, LarsRule(learning_rate, ratios.data<float>(), options), clipping);
  });
}

}  // namespace la
