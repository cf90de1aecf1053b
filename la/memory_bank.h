// The memory bank V-bar: one vector on the unit sphere for each training picture, a running average of its
// embeddings. It stands for the embeddings of the whole data set, which would be too expensive to compute at
// every step. (Wu, Xiong, Yu, Lin 2018; the momentum does what the proximal term of their equation (9) does.)
// Where several processes train, each has the vectors of its own pictures (tensor/shards.h).
#pragma once

#include "tensor/shards.h"

namespace la {

class MemoryBank {
 public:
  /// N vectors drawn at random on the unit sphere in R^D. momentum: t of the update rule.
  MemoryBank(int64_t size, int64_t dim, float momentum, uint64_t seed, Device device = {},
             const Shards& shards = {});

  /// The update rule, v-bar_i <- normalize(t v-bar_i + (1 - t) v_i), for the pictures named by indices i32
  /// [B], which are all different, and their embeddings v f32 [B, D].
  void update(const Tensor& indices, const Tensor& v);
  /// v-bar_i <- v_i.
  void assign(const Tensor& indices, const Tensor& v);
  /// The same for all pictures of this process: v f32 [N, D].
  void assign_all(const Tensor& v);

  int64_t size() const { return rows_.n; }  // N, of all processes
  /// The vectors, f32 [N, D]: those of this process, and how all of them are cut.
  const Tensor& vectors() const { return rows_.own; }
  const ShardedRows& rows() const { return rows_; }
  const Shards& shards() const { return rows_.shards; }
  /// Of pictures i32: their rows of vectors(), or absent_row for those of other processes; or their rows of the p-th shard of
  /// this process.
  Tensor own_rows_of(const Tensor& indices) const;
  Tensor part_rows_of(const Tensor& indices, int64_t p) const;

 private:
  ShardedRows rows_;
  float momentum_;
};

}  // namespace la
