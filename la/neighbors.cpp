#include "la/neighbors.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "tensor/ops.h"

namespace la {
namespace {

/// Disjoint sets of {0, ..., n - 1} (Galler, Fischer 1964), each a tree whose root names it.
class DisjointSets {
 public:
  explicit DisjointSets(int64_t n) : parents_(static_cast<size_t>(n)) {
    std::iota(parents_.begin(), parents_.end(), 0);
  }
  int32_t find(int32_t x) {
    while (parents_[x] != x) x = parents_[x] = parents_[parents_[x]];  // halves the path
    return x;
  }
  /// The smaller root becomes that of both, so that it does not depend on the order of the unions.
  void unite(int32_t a, int32_t b) {
    const int32_t root_a = find(a), root_b = find(b);
    parents_[std::max(root_a, root_b)] = std::min(root_a, root_b);
  }

 private:
  std::vector<int32_t> parents_;
};

/// Of each vector of the bank, the other one that is nearest to it.
std::vector<int32_t> nearest_others(const Tensor& vectors, const ProgressCallback& progress) {
  constexpr int64_t block = 4096;
  std::vector<int32_t> nearest;
  for (int64_t begin = 0; begin < vectors.size(0); begin += block) {
    const int64_t end = std::min(begin + block, vectors.size(0));
    const TopK two =
        ops::nearest_rows(vectors.rows(begin, end), vectors, 2);  // itself, or a twin of it, and another
    const std::vector<int32_t> indices = two.indices.to_vector<int32_t>();
    for (int64_t i = begin; i < end; ++i) {
      const int32_t first = indices[static_cast<size_t>(2 * (i - begin))];
      nearest.push_back(first != i ? first : indices[static_cast<size_t>(2 * (i - begin) + 1)]);
    }
    if (progress) progress("nearest neighbors of the bank", end, vectors.size(0));
  }
  return nearest;
}

}  // namespace

TopK background_neighbors(const MemoryBank& bank, const Tensor& v, const Tensor& indices, int64_t k) {
  return ops::nearest_rows(v, bank.vectors(), k, indices);
}

TopK whole_bank(const MemoryBank& bank, const Tensor& v, const Tensor& every_row) {
  return {ops::matmul(v, bank.vectors(), {.transpose_b = true}), every_row};
}

Tensor rows_of_whole_bank(const MemoryBank& bank, int64_t pictures) {
  std::vector<int32_t> rows(static_cast<size_t>(pictures * bank.size()));
  for (size_t i = 0; i < rows.size(); ++i)
    rows[i] = static_cast<int32_t>(i % static_cast<size_t>(bank.size()));
  return Tensor::from(rows, {pictures, bank.size()}, bank.vectors().device());
}

Tensor close_by_clusters(const Tensor& labels, const Tensor& indices, const TopK& background) {
  return ops::same_cluster_mask(labels, indices, background.indices);
}

Tensor close_by_clusters(const Tensor& labels, const Tensor& indices, const TopK& background,
                         SharedClusters shared) {
  return ops::same_cluster_mask(labels, indices, background.indices, shared);
}

Tensor close_by_distance(const TopK& background, int64_t count) {
  return ops::columns_to_mask(ops::top_k(background.values, count).indices, background.values.size(1));
}

Components nearest_neighbor_components(const MemoryBank& bank, const ProgressCallback& progress) {
  const std::vector<int32_t> links = nearest_others(bank.vectors(), progress);
  DisjointSets sets(bank.size());
  for (size_t i = 0; i < links.size(); ++i) sets.unite(static_cast<int32_t>(i), links[i]);
  std::vector<int32_t> labels(links.size());
  int32_t count = 0;
  for (size_t i = 0; i < labels.size(); ++i) {
    const int32_t root = sets.find(static_cast<int32_t>(i));  // the first of its set
    labels[i] = root == static_cast<int32_t>(i) ? count++ : labels[static_cast<size_t>(root)];
  }
  return {Tensor::from(labels, {bank.size()}, bank.vectors().device()), count};
}

}  // namespace la
