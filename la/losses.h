// The losses of the paper, each the mean over a batch of B embeddings v f32 [B, D] on the unit sphere. The
// weight decay of the objective is the optimizer's. docs/tour.md derives the gradients.
//
// All of them rest on the probability that an embedding v is recognized as picture i,
//   P(i | v) = exp(s_i / tau) / sum_j exp(s_j / tau),   s_i = v-bar_i . v,
// a softmax over the whole bank, and on P(A | v) = sum of P(i | v) over i in A, for a set A of pictures. The
// bank is a constant: gradients flow into v alone, through d s_i / dv = v-bar_i.
//
// Where several processes train, each has a part of the bank and of the batch: v are the embeddings of this process's
// pictures, and everything else is of the whole batch. Each adds up its members of the sets, and these sums are added over
// the processes; so are the gradients of the rows, which each gets back for its own pictures. The loss is that of the batch.
#pragma once

#include "autograd/variable.h"
#include "la/neighbors.h"

namespace la {

/// Local Aggregation, equation (3) of the paper: how much of the background's probability is the close ones',
///   L = -log( P(C_i and B_i | v_i) / P(B_i | v_i) )
///     = log sum_{j in B_i} exp(s_j / tau) - log sum_{j in C_i and B_i} exp(s_j / tau),
///   dL/dv_i = 1/tau sum_{j in B_i} (p_j - q_j) v-bar_j,
/// where p_j is the softmax of s_j / tau over B_i, and q_j that over C_i and B_i, 0 for those that aren't
/// close: v_i moves towards the close neighbors and away from the rest of the background. P's denominator has
/// canceled, so that of the bank only B_i is ever touched.
/// background: B_i with its similarities s_j; close: the mask of C_i over B_i (la/neighbors.h).
Variable local_aggregation_loss(const Variable& v, const MemoryBank& bank, const Background& background,
                                const CloseMasks& close, float temperature);

/// Instance recognition (Wu, Xiong, Yu, Lin 2018, equation (3)), with the full sum over the bank:
///   L = -log P(i | v_i),   dL/dv_i = 1/tau ( sum_j P(j | v_i) v-bar_j - v-bar_i ).
/// indices: i32 [B], which pictures they are; all: f32 [B, D], the embeddings of the batch, which in one process are those
/// of v.
Variable instance_softmax_loss(const Variable& v, const Tensor& all, const MemoryBank& bank,
                               const Tensor& indices, float temperature);
inline Variable instance_softmax_loss(const Variable& v, const MemoryBank& bank, const Tensor& indices,
                                      float temperature) {
  return instance_softmax_loss(v, v.value(), bank, indices, temperature);
}

/// Instance recognition by noise-contrastive estimation (the same article, equations (4) to (7)): tell
/// picture i from m pictures drawn uniformly, by the probability h that one is not noise, with a constant Z
/// in place of P's denominator:
///   h(j, v) = P(j | v) / (P(j | v) + m / N),   P(j | v) = exp(s_j / tau) / Z,
///   L = -log h(i, v_i) - sum over the noise of log(1 - h(j, v_i)),
///   dL/dv_i = 1/tau ( sum over the noise of h(j, v_i) v-bar_j - (1 - h(i, v_i)) v-bar_i ).
/// candidates: i32 [B, 1 + m], the picture itself first (nce_candidates); all: as above.
Variable instance_nce_loss(const Variable& v, const Tensor& all, const MemoryBank& bank,
                           const Tensor& candidates, double z, float temperature);
inline Variable instance_nce_loss(const Variable& v, const MemoryBank& bank, const Tensor& candidates,
                                  double z, float temperature) {
  return instance_nce_loss(v, v.value(), bank, candidates, z, temperature);
}

/// For each picture of i32 [B]: itself, then m noise pictures. i32 [B, 1 + m]. step, i64 of one element, keys
/// the random numbers.
Tensor nce_candidates(const Tensor& indices, int64_t m, int64_t bank_size, uint64_t seed, const Tensor& step);

/// The constant Z of the original program, 2876934.2 for the 1,281,167 pictures of ImageNet, scaled to N:
/// what P's denominator was for the random vectors that the bank begins with. It fits tau = 0.07 in 128
/// dimensions, where N exp(1 / (2 D tau^2)) is the mean over random vectors.
double original_nce_constant(int64_t bank_size);
/// Z estimated from a batch, whose embeddings are v: N times the mean of exp(v-bar_j . v / tau) over its noise.
double estimate_nce_constant(const Tensor& v, const MemoryBank& bank, const Tensor& candidates,
                             float temperature);

}  // namespace la
