// The memory bank V-bar: one vector on the unit sphere for each training picture, a running average of its
// embeddings. It stands for the embeddings of the whole data set, which would be too expensive to compute at
// every step. (Wu, Xiong, Yu, Lin 2018; the momentum does what the proximal term of their equation (9) does.)
#pragma once

#include "tensor/tensor.h"

namespace la {

class MemoryBank {
 public:
  /// N vectors drawn at random on the unit sphere in R^D. momentum: t of the update rule.
  MemoryBank(int64_t size, int64_t dim, float momentum, uint64_t seed, Device device = {});

  /// The update rule, v-bar_i <- normalize(t v-bar_i + (1 - t) v_i), for the pictures named by indices i32
  /// [B], which are all different, and their embeddings v f32 [B, D].
  void update(const Tensor& indices, const Tensor& v);
  /// v-bar_i <- v_i.
  void assign(const Tensor& indices, const Tensor& v);
  /// The same for all pictures: v f32 [N, D].
  void assign_all(const Tensor& v);

  const Tensor& vectors() const { return vectors_; }  // f32 [N, D]
  int64_t size() const { return vectors_.size(0); }

 private:
  Tensor vectors_;
  float momentum_;
};

}  // namespace la
