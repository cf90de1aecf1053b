#include "la/neighbors.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "evaluation/vector_search.h"
#include "tensor/ops.h"
#include "tensor/sharded_selection.h"

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

/// Of each vector of the bank, the other one that is nearest to it; every process has all of them.
std::vector<int32_t> nearest_others(const VectorSearch& vectors, const ProgressCallback& progress) {
  constexpr int64_t block = 4096;
  std::vector<int32_t> nearest;
  for (int64_t begin = 0; begin < vectors.size(); begin += block) {
    const int64_t end = std::min(begin + block, vectors.size());
    const Neighbors two = vectors.nearest(vectors.rows(begin, end), 2);  // itself, or a twin, and another
    for (int64_t i = begin; i < end; ++i) {
      const auto first = static_cast<size_t>(2 * (i - begin));
      nearest.push_back(two.numbers[first] != i ? two.numbers[first] : two.numbers[first + 1]);
    }
    if (progress) progress("nearest neighbors of the bank", end, vectors.size());
  }
  return nearest;
}

}  // namespace

Background background_neighbors(const MemoryBank& bank, const Tensor& v, const Tensor& indices, int64_t k) {
  Background background;
  std::vector<Tensor> itself;
  for (int64_t p = 0; p < bank.shards().own(); ++p) {
    const Tensor vectors = bank.rows().part(p);
    itself.push_back(bank.part_rows_of(indices, p));
    const int64_t most = std::min(k, vectors.size(0));
    background.push_back(most > 0 ? ops::nearest_rows(v, vectors, most, itself.back())
                                  : TopK{Tensor({v.size(0), 0}, DType::f32, v.device()),
                                         Tensor({v.size(0), 0}, DType::i32, v.device())});
  }
  if (bank.shards().count() == 1) return background;
  const std::vector<Tensor> nearest = mark_largest(bank.shards(), background, itself, k);
  for (size_t p = 0; p < background.size(); ++p)
    background[p].values = ops::keep_marked(background[p].values, nearest[p]);
  return background;
}

Background whole_bank(const MemoryBank& bank, const Tensor& v, const std::vector<Tensor>& every_row) {
  Background background;
  for (size_t p = 0; p < every_row.size(); ++p)
    background.push_back(
        {ops::matmul(v, bank.rows().part(static_cast<int64_t>(p)), {.transpose_b = true}), every_row[p]});
  return background;
}

std::vector<Tensor> rows_of_whole_bank(const MemoryBank& bank, int64_t pictures) {
  std::vector<Tensor> every_row;
  for (int64_t p = 0; p < bank.shards().own(); ++p) {
    const int64_t n = bank.rows().range(p).size();
    std::vector<int32_t> rows(static_cast<size_t>(pictures * n));
    for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int32_t>(i % static_cast<size_t>(n));
    every_row.push_back(Tensor::from(rows, {pictures, n}, bank.vectors().device()));
  }
  return every_row;
}

CloseMasks close_by_clusters(const MemoryBank& bank, const Tensor& labels, const Tensor& indices,
                             const Background& background, SharedClusters shared) {
  const Tensor own = ops::gather_rows(labels, bank.own_rows_of(indices));  // 0 where another process has them
  bank.shards().ranks().all_reduce("labels of the batch", own, Reduction::sum);
  CloseMasks close;
  for (size_t p = 0; p < background.size(); ++p)
    close.push_back(ops::same_cluster_mask(bank.rows().part_of(labels, static_cast<int64_t>(p)), own,
                                           background[p].indices, shared));
  return close;
}

CloseMasks close_by_distance(const MemoryBank& bank, const Background& background, int64_t count) {
  return mark_largest(bank.shards(), background, {}, count);
}

Components nearest_neighbor_components(const MemoryBank& bank, const ProgressCallback& progress) {
  const VectorSearch vectors(bank.vectors(), bank.shards().ranks());
  const std::vector<int32_t> links = nearest_others(vectors, progress);
  DisjointSets sets(bank.size());
  for (size_t i = 0; i < links.size(); ++i) sets.unite(static_cast<int32_t>(i), links[i]);
  std::vector<int32_t> labels(links.size());
  std::vector<int32_t> sizes;
  for (size_t i = 0; i < labels.size(); ++i) {
    const int32_t root = sets.find(static_cast<int32_t>(i));  // the first of its set
    if (root == static_cast<int32_t>(i)) sizes.push_back(0);
    labels[i] = root == static_cast<int32_t>(i) ? static_cast<int32_t>(sizes.size()) - 1
                                                : labels[static_cast<size_t>(root)];
    ++sizes[static_cast<size_t>(labels[i])];
  }
  const RowRange own = bank.rows().range();
  const std::vector<int32_t> own_labels(labels.begin() + own.begin, labels.begin() + own.end);
  return {Tensor::from(own_labels, {own.size()}, bank.vectors().device()), std::ssize(sizes), sizes};
}

}  // namespace la
