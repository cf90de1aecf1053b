#include "evaluation/vector_search.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <numeric>

#include "tensor/ops.h"

namespace la {
namespace {

/// What each process has, as many on all, one after the other.
template <class T>
std::vector<T> gathered(Collectives& ranks, const std::vector<T>& own) {
  const auto n = std::ssize(own);
  const Tensor all({ranks.size() * n}, dtype_of<T>());
  ranks.all_gather("nearest vectors", Tensor::from(own, {n}), all,
                   std::vector<int64_t>(static_cast<size_t>(ranks.size()), n));
  return all.to_vector<T>();
}

/// Of each query, the k nearest among the k of each process.
Neighbors nearest_of_all(const Neighbors& all, size_t ranks, size_t k) {
  const size_t per_rank = all.numbers.size() / ranks;
  Neighbors nearest;
  std::vector<size_t> places(ranks * k);
  const auto nearer = [&](size_t a, size_t b) {
    return all.similarities[a] != all.similarities[b] ? all.similarities[a] > all.similarities[b] : a < b;
  };
  for (size_t begin = 0; begin < per_rank; begin += k) {
    for (size_t i = 0; i < places.size(); ++i) places[i] = i / k * per_rank + begin + i % k;
    const auto end = places.begin() + static_cast<std::ptrdiff_t>(k);
    std::nth_element(places.begin(), end - 1, places.end(), nearer);
    std::sort(places.begin(), end);
    for (auto place = places.begin(); place != end; ++place) {
      nearest.similarities.push_back(all.similarities[*place]);
      nearest.numbers.push_back(all.numbers[*place]);
    }
  }
  return nearest;
}

}  // namespace

VectorSearch::VectorSearch(const Tensor& own, Collectives& ranks) : own_(own), ranks_(&ranks) {
  check(own.rank() == 2, "vectors of shape {}, expected [N, D]", own.shape());
  const std::vector<int64_t> counts = ranks.all_gather("numbers of vectors", own.size(0));
  first_of_ranks_.assign(1, 0);
  std::partial_sum(counts.begin(), counts.end(), std::back_inserter(first_of_ranks_));
}

/// Where this process has fewer than k, the rest is of similarity -infinity.
Neighbors VectorSearch::nearest_of_own(const Tensor& queries, int64_t k) const {
  const auto size = static_cast<size_t>(queries.size(0) * k);
  Neighbors nearest{std::vector<float>(size, -std::numeric_limits<float>::infinity()),
                    std::vector<int32_t>(size)};
  const int64_t most = std::min(k, own_.size(0));
  if (most == 0) return nearest;
  const TopK top = ops::nearest_rows(queries, own_, most);
  const std::vector<float> similarities = top.values.to_vector<float>();
  const std::vector<int32_t> rows = top.indices.to_vector<int32_t>();
  const auto found = static_cast<size_t>(most), wanted = static_cast<size_t>(k);
  for (size_t from = 0; from < rows.size(); ++from) {
    const size_t to = from / found * wanted + from % found;
    nearest.similarities[to] = similarities[from];
    nearest.numbers[to] = static_cast<int32_t>(first()) + rows[from];
  }
  return nearest;
}

Neighbors VectorSearch::nearest(const Tensor& queries, int64_t k) const {
  check(k >= 1 && k <= size(), "the {} nearest of {} vectors", k, size());
  const Neighbors own = nearest_of_own(queries, k);
  check(std::none_of(own.similarities.begin(), own.similarities.end(), [](float x) { return std::isnan(x); }),
        "nearest vectors: a similarity is not a number");
  if (ranks_->alone()) return own;
  const Neighbors all{gathered(*ranks_, own.similarities), gathered(*ranks_, own.numbers)};
  return nearest_of_all(all, static_cast<size_t>(ranks_->size()), static_cast<size_t>(k));
}

Tensor VectorSearch::rows(int64_t begin, int64_t end) const {
  if (ranks_->alone()) return own_.rows(begin, end);
  std::vector<int64_t> counts;
  for (size_t r = 0; r + 1 < first_of_ranks_.size(); ++r)
    counts.push_back(
        std::max<int64_t>(std::min(end, first_of_ranks_[r + 1]) - std::max(begin, first_of_ranks_[r]), 0));
  const int64_t own_begin = std::clamp(begin - first(), int64_t{0}, own_.size(0));
  const Tensor all({end - begin, own_.size(1)}, DType::f32, own_.device());
  ranks_->all_gather("vectors", own_.rows(own_begin, own_begin + counts[static_cast<size_t>(ranks_->rank())]),
                     all, counts);
  return all;
}

}  // namespace la
