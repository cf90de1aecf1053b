// Convolutions in cuDNN's words: what is asked of it, in which types, and what an engine must not do. None of
// it needs a GPU, so that cuDNN's heuristics can be asked about GPUs that are not there (tests/cudnn).
#pragma once

#include <array>
#include <vector>

#include "tensor/cuda/cudnn_graph.h"
#include "tensor/op_types.h"

namespace la::cuda::cudnn {

/// The tensors of a convolution, as places in arrays.
enum Role : size_t { x_role, weight_role, y_role };
inline constexpr std::array roles = {x_role, weight_role, y_role};
constexpr int64_t id_of(Role role) { return static_cast<int64_t>(role) + 1; }

/// What is computed from what: y from x and the weight, dx from dy and the weight, dweight from dy and x.
enum class Kind { forward, backward_data, backward_weight };
constexpr Role result_of(Kind kind) {
  return kind == Kind::forward ? y_role : kind == Kind::backward_data ? x_role : weight_role;
}

/// What is to be computed.
struct ConvolutionShape {
  Kind kind;
  std::array<Shape, 3> shapes;  // by role
  DType dtype;                  // of the two operands
  ConvGeometry geometry;
};

/// The types in which cuDNN computes a convolution, which may be others than those of its tensors.
struct Types {
  DType operands, result;
};

/// Types to try, best first. bf16 operands in f32 keep their values, also where TF32 rounds them. Weight
/// gradients are sums in f32 either way; those that are then rounded to bf16 have the fast engines.
std::vector<Types> possible_types(Kind kind, DType dtype);

Operation describe(const ConvolutionShape& c, Types types);

/// What is asked of engines for operands of that type, best first: that they use tensor cores where these
/// lose nothing, and give the same results in each run. Of f32 operands, tensor cores would round in TF32:
/// `tf32` says whether they may. Never may they use Winograd's or Fourier's transforms, which mix neighboring
/// elements, so that the error of a small result follows the largest of them, and one NaN becomes many.
std::vector<Demands> demands_of(DType operands, bool tf32);

}  // namespace la::cuda::cudnn
