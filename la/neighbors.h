// Neighbors of a picture in the memory bank, the sets of equation (3): the background neighbors B_i, its k
// nearest, and the close neighbors C_i, which share a cluster with it in any of H clusterings.
#pragma once

#include "la/memory_bank.h"
#include "tensor/op_types.h"

namespace la {

/// B_i of the pictures named by indices i32 [R], whose embeddings are v f32 [R, D]: the k vectors of the bank
/// nearest to v_i, exactly, with their similarities v . v-bar. It always contains i itself. [R, k], in
/// ascending order of index.
TopK background_neighbors(const MemoryBank& bank, const Tensor& v, const Tensor& indices, int64_t k);

/// C_i intersected with B_i, as a mask u8 [R, k] over B_i. C_i is the union of the clusters that i is in, one
/// in each of the H clusterings (labels i32 [N, H]): a neighbor is close if it shares at least one of them.
/// It always contains i itself.
Tensor close_by_clusters(const Tensor& labels, const Tensor& indices, const TopK& background);

/// The paper's ablation: C_i is the `count` nearest of B_i. The same kind of mask.
Tensor close_by_distance(const TopK& background, int64_t count);

}  // namespace la
