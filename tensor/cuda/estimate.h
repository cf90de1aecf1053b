// Products of matrices that need not be exact.
#pragma once

#include "tensor/tensor.h"

namespace la::cuda {

/// scores_ij <- about a_i . b_j, for the rows of a [M, D] and b [N, D], f32; scores [M, at least N], of which
/// the columns from N on stay as they are. Tensor cores round the operands to TF32, which has 10 bits behind
/// the binary point; the error is at most estimate_error(D) * |a_i| |b_j|.
void estimate_products(const Tensor& a, const Tensor& b, const Tensor& scores);

/// Operands that are cut to 10 bits are off by up to 2^-10 each, relatively; their products, by twice that
/// and its square. Each of the D additions, of estimates or of what they are compared with, is off by up to a
/// few units in the last place of the sum of sizes.
constexpr float estimate_error(int64_t depth) {
  return 0x1p-9f + 0x1p-20f + static_cast<float>(depth) * 0x1p-21f;
}

}  // namespace la::cuda
