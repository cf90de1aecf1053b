#include "tensor/cuda/convolution.h"

#include "tensor/cuda/cuda_backend.h"

namespace la {
namespace {

constexpr ConvGeometry unpadded{};

/// [..., C] as [all others, C].
Tensor as_matrix(const Tensor& x) { return x.reshape({x.numel() / x.size(-1), x.size(-1)}); }

}  // namespace

bool cuda::is_matrix_product(const Shape& weight, const ConvGeometry& g) {
  return weight.numel() > 0 && weight[1] == 1 && weight[2] == 1 && g.stride == 1 && g.padding == 0;
}

void CudaBackend::conv2d(const Tensor& x, const Tensor& weight, const ConvGeometry& geometry,
                         const Tensor& y) {
  const std::optional<cuda::Folding> folding = cuda::folding_of(x.dtype(), weight.shape(), geometry);
  if (!folding || x.numel() == 0) return cuda::cudnn_convolution(x, weight, geometry, y);
  cuda::cudnn_convolution(cuda::fold_pictures(x, *folding, y.size(1), y.size(2)),
                          cuda::fold_weight(weight, *folding), unpadded, y);
}

void CudaBackend::conv2d_backward_data(const Tensor& dy, const Tensor& weight, const ConvGeometry& geometry,
                                       const Tensor& dx) {
  cuda::cudnn_convolution_backward_data(dy, weight, geometry, dx);
}

void CudaBackend::conv2d_backward_weight(const Tensor& dy, const Tensor& x, const ConvGeometry& geometry,
                                         const Tensor& dweight) {
  if (cuda::is_matrix_product(dweight.shape(), geometry))
    return matmul(as_matrix(dy), as_matrix(x), {.transpose_a = true}, as_matrix(dweight));
  const std::optional<cuda::Folding> folding = cuda::folding_of(x.dtype(), dweight.shape(), geometry);
  if (!folding || x.numel() == 0) return cuda::cudnn_convolution_backward_weight(dy, x, geometry, dweight);
  const Tensor folded({dweight.size(0), folding->taps, folding->taps, folding->folded}, DType::f32,
                      dweight.device());
  cuda::cudnn_convolution_backward_weight(dy, cuda::fold_pictures(x, *folding, dy.size(1), dy.size(2)),
                                          unpadded, folded);
  cuda::unfold_weight_gradient(folded, *folding, dweight);
}

}  // namespace la
