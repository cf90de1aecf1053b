// The differentiable functions. Each is one function in functions.cpp in which forward and backward stand
// together. Shapes and types are those of the op of the same name in tensor/ops.h; images are [N, H, W, C].
#pragma once

#include "autograd/variable.h"
#include "tensor/op_types.h"
#include "tensor/random.h"

namespace la {

// Pointwise.
Variable relu(const Variable& x);
Variable sigmoid(const Variable& x);
Variable add(const Variable& a, const Variable& b);
inline Variable operator+(const Variable& a, const Variable& b) { return add(a, b); }
Variable multiply(const Variable& a, const Variable& b);
Variable scale(const Variable& x, float factor);
/// Zero with probability p, else x / (1 - p). `step` is added to the key's index, as in ops::dropout; it must
/// stay as it is until the backward pass.
Variable dropout(const Variable& x, float p, const RandomKey& key, const Tensor& step = {});
/// f32 <-> bf16.
Variable cast(const Variable& x, DType dtype);
Variable reshape(const Variable& x, std::initializer_list<int64_t> extents);

// Linear maps. Weights and biases are f32 whatever the type of x.
/// x [R, I] weight [O, I]^T + bias [O], which may be undefined.
Variable linear(const Variable& x, const Variable& weight, const Variable& bias);
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
/// Batch statistics; updates the running ones of `state`, whose scale and shift are those of the variables.
/// `residual` (shape of x) may be undefined; see BatchNormOptions for its sum and ReLU.
Variable batch_norm(const Variable& x, const Variable& scale, const Variable& shift,
                    const BatchNormState& state, const Variable& residual, const BatchNormOptions& options);
/// Running statistics, not differentiable with respect to them: for evaluation.
Variable batch_norm_inference(const Variable& x, const BatchNormState& state, const Variable& residual,
                              const BatchNormOptions& options);
/// Each row of x [R, D] divided by its length: the embedding v = f(x) / ||f(x)|| on the unit sphere.
Variable l2_normalize(const Variable& x);

/// Mean of all elements, shape [1].
Variable mean(const Variable& x);
/// Mean over the batch of -log softmax(logits_i)_{target_i}: logits f32 [B, C], target i32 [B].
Variable cross_entropy(const Variable& logits, const Tensor& target);

}  // namespace la
