// The weight gradient of a convolution by a kernel of our own, which is up to 2.5 times as fast as oneDNN's
// in bf16 and at stride 2: docs/results.md.
#pragma once

#include "tensor/op_types.h"
#include "tensor/tensor.h"

namespace la {

/// Whether the kernel below is the faster one: packing its operands must pay, and input
/// channels fill its tiles.
bool has_fast_weight_gradient(const Shape& x_shape, const Shape& weight_shape, DType dtype);

/// dweight[o, i, j, c] =
///   sum over n, p, q of dy[n, p, q, o] x[n, p stride - padding + i dilation, q stride - padding + j dilation, c]
/// for dy [N, P, Q, O], x [N, H, W, C], dweight f32 [O, KH, KW, C]. Each number is summed in an order that does
/// not depend on the number of threads.
void fast_weight_gradient(const Tensor& dy, const Tensor& x, const ConvGeometry& geometry,
                          const Tensor& dweight);

}  // namespace la
