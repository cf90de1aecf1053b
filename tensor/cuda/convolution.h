// How the GPU convolves: cuDNN's convolutions, and what is made of those that they are slow at.
//
// Tensor cores take 8 channels at a time, and the pictures that a network begins with have 1 or 3. Folded,
// the stride x stride pixels under one step of the window become the channels of one pixel, filled up with
// zeros to a multiple of 8; the window becomes a smaller one of stride 1. (The idea is known as space to
// depth.) A NaN or an infinity in a picture may then also show in the window beside it, by a factor of 0.
#pragma once

#include <optional>

#include "tensor/op_types.h"
#include "tensor/tensor.h"

namespace la::cuda {

// --- By cuDNN (cudnn_convolution.cpp) ---

void cudnn_convolution(const Tensor& x, const Tensor& weight, const ConvGeometry& geometry, const Tensor& y);
void cudnn_convolution_backward_data(const Tensor& dy, const Tensor& weight, const ConvGeometry& geometry,
                                     const Tensor& dx);
void cudnn_convolution_backward_weight(const Tensor& dy, const Tensor& x, const ConvGeometry& geometry,
                                       const Tensor& dweight);

// --- Folding (fold.cu) ---

/// How a convolution is folded. Along each axis, tap `kernel` reaches the pixel stride * position + kernel -
/// padding; that is pixel (kernel - padding) mod stride of the cell that lies floor((kernel - padding) /
/// stride) cells behind the one at `position`.
struct Folding {
  int stride, padding, kernel;
  int first;     // how many cells behind the position the first tap's lies; not positive
  int taps;      // cells that a window reaches
  int channels;  // of a picture
  int folded;    // stride^2 * channels, rounded up to what one access moves
};

/// The folding that makes convolutions of pictures of that type faster, if one does.
std::optional<Folding> folding_of(DType pictures, const Shape& weight, const ConvGeometry& geometry);

/// Whether each result is made of one pixel, as a matrix product over the channels.
bool is_matrix_product(const Shape& weight, const ConvGeometry& geometry);

/// x [N, H, W, C] -> [N, OH + taps - 1, OW + taps - 1, folded], of which the windows of an unpadded
/// convolution with the folded weight are the same [N, OH, OW, ...].
Tensor fold_pictures(const Tensor& x, const Folding& f, int64_t out_height, int64_t out_width);
/// weight [O, K, K, C] -> [O, taps, taps, folded].
Tensor fold_weight(const Tensor& weight, const Folding& f);
/// The gradient of the weight, f32 [O, K, K, C], from that of the folded one.
void unfold_weight_gradient(const Tensor& folded, const Folding& f, const Tensor& dweight);

}  // namespace la::cuda
