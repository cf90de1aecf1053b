// Convolutions by cuDNN. For each shape a plan is made when it is first met, and kept.
#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <tuple>

#include "tensor/backend.h"
#include "tensor/cuda/convolution.h"
#include "tensor/cuda/cudnn_graph.h"
#include "tensor/cuda/library.h"
#include "tensor/cuda/timer.h"

namespace la {
namespace {

using cuda::cudnn::Binding;
using cuda::cudnn::Descriptor;
using cuda::cudnn::Operation;
using cuda::cudnn::Plan;

/// The tensors of a convolution, as places in arrays.
enum Role : size_t { x_role, weight_role, y_role };
constexpr std::array roles = {x_role, weight_role, y_role};

/// What is computed from what: y from x and the weight, dx from dy and the weight, dweight from dy and x.
enum class Kind { forward, backward_data, backward_weight };
constexpr Role result_of(Kind kind) {
  return kind == Kind::forward ? y_role : kind == Kind::backward_data ? x_role : weight_role;
}

struct Convolution {
  Kind kind;
  std::array<Tensor, 3> tensors;  // by role
  ConvGeometry geometry;

  const Tensor& result() const { return tensors[result_of(kind)]; }
  /// The type of the two operands.
  DType dtype() const { return tensors[kind == Kind::forward ? x_role : y_role].dtype(); }
};

/// The types in which cuDNN computes a convolution, which may be others than those of its tensors.
struct Types {
  DType operands, result;
};

/// Types to try, best first. bf16 operands in f32 keep their values, also where TF32 rounds them. Weight
/// gradients are sums in f32 either way; those that are then rounded to bf16 have the fast engines.
std::vector<Types> possible_types(Kind kind, DType dtype) {
  using enum DType;
  if (dtype == f32) return {{f32, f32}};
  if (kind == Kind::backward_weight) return {{bf16, bf16}, {bf16, f32}, {f32, f32}};
  return {{bf16, bf16}, {f32, f32}};
}

// --- Describing a convolution to cuDNN --------------------------------------------------------------------

/// What cuDNN calls the parts of each kind.
struct Names {
  cudnnBackendDescriptorType_t operation;
  std::array<cudnnBackendAttributeName_t, 3> tensors;  // by role
  cudnnBackendAttributeName_t options, alpha, beta;
};

const Names& names_of(Kind kind) {
  static constexpr Names forward = {
      CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
      {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
       CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y},
      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA};
  static constexpr Names backward_data = {
      CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
      {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY},
      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA};
  static constexpr Names backward_weight = {
      CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
      {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY},
      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};
  return kind == Kind::forward ? forward : kind == Kind::backward_data ? backward_data : backward_weight;
}

Descriptor describe(const ConvGeometry& geometry) {
  const auto both = [](int value) { return std::array<int64_t, 2>{value, value}; };  // height and width
  Descriptor options(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  options.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, int64_t{2});
  options.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT);
  options.set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_CROSS_CORRELATION);
  options.set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, both(geometry.stride));
  options.set(CUDNN_ATTR_CONVOLUTION_DILATIONS, both(geometry.dilation));
  options.set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, both(geometry.padding));
  options.set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, both(geometry.padding));
  options.finalize();
  return options;
}

int64_t id_of(Role role) { return static_cast<int64_t>(role) + 1; }

Operation describe(const Convolution& c, Types types) {
  const Names& names = names_of(c.kind);
  Operation result{.parts = {}, .operation = Descriptor(names.operation)};
  for (Role role : roles) {
    const Shape& shape = c.tensors[role].shape();
    const DType dtype = role == result_of(c.kind) ? types.result : types.operands;
    result.parts.push_back(
        cuda::cudnn::tensor({id_of(role), dtype, {shape[0], shape[3], shape[1], shape[2]}}));
    result.operation.set(names.tensors[role], result.parts.back());
  }
  result.parts.push_back(describe(c.geometry));
  result.operation.set(names.options, result.parts.back());
  result.operation.set(names.alpha, 1.0f);
  result.operation.set(names.beta, 0.0f);
  result.operation.finalize();
  return result;
}

// --- Choosing a plan --------------------------------------------------------------------------------------

/// What an engine must not do. Winograd's and Fourier's transforms mix neighboring elements, so that the
/// error of a small result follows the largest of them, and one NaN becomes many.
std::vector<cudnnBackendNumericalNote_t> forbidden_notes(bool tensor_cores, bool deterministic) {
  std::vector<cudnnBackendNumericalNote_t> notes = {CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS,
                                                    CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION,
                                                    CUDNN_NUMERICAL_NOTE_FFT,
                                                    CUDNN_NUMERICAL_NOTE_WINOGRAD,
                                                    CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4,
                                                    CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6,
                                                    CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13};
  if (!tensor_cores) notes.push_back(CUDNN_NUMERICAL_NOTE_TENSOR_CORE);
  if (deterministic) notes.push_back(CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC);
  return notes;
}

struct Method {
  Types types;
  std::vector<Plan> plans;  // the first is used, once more than one have been measured
  bool measured;
};

/// At most `count` plans, in the best types that have any; in these, only where cuDNN has no other, such
/// whose results change from run to run.
Method make_method(const Convolution& c, size_t count) {
  constexpr size_t most_workspace = size_t{1} << 30;
  for (const Types types : possible_types(c.kind, c.dtype()))
    for (bool deterministic : {true, false}) {
      // With f32 operands, the tensor cores compute in TF32.
      const bool tensor_cores = c.dtype() == DType::bf16 || cuda::permissions().tf32;
      std::vector<Plan> plans = cuda::cudnn::make_plans(
          describe(c, types), forbidden_notes(tensor_cores, deterministic), most_workspace, count);
      if (!plans.empty()) return {types, std::move(plans), count > 1};
    }
  fail("cuDNN has no way to compute a convolution of {} x {}, weight {}, stride {}, padding {}, dilation {}",
       c.dtype(), c.tensors[x_role].shape(), c.tensors[weight_role].shape(), c.geometry.stride,
       c.geometry.padding, c.geometry.dilation);
}

void run(const Plan& plan, std::span<const Binding> bindings) {
  Tensor workspace;
  if (plan.workspace_bytes() > 0)
    workspace = Tensor({static_cast<int64_t>(plan.workspace_bytes())}, DType::u8, Device::cuda());
  plan.run(bindings, workspace.defined() ? workspace.raw() : nullptr);
}

/// The method for this convolution, made when it is first met, and again when it may be measured since.
Method& method_for(const Convolution& c) {
  using Key = std::tuple<Kind, DType, std::array<int64_t, 4>, std::array<int64_t, 4>, int, int, int, bool>;
  // Ops run on one thread. Never destroyed: cuDNN may be gone at the end of the program.
  static auto& methods = *new std::map<Key, std::optional<Method>>;
  const auto extents = [](const Shape& s) { return std::array{s[0], s[1], s[2], s[3]}; };
  const ConvGeometry& g = c.geometry;
  auto& method =
      methods[{c.kind, c.dtype(), extents(c.tensors[x_role].shape()), extents(c.tensors[weight_role].shape()),
               g.stride, g.padding, g.dilation, cuda::permissions().tf32}];
  const bool measure = cuda::permissions().autotune && !cuda::is_recording();
  if (!method || (measure && !method->measured)) method = make_method(c, measure ? 8 : 1);
  return *method;
}

// --- Running ----------------------------------------------------------------------------------------------

bool is_usable(const Tensor& tensor, DType dtype) {
  return tensor.dtype() == dtype && reinterpret_cast<uintptr_t>(tensor.raw()) % cuda::cudnn::alignment == 0;
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

  Method& method = method_for(c);
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
