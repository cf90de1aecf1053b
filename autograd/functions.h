// The differentiable functions. Each is one function in functions.cpp in which forward and backward stand
// together. Shapes and types are those of the op of the same name in tensor/ops.h; images are [N, H, W, C].
#pragma once

#include "autograd/variable.h"
#include "tensor/op_types.h"
#include "tensor/random.h"
#include "tensor/shards.h"

namespace la {

// Pointwise.
Variable relu(const Variable& x);
Variable sigmoid(const Variable& x);
Variable exp(const Variable& x);
Variable log(const Variable& x);
Variable sqrt(const Variable& x);
Variable tanh(const Variable& x);
/// The exact form, x P(X <= x).
Variable gelu(const Variable& x);
Variable add(const Variable& a, const Variable& b);
Variable subtract(const Variable& a, const Variable& b);
Variable multiply(const Variable& a, const Variable& b);
Variable divide(const Variable& a, const Variable& b);
Variable scale(const Variable& x, float factor);
/// x + offset.
Variable shift(const Variable& x, float offset);
inline Variable negate(const Variable& x) { return scale(x, -1.0f); }
/// Zero with probability p, else x / (1 - p). `step` is added to the key's index, as in ops::dropout; it must
/// stay as it is until the backward pass.
Variable dropout(const Variable& x, float p, const RandomKey& key, const Tensor& step = {});
/// f32 <-> bf16.
Variable cast(const Variable& x, DType dtype);
Variable reshape(const Variable& x, std::initializer_list<int64_t> extents);

// Linear maps. Weights and biases are f32 whatever the type of x.
/// x [R, I] weight [O, I]^T + bias [O], which may be undefined.
Variable linear(const Variable& x, const Variable& weight, const Variable& bias);
/// alpha op(a) op(b), of matrices of one type.
Variable matmul(const Variable& a, const Variable& b, const MatmulOptions& options = {});
/// [R, C] -> [C, R].
Variable transpose(const Variable& x);
/// x [..., C] + bias [C].
Variable add_bias(const Variable& x, const Variable& bias);
/// x [N, H, W, I], weight [O, KH, KW, I].
Variable conv2d(const Variable& x, const Variable& weight, const ConvGeometry& geometry);

// Pooling and channels.
Variable max_pool2d(const Variable& x, const PoolGeometry& geometry);
Variable avg_pool2d(const Variable& x, const PoolGeometry& geometry);
/// [N, H, W, C] -> [N, C].
Variable global_avg_pool(const Variable& x);
/// x [N, H, W, C] * s [N, C].
Variable scale_channels(const Variable& x, const Variable& s);

// Normalization.
/// Batch statistics; updates the running ones of `state`, whose weight and bias are those of the variables.
/// `residual` (shape of x) may be undefined; see BatchNormOptions for its sum and ReLU.
Variable batch_norm(const Variable& x, const Variable& weight, const Variable& bias,
                    const BatchNormState& state, const Variable& residual, const BatchNormOptions& options);
/// The running statistics of `state`, which are constants: for evaluation, and for training with frozen ones.
Variable batch_norm_inference(const Variable& x, const Variable& weight, const Variable& bias,
                              const BatchNormState& state, const Variable& residual,
                              const BatchNormOptions& options);
/// batch_norm with the statistics of the rows of all processes (Peng et al. 2018, "MegDet"), of which this one has x:
/// a row at least, and all together two. `shards` are one for each process; all call it, and go backward through it. Weight
/// and bias get the gradients of this process's rows, whose sum over all processes is that of the batch.
Variable synchronized_batch_norm(const Variable& x, const Variable& weight, const Variable& bias,
                                 const BatchNormState& state, const Variable& residual,
                                 const BatchNormOptions& options, const Shards& shards);
/// Each row of x [R, D] divided by its length: the embedding v = f(x) / ||f(x)|| on the unit sphere.
Variable l2_normalize(const Variable& x);

/// Over the last dimension of x [..., C].
Variable softmax(const Variable& x);
Variable log_softmax(const Variable& x);
/// Over the last dimension of x [..., C]; weight and bias are f32 [C].
Variable layer_norm(const Variable& x, const Variable& weight, const Variable& bias, float epsilon = 1e-5f);

// One dimension, which negative numbers count from the last. Sums, means and maxima are without it.
Variable sum(const Variable& x, int dimension);
Variable mean(const Variable& x, int dimension);
/// The gradient goes to the element that was taken, of equal ones the first.
Variable max(const Variable& x, int dimension);
/// x n times along a new dimension: what a sum without it needs to meet x again.
Variable broadcast(const Variable& x, int dimension, int64_t n);
/// y[...] = x[..., indices[...], ...]: one element along the dimension for each of the indices, i32 in the
/// shape without it. With log_softmax, of the classes of a batch: -mean(pick(log_softmax(x), -1, target)).
Variable pick(const Variable& x, int dimension, const Tensor& indices);
Variable concatenate(const std::vector<Variable>& parts, int dimension);
/// The elements begin to end (exclusive) along the dimension.
Variable slice(const Variable& x, int dimension, int64_t begin, int64_t end);
/// Rows of a table [N, D] or [N], f32, by i32 indices [R], which may repeat: [R, D] or [R].
Variable gather_rows(const Variable& table, const Tensor& rows);

/// Of all elements, f32 [1].
Variable sum(const Variable& x);
Variable mean(const Variable& x);
/// Mean over the batch of -log softmax(logits_i)_{target_i}: logits f32 [B, C], target i32 [B].
Variable cross_entropy(const Variable& logits, const Tensor& target);

// Detection.
/// x [N, H, W, C], boxes f32 [R, 4], pictures i32 [R] -> [R, height, width, C]; the boxes are constants.
Variable sample_regions(const Variable& x, const Tensor& boxes, const Tensor& pictures,
                        const RegionGrid& grid);
/// TensorFlow's, of size x size samples; see RegionGrid.
inline Variable crop_and_resize(const Variable& x, const Tensor& boxes, const Tensor& pictures, int size,
                                float spatial_scale = 1.0f) {
  return sample_regions(x, boxes, pictures, {size, size, spatial_scale});
}
/// torchvision's, of size x size cells.
inline Variable roi_align(const Variable& x, const Tensor& boxes, const Tensor& pictures, int size,
                          float spatial_scale = 1.0f, int sampling_ratio = 0, bool aligned = false) {
  return sample_regions(x, boxes, pictures,
                        {size, size, spatial_scale, RegionGrid::Samples::in_cells, sampling_ratio, aligned});
}
/// Of x - target, element by element; `inside` and `outside`, weights, may be undefined (Girshick 2015).
Variable smooth_l1(const Variable& x, const Tensor& target, float sigma = 1.0f, const Tensor& inside = {},
                   const Tensor& outside = {});

inline Variable operator+(const Variable& a, const Variable& b) { return add(a, b); }
inline Variable operator-(const Variable& a, const Variable& b) { return subtract(a, b); }
inline Variable operator*(const Variable& a, const Variable& b) { return multiply(a, b); }
inline Variable operator/(const Variable& a, const Variable& b) { return divide(a, b); }
inline Variable operator-(const Variable& x) { return negate(x); }
inline Variable operator+(const Variable& x, float offset) { return shift(x, offset); }
inline Variable operator-(const Variable& x, float offset) { return shift(x, -offset); }
inline Variable operator-(float x, const Variable& y) { return shift(negate(y), x); }
inline Variable operator*(const Variable& x, float factor) { return scale(x, factor); }
inline Variable operator*(float factor, const Variable& x) { return scale(x, factor); }
inline Variable operator/(const Variable& x, float divisor) { return scale(x, 1.0f / divisor); }

}  // namespace la
