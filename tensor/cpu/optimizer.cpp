// The optimizers' steps on the CPU: all parameters in one parallel region, in parts of one parameter.
#include <cmath>
#include <vector>

#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/simd.h"
#include "tensor/optimizer_rules.h"

namespace la {
namespace {

/// Elements begin to end of one slot.
struct Part {
  int64_t slot, begin, end;
};

constexpr int64_t part_elements = 4096;

std::vector<Part> parts_of(std::span<const OptimizerSlot> slots) {
  std::vector<Part> parts;
  for (size_t s = 0; s < slots.size(); ++s)
    for (int64_t begin = 0, n = slots[s].gradient.numel(); begin < n; begin += part_elements)
      parts.push_back({static_cast<int64_t>(s), begin, std::min(begin + part_elements, n)});
  return parts;
}

/// Calls f(number of the part, part, slot) for each part.
template <class F>
void for_each_part(std::span<const OptimizerSlot> slots, const std::vector<Part>& parts, F&& f) {
  parallel_for(static_cast<int64_t>(parts.size()), elements_per_thread / part_elements,
               [&](int64_t begin, int64_t end) {
                 for (int64_t p = begin; p < end; ++p) {
                   const Part& part = parts[static_cast<size_t>(p)];
                   f(p, part, slots[static_cast<size_t>(part.slot)]);
                 }
               });
}

/// clip(gradient) is what the step sees of a gradient.
template <class Step, class Clip>
void update(const Part& part, const OptimizerSlot& slot, const Step& step, Clip clip) {
  float *parameter = slot.parameter.data<float>(), *first = slot.first_moment.data<float>();
  const float* gradient = slot.gradient.data<float>();
  if constexpr (requires(float x) { step(x, x, x, x); }) {
    float* second = slot.second_moment.data<float>();
#pragma GCC ivdep
    for (int64_t i = part.begin; i < part.end; ++i)
      parameter[i] = step(parameter[i], clip(gradient[i]), first[i], second[i]);
  } else {
#pragma GCC ivdep
    for (int64_t i = part.begin; i < part.end; ++i)
      parameter[i] = step(parameter[i], clip(gradient[i]), first[i]);
  }
}

template <class Rule>
void take_step(std::span<const OptimizerSlot> slots, const Rule& rule, const Clipping& clipping) {
  const ClippingFactor factor(clipping);
  for_each_part(slots, parts_of(slots), [&](int64_t, const Part& part, const OptimizerSlot& slot) {
    const auto step = rule.of(part.slot, slot.decays);
    if (factor.norm == nullptr)
      update(part, slot, step, [](float gradient) { return gradient; });
    else
      update(part, slot, step, [by = factor()](float gradient) { return by * gradient; });
  });
}

/// The sum of value(i)^2 over a part.
template <class Value>
float squares(const Part& part, Value value) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = part.begin; i < part.end; ++i) sum += value(i) * value(i);
  return sum;
}

/// The trust ratio of each slot. Sums over parts, then over the parts of a slot in their order: the result
/// does not depend on the threads.
std::vector<float> trust_ratios(std::span<const OptimizerSlot> slots, const LarsOptions& options,
                                const Clipping& clipping) {
  struct Squares {
    double parameter = 0, gradient = 0;
  };
  const ClippingFactor factor(clipping);
  const float by = factor.norm == nullptr ? 1.0f : factor();
  const std::vector<Part> parts = parts_of(slots);
  std::vector<Squares> of_part(parts.size()), of_slot(slots.size());
  for_each_part(slots, parts, [&](int64_t p, const Part& part, const OptimizerSlot& slot) {
    if (!slot.decays) return;
    const float *parameter = slot.parameter.data<float>(), *gradient = slot.gradient.data<float>();
    const float decay = options.weight_decay;
    of_part[static_cast<size_t>(p)] = {
        squares(part, [=](int64_t i) { return parameter[i]; }),
        squares(part, [=](int64_t i) { return by * gradient[i] + decay * parameter[i]; })};
  });
  for (size_t p = 0; p < parts.size(); ++p) {
    Squares& sums = of_slot[static_cast<size_t>(parts[p].slot)];
    sums.parameter += of_part[p].parameter;
    sums.gradient += of_part[p].gradient;
  }
  std::vector<float> ratios;
  for (const Squares& sums : of_slot)
    ratios.push_back(LarsRule::ratio(sums.parameter, sums.gradient, options.trust_coefficient));
  return ratios;
}

}  // namespace

void CpuBackend::gradient_norm(std::span<const OptimizerSlot> slots, const Tensor& norm) {
  const std::vector<Part> parts = parts_of(slots);
  std::vector<double> sums(parts.size());
  for_each_part(slots, parts, [&](int64_t p, const Part& part, const OptimizerSlot& slot) {
    const float* gradient = slot.gradient.data<float>();
    sums[static_cast<size_t>(p)] = squares(part, [=](int64_t i) { return gradient[i]; });
  });
  double total = 0;
  for (double sum : sums) total += sum;
  norm.data<float>()[0] = static_cast<float>(std::sqrt(total));
}

void CpuBackend::sgd_step(std::span<const OptimizerSlot> slots, const Tensor& learning_rate,
                          const SgdOptions& options, const Clipping& clipping) {
  if (options.nesterov)
    take_step(slots, NesterovRule(learning_rate, options), clipping);
  else
    take_step(slots, SgdRule(learning_rate, options), clipping);
}

void CpuBackend::adamw_step(std::span<const OptimizerSlot> slots, const Tensor& learning_rate,
                            const Tensor& steps, const AdamWOptions& options, const Clipping& clipping) {
  take_step(slots, AdamWRule(learning_rate, steps, options), clipping);
}

void CpuBackend::lars_step(std::span<const OptimizerSlot> slots, const Tensor& learning_rate,
                           const LarsOptions& options, const Clipping& clipping) {
  const std::vector<float> ratios = trust_ratios(slots, options, clipping);
  take_step(slots, LarsRule(learning_rate, ratios.data(), options), clipping);
}

}  // namespace la
