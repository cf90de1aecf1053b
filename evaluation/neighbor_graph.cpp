#include "evaluation/neighbor_graph.h"

#include <algorithm>
#include <numeric>

#include "tensor/error.h"

namespace la {
namespace {

/// The nearest k + 1 of a vector, in any order, become its nearest k but itself; where equal ones have displaced it, the last is left
/// out.
class Others {
 public:
  explicit Others(int64_t k) : order_(static_cast<size_t>(k + 1)) {}

  Neighborhood of(int64_t self, const int32_t* numbers, const float* similarities) {
    order_.resize(order_.capacity());
    std::iota(order_.begin(), order_.end(), 0);
    std::sort(order_.begin(), order_.end(), [&](int64_t a, int64_t b) {
      return similarities[a] != similarities[b] ? similarities[a] > similarities[b] : numbers[a] < numbers[b];
    });
    const auto own =
        std::find_if(order_.begin(), order_.end(), [&](int64_t j) { return numbers[j] == self; });
    order_.erase(own == order_.end() ? own - 1 : own);
    numbers_.clear();
    similarities_.clear();
    for (const int64_t j : order_) {
      numbers_.push_back(numbers[j]);
      similarities_.push_back(similarities[j]);
    }
    return {numbers_, similarities_};
  }

 private:
  std::vector<int64_t> order_;
  std::vector<int32_t> numbers_;
  std::vector<float> similarities_;
};

}  // namespace

void for_each_neighborhood(const VectorSearch& vectors, int64_t k,
                           const std::function<void(int64_t, const Neighborhood&)>& take,
                           std::string_view what, const ProgressCallback& progress) {
  for_each_neighborhood(vectors, vectors, k, take, what, progress);
}

void for_each_neighborhood(const VectorSearch& queries, const VectorSearch& vectors, int64_t k,
                           const std::function<void(int64_t, const Neighborhood&)>& take,
                           std::string_view what, const ProgressCallback& progress) {
  const int64_t n = vectors.size(), found = k + 1;  // one of them is the vector itself
  check(queries.size() == n, "the nearest of {} vectors to {} queries; expected as many", n, queries.size());
  check(k >= 1 && k < n, "the nearest {} others of {} vectors; expected at least 1, and fewer than vectors",
        k, n);
  // So many at once that what the processes find together is at most a GiB.
  const int64_t block = std::clamp<int64_t>((int64_t{1} << 27) / (vectors.ranks().size() * found), 1, 1024);
  Others others(k);
  for (int64_t begin = 0; begin < n; begin += block) {
    const int64_t end = std::min(begin + block, n);
    const Neighbors nearest = vectors.nearest(queries.rows(begin, end), found);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = (i - begin) * found;
      take(i, others.of(i, nearest.numbers.data() + first, nearest.similarities.data() + first));
    }
    if (progress) progress(what, end, n);
  }
}

NeighborGraph neighbor_graph(const VectorSearch& vectors, int64_t k, const ProgressCallback& progress) {
  NeighborGraph graph{.size = vectors.size(), .k = k};
  graph.numbers.reserve(static_cast<size_t>(graph.size * k));
  graph.similarities.reserve(static_cast<size_t>(graph.size * k));
  const auto append = [&](int64_t, const Neighborhood& others) {
    graph.numbers.insert(graph.numbers.end(), others.numbers.begin(), others.numbers.end());
    graph.similarities.insert(graph.similarities.end(), others.similarities.begin(),
                              others.similarities.end());
  };
  for_each_neighborhood(vectors, k, append, "neighbors found", progress);
  return graph;
}

}  // namespace la
