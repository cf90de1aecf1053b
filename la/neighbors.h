// Neighbors of a picture in the memory bank, the sets of equation (3): the background neighbors B_i, its k
// nearest, and the close neighbors C_i, which share a cluster with it in any of H clusterings.
#pragma once

#include <vector>

#include "la/memory_bank.h"
#include "tensor/op_types.h"
#include "tensor/progress_callback.h"

namespace la {

/// B_i of R pictures: for each shard of the bank that this process has, rows of it, i32 [R, K], in ascending order, and their
/// similarities v . v-bar. One process has one shard, the whole bank, and K = k; of several shards, each lists those of its
/// rows that come into question, and a similarity of -infinity says that a row is no neighbor after all.
using Background = std::vector<TopK>;
/// Which of them are close, as a mask u8 [R, K] for each shard.
using CloseMasks = std::vector<Tensor>;

/// B_i of the pictures named by indices i32 [R], whose embeddings are v f32 [R, D]: the k vectors of the bank nearest to v_i,
/// exactly, of equal ones those of the lower index. It always contains i itself.
Background background_neighbors(const MemoryBank& bank, const Tensor& v, const Tensor& indices, int64_t k);

/// An ablation: B_i is the whole bank, k = N, so that P(B_i | v_i) is 1. every_row is rows_of_whole_bank(bank,
/// R), the rows of such a background, i32 [R, N].
Background whole_bank(const MemoryBank& bank, const Tensor& v, const std::vector<Tensor>& every_row);
std::vector<Tensor> rows_of_whole_bank(const MemoryBank& bank, int64_t pictures);

/// C_i intersected with B_i. C_i is the union of the clusters that i is in, one in each of the H clusterings
/// (labels i32 [N, H], of this process's pictures): a neighbor is close if it shares at least one of them. It always
/// contains i itself. Ablations: it is close if it shares all of them; or it counts as often as it shares one, so
/// that P(C_i and B_i | v_i) becomes the sum over the clusterings.
CloseMasks close_by_clusters(const MemoryBank& bank, const Tensor& labels, const Tensor& indices,
                             const Background& background, SharedClusters shared = SharedClusters::any);

/// The paper's ablation: C_i is the `count` nearest of B_i.
CloseMasks close_by_distance(const MemoryBank& bank, const Background& background, int64_t count);

/// The clusters of another ablation: two pictures are in one if a chain of links joins them, and each is linked
/// to the other one whose vector is nearest to its own. Labels of this process's pictures, i32 [own], from 0 on; says
/// how many clusters there are.
struct Components {
  Tensor labels;
  int64_t count = 0;
  std::vector<int32_t> sizes = {};  // of all pictures, [count]
};
Components nearest_neighbor_components(const MemoryBank& bank, const ProgressCallback& progress = {});

}  // namespace la
