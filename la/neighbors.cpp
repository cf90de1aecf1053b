#include "la/neighbors.h"

#include "tensor/ops.h"

namespace la {

TopK background_neighbors(const MemoryBank& bank, const Tensor& v, const Tensor& indices, int64_t k) {
  return ops::nearest_rows(v, bank.vectors(), k, indices);
}

Tensor close_by_clusters(const Tensor& labels, const Tensor& indices, const TopK& background) {
  return ops::same_cluster_mask(labels, indices, background.indices);
}

Tensor close_by_distance(const TopK& background, int64_t count) {
  return ops::columns_to_mask(ops::top_k(background.values, count).indices, background.values.size(1));
}

}  // namespace la
