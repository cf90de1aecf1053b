// Convolutions of 3x3 windows at stride 1 by Winograd's minimal filtering (Lavin, Gray: "Fast algorithms for
// convolutional neural networks", 2015), which makes a tile of 4x4 outputs with 36 products where the plain
// sum takes 144. A tile of 6x6 inputs d and the window g are transformed, multiplied point by point, summed
// over the channels, and transformed back:
//
//   y = A^T [ (G g G^T) * (B^T d B) ] A
//
// The transformed arrays and their products are f32, whatever the type of the pictures. The points of the
// transform (winograd_transforms.h) are chosen for small errors: twice those of a plain sum, in the mean.
#pragma once

#include "tensor/op_types.h"
#include "tensor/tensor.h"

namespace la {

enum class ConvPass { forward, data_gradient, weight_gradient };

/// Whether the function below for that pass takes the convolution and is faster than a plain sum. `tiled` is
/// the shape of what is cut into tiles: dx in the data gradient, else y.
bool suits_winograd(ConvPass pass, const Shape& tiled, const Shape& weight, const ConvGeometry& geometry,
                    DType dtype);

/// Shapes and types as in ops.h; each number is the same for any number of threads.
void winograd_conv2d(const Tensor& x, const Tensor& weight, const ConvGeometry& geometry, const Tensor& y);
void winograd_conv2d_backward_data(const Tensor& dy, const Tensor& weight, const ConvGeometry& geometry,
                                   const Tensor& dx);
void winograd_conv2d_backward_weight(const Tensor& dy, const Tensor& x, const ConvGeometry& geometry,
                                     const Tensor& dweight);

}  // namespace la
