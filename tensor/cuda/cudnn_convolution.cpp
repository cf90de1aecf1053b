// Convolutions by cuDNN. For each shape a plan is made when it is first met, and kept.
#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <tuple>

#include "tensor/backend.h"
#include "tensor/cuda/convolution.h"
#include "tensor/cuda/cudnn_description.h"
#include "tensor/cuda/library.h"
#include "tensor/cuda/timer.h"

namespace la {
namespace {

using namespace cuda::cudnn;

struct Convolution {
  Kind kind;
  std::array<Tensor, 3> tensors;  // by role
  ConvGeometry geometry;

  const Tensor& result() const { return tensors[result_of(kind)]; }
  ConvolutionShape shape() const {
    return {kind,
            {tensors[x_role].shape(), tensors[weight_role].shape(), tensors[y_role].shape()},
            tensors[kind == Kind::forward ? x_role : y_role].dtype(),
            geometry};
  }
};

struct Method {
  Types types;
  std::vector<Plan> plans;  // the first is used, once more than one have been measured
  bool measured;
};

/// At most `count` plans, in the best types that have any; in these, such that meet the best demands. Plans
/// that give the same bytes in each run come before all others.
Method make_method(const ConvolutionShape& c, size_t count) {
  constexpr size_t most_workspace = size_t{1} << 30;
  for (const bool deterministic : {true, false})
    for (const Types types : possible_types(c.kind, c.dtype))
      for (const Demands& demands : demands_of(c.dtype, cuda::permissions().tf32)) {
        if (demands.deterministic() != deterministic) continue;
        std::vector<Plan> plans = make_plans(describe(c, types), demands, most_workspace, count);
        if (!plans.empty()) return {types, std::move(plans), count > 1};
      }
  fail("cuDNN has no way to compute a convolution of {} x {}, weight {}, stride {}, padding {}, dilation {}",
       c.dtype, c.shapes[x_role], c.shapes[weight_role], c.geometry.stride, c.geometry.padding,
       c.geometry.dilation);
}

void run(const Plan& plan, std::span<const Binding> bindings) {
  Tensor workspace;
  if (plan.workspace_bytes() > 0)
    workspace = Tensor({static_cast<int64_t>(plan.workspace_bytes())}, DType::u8, Device::cuda());
  plan.run(bindings, workspace.defined() ? workspace.raw() : nullptr);
}

/// The method for this convolution, made when it is first met, and again when it may be measured since.
Method& method_for(const ConvolutionShape& c) {
  using Key = std::tuple<Kind, DType, std::array<int64_t, 4>, std::array<int64_t, 4>, int, int, int, bool>;
  // Ops run on one thread. Never destroyed: cuDNN may be gone at the end of the program.
  static auto& methods = *new std::map<Key, std::optional<Method>>;
  const auto extents = [](const Shape& s) { return std::array{s[0], s[1], s[2], s[3]}; };
  const ConvGeometry& g = c.geometry;
  auto& method = methods[{c.kind, c.dtype, extents(c.shapes[x_role]), extents(c.shapes[weight_role]),
                          g.stride, g.padding, g.dilation, cuda::permissions().tf32}];
  const bool measure = cuda::permissions().autotune && !cuda::is_recording();
  if (!method || (measure && !method->measured)) method = make_method(c, measure ? 8 : 1);
  return *method;
}

// ---- Running ----------------------------------------------------------------------------------------------

bool is_usable(const Tensor& tensor, DType dtype) {
  return tensor.dtype() == dtype && reinterpret_cast<uintptr_t>(tensor.raw()) % alignment == 0;
}

void convert(Backend& backend, const Tensor& from, const Tensor& to) {
  if (from.dtype() == to.dtype())
    backend.copy(to.raw(), from.raw(), from.bytes());
  else
    backend.cast(from, to);
}

void convolve(const Convolution& c) {
  Backend& backend = la::backend(Device::cuda());
  const Tensor& out = c.result();
  if (out.numel() == 0) return;
  for (const Tensor& tensor : c.tensors)
    if (tensor.numel() == 0) return backend.fill(0.0f, out);  // a sum of nothing

  Method& method = method_for(c.shape());
  std::array<Tensor, 3> tensors = c.tensors;
  std::array<Binding, 3> bindings;
  for (Role role : roles) {
    const bool is_result = role == result_of(c.kind);
    const DType dtype = is_result ? method.types.result : method.types.operands;
    if (!is_usable(c.tensors[role], dtype)) {
      tensors[role] = Tensor(c.tensors[role].shape(), dtype, Device::cuda());
      if (!is_result) convert(backend, c.tensors[role], tensors[role]);
    }
    bindings[role] = {id_of(role), tensors[role].raw()};
  }
  if (method.plans.size() > 1)
    cuda::keep_fastest(method.plans, [&](const Plan& plan) { run(plan, bindings); });
  run(method.plans.front(), bindings);
  if (const Tensor& computed = tensors[result_of(c.kind)]; computed.raw() != out.raw())
    convert(backend, computed, out);
}

}  // namespace

namespace cuda {

void cudnn_convolution(const Tensor& x, const Tensor& weight, const ConvGeometry& geometry, const Tensor& y) {
  convolve({Kind::forward, {x, weight, y}, geometry});
}

void cudnn_convolution_backward_data(const Tensor& dy, const Tensor& weight, const ConvGeometry& geometry,
                                     const Tensor& dx) {
  convolve({Kind::backward_data, {dx, weight, dy}, geometry});
}

void cudnn_convolution_backward_weight(const Tensor& dy, const Tensor& x, const ConvGeometry& geometry,
                                       const Tensor& dweight) {
  convolve({Kind::backward_weight, {x, dweight, dy}, geometry});
}

}  // namespace cuda
}  // namespace la
