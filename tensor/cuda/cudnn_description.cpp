#include "tensor/cuda/cudnn_description.h"

namespace la::cuda::cudnn {
namespace {

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

}  // namespace

std::vector<Types> possible_types(Kind kind, DType dtype) {
  using enum DType;
  if (dtype == f32) return {{f32, f32}};
  if (kind == Kind::backward_weight) return {{bf16, bf16}, {bf16, f32}, {f32, f32}};
  return {{bf16, bf16}, {f32, f32}};
}

Operation describe(const ConvolutionShape& c, Types types) {
  const Names& names = names_of(c.kind);
  Operation result{.parts = {}, .operation = Descriptor(names.operation)};
  for (Role role : roles) {
    const Shape& shape = c.shapes[role];
    const DType dtype = role == result_of(c.kind) ? types.result : types.operands;
    result.parts.push_back(tensor({id_of(role), dtype, {shape[0], shape[3], shape[1], shape[2]}}));
    result.operation.set(names.tensors[role], result.parts.back());
  }
  result.parts.push_back(describe(c.geometry));
  result.operation.set(names.options, result.parts.back());
  result.operation.set(names.alpha, 1.0f);
  result.operation.set(names.beta, 0.0f);
  result.operation.finalize();
  return result;
}

std::vector<Demands> demands_of(DType operands, bool tf32) {
  const std::vector<cudnnBackendNumericalNote_t> never = {CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS,
                                                          CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION,
                                                          CUDNN_NUMERICAL_NOTE_FFT,
                                                          CUDNN_NUMERICAL_NOTE_WINOGRAD,
                                                          CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4,
                                                          CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6,
                                                          CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13};
  const auto without = [](std::vector<cudnnBackendNumericalNote_t> notes, cudnnBackendNumericalNote_t one) {
    notes.push_back(one);
    return notes;
  };
  const bool has_tensor_cores = operands == DType::bf16 || tf32;
  const auto allowed = has_tensor_cores ? never : without(never, CUDNN_NUMERICAL_NOTE_TENSOR_CORE);
  const auto deterministic = without(allowed, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC);
  std::vector<Demands> result;
  if (has_tensor_cores)
    result.push_back({.forbidden = deterministic, .required = {CUDNN_NUMERICAL_NOTE_TENSOR_CORE}});
  result.push_back({.forbidden = deterministic, .required = {}});
  result.push_back({.forbidden = allowed, .required = {}});
  return result;
}

}  // namespace la::cuda::cudnn
