// The losses of the paper, each the mean over a batch of B embeddings v f32 [B, D] on the unit sphere. The
// bank is a constant: gradients flow into v alone. The weight decay of the objective is the optimizer's.
//
// All of them rest on the probability that an embedding v is recognized as picture i (section 3.1),
//   P(i | v) = exp(v-bar_i . v / tau) / sum_j exp(v-bar_j . v / tau),
// and on P(A | v) = sum of P(i | v) over i in A, for a set A of pictures.
#pragma once

#include "autograd/variable.h"
#include "la/memory_bank.h"
#include "tensor/op_types.h"

namespace la {

/// Local Aggregation (section 3.1): L = -log( P(C_i and B_i | v_i) / P(B_i | v_i) ).
/// background: B_i with its similarities to v; close: the mask of C_i over B_i (la/neighbors.h). The sum over
/// all pictures in P's denominator cancels, so that only B_i is ever touched.
Variable local_aggregation_loss(const Variable& v, const MemoryBank& bank, const TopK& background,
                                const Tensor& close, float temperature);

/// Instance recognition (Wu, Xiong, Yu, Lin 2018): L = -log P(i | v_i), with the full sum over the bank.
/// indices: i32 [B], which pictures they are.
Variable instance_softmax_loss(const Variable& v, const MemoryBank& bank, const Tensor& indices,
                               float temperature);

/// Instance recognition by noise-contrastive estimation: tell picture i from m pictures drawn uniformly, with
/// h(j, v) = P(j | v) / (P(j | v) + m / N), and a constant Z in place of P's denominator:
/// L = -log h(i, v_i) - sum over the noise of log(1 - h(j, v_i)).
/// candidates: i32 [B, 1 + m], the picture itself first (nce_candidates).
Variable instance_nce_loss(const Variable& v, const MemoryBank& bank, const Tensor& candidates, double z,
                           float temperature);

/// For each picture of i32 [B]: itself, then m noise pictures. i32 [B, 1 + m]. step, i64 of one element, keys
/// the random numbers.
Tensor nce_candidates(const Tensor& indices, int64_t m, int64_t bank_size, uint64_t seed, const Tensor& step);

/// The constant Z of the original program, 2876934.2 for the 1,281,167 pictures of ImageNet, scaled to N. It
/// fits tau = 0.07 in 128 dimensions: N exp(1 / (2 D tau^2)) is the mean over random vectors.
double original_nce_constant(int64_t bank_size);
/// Z estimated from a batch: N times the mean of exp(v-bar_j . v / tau) over its noise.
double estimate_nce_constant(const Tensor& v, const MemoryBank& bank, const Tensor& candidates,
                             float temperature);

}  // namespace la
