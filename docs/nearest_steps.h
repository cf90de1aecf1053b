// One op in steps, from the naive loop to what tensor/cpu/nearest.cpp does: the k rows of a table [N, D] with
// the largest dot product with each query [Q, D], exactly, f32 on the CPU. docs/fast.md explains the steps,
// bench/bench_tour.cpp times them. Results are those of ops::nearest_rows: by ascending index, and of equal
// scores the lower index is taken.
#pragma once

#include "tensor/op_types.h"

namespace la::steps {

// The first three steps store all scores [Q, N], so that product and selection are functions of their own.

Tensor scores_by_loops(const Tensor& queries, const Tensor& table);    // step 1
Tensor scores_by_blocks(const Tensor& queries, const Tensor& table);   // step 2
Tensor scores_by_library(const Tensor& queries, const Tensor& table);  // step 3

TopK select_by_sorting(const Tensor& scores, int64_t k);       // step 1
TopK select_by_partitioning(const Tensor& scores, int64_t k);  // step 2
TopK select_by_counting(const Tensor& scores, int64_t k);      // step 3

// Step 4: the scores are used as soon as they are computed, and never stored.
TopK nearest_by_threshold(const Tensor& queries, const Tensor& table, int64_t k);

}  // namespace la::steps
