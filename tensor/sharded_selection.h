// Selection of the largest over shards: each has scored its own rows, and neither scores nor rows travel.
#pragma once

#include <span>
#include <vector>

#include "tensor/op_types.h"
#include "tensor/shards.h"

namespace la {

/// Which scores of each shard of this rank are among the k largest of their row over all shards, u8 [R, K]; of equal ones those
/// of the lower shard, and there of the lower column: a radix select, whose histograms are summed over the ranks, 4 KiB for
/// each row. parts: for each shard of this rank the scores f32 [R, K] and the rows of the shard that have them; always: empty,
/// or for each of these shards the row that belongs to the result whatever its score, i32 [R], or absent_row. There are at least
/// k scores in a row.
std::vector<Tensor> mark_largest(const Shards& shards, std::span<const TopK> parts,
                                 std::span<const Tensor> always, int64_t k);

}  // namespace la
