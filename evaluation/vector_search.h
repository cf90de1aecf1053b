// VectorSearch: the nearest vectors of a table whose rows may be spread over several processes.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/collectives.h"
#include "tensor/tensor.h"

namespace la {

/// The k nearest vectors of each of some queries, in ascending order of their numbers.
struct Neighbors {
  std::vector<float> similarities;  // k of the first query, then k of the second, and so on
  std::vector<int32_t> numbers;
};

class VectorSearch {
 public:
  /// own: f32 [n, D], the vectors of this process, n of which may be different on each, or 0; they are numbered one process after
  /// the other. All processes make the same calls; `ranks` must outlive it.
  VectorSearch(const Tensor& own, Collectives& ranks = alone());

  /// How many vectors all have, and the number of the first of this process.
  int64_t size() const { return first_of_ranks_.back(); }
  int64_t first() const { return first_of_ranks_[static_cast<size_t>(ranks_->rank())]; }
  Collectives& ranks() const { return *ranks_; }
  Device device() const { return own_.device(); }

  /// Those with the largest products with the queries, f32 [Q, D], the same on all processes; of equal ones those of the lower
  /// numbers. 1 <= k <= size(). Every process has the result.
  Neighbors nearest(const Tensor& queries, int64_t k) const;
  /// Vectors begin to end (exclusive), on every process.
  Tensor rows(int64_t begin, int64_t end) const;

 private:
  Neighbors nearest_of_own(const Tensor& queries, int64_t k) const;

  Tensor own_;
  Collectives* ranks_;
  std::vector<int64_t> first_of_ranks_;  // and how many there are in all
};

}  // namespace la
