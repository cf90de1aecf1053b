#include "la/neighbors.h"

#include "tensor/ops.h"

namespace la {

TopK background_neighbors(const MemoryBank& bank, const Tensor& v, const Tensor& pictures, int64_t k) {
  return ops::nearest_rows(v, bank.vectors(), k, pictures);
}

Tensor close_by_clusters(const Tensor& labels, const Tensor& pictures, const TopK& background) {
  return ops::share_label(labels, pictures, background.indices);
}

Tensor close_by_distance(const TopK& background, int64_t count) {
  return ops::mark_columns(ops::top_k(background.values, count).indices, background.values.size(1));
}

}  // namespace la
