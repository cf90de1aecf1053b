// The nearest neighbors of each vector among the others, exactly, and the graph that they are.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "evaluation/vector_search.h"
#include "tensor/progress_callback.h"

namespace la {

/// The k others that are nearest to a vector, the nearest first; of equal ones the lower number first.
struct Neighborhood {
  std::span<const int32_t> numbers;
  std::span<const float> similarities;
};

/// Tells `take` each vector's number, in their order, and its k nearest; 1 <= k < N, else an Error. All processes make the same calls,
/// and all are told. `progress` is told after each block, in the words `what`.
void for_each_neighborhood(const VectorSearch& vectors, int64_t k,
                           const std::function<void(int64_t, const Neighborhood&)>& take,
                           std::string_view what, const ProgressCallback& progress = {});

/// The same for queries that are other vectors of the same things, spread over the processes in the same way; a thing's own vector
/// is none of its nearest.
void for_each_neighborhood(const VectorSearch& queries, const VectorSearch& vectors, int64_t k,
                           const std::function<void(int64_t, const Neighborhood&)>& take,
                           std::string_view what, const ProgressCallback& progress = {});

struct NeighborGraph {
  int64_t size = 0;  // N
  int64_t k = 0;
  std::vector<int32_t> numbers = {};     // [N, k]
  std::vector<float> similarities = {};  // [N, k]

  Neighborhood of(int64_t i) const {
    const auto first = static_cast<size_t>(i * k), count = static_cast<size_t>(k);
    return {std::span(numbers).subspan(first, count), std::span(similarities).subspan(first, count)};
  }
};
NeighborGraph neighbor_graph(const VectorSearch& vectors, int64_t k, const ProgressCallback& progress = {});

}  // namespace la
