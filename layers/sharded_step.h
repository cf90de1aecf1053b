// ShardedStep: a training step of a network whose batch is cut into shards (tensor/shards.h). Each shard goes through the
// network by itself, with batch norm over its own pictures, unless that is synchronized; then the gradients of all shards are added, while
// the backward pass goes on, and the running statistics are averaged. With one shard it is the usual forward and backward pass.
#pragma once

#include <functional>
#include <vector>

#include "layers/gradient_sum.h"
#include "layers/module.h"
#include "tensor/shards.h"

namespace la {

class ShardedStep {
 public:
  /// `network` must outlive it. bucket_bytes: of gradient_sum.h.
  ShardedStep(Module& network, const Shards& shards, int64_t bucket_bytes = GradientSum::bucket_bytes)
      : network_(network), shards_(shards), bucket_bytes_(bucket_bytes) {}

  /// f of the pictures of each shard of this process: f computes what is wanted of the network. images: [own, H, W, C], those
  /// of this process among the `batch` of all. The result of a shard without pictures is undefined.
  std::vector<Variable> forward(const Tensor& images, int64_t batch,
                                const std::function<Variable(const Variable&)>& f);
  /// Leaves in each parameter the gradient of the sum of dy * y over all shards, and in each buffer the mean of what the shards
  /// have made of it, weighted by their pictures. y is the last result of forward.
  void backward(const std::vector<Variable>& y, const std::vector<Tensor>& dy);
  /// The second alone, where nothing is learned.
  void average_statistics();

 private:
  Tensor flat_buffers(float weight);
  void set_buffers(const Tensor& flat);

  Module& network_;
  Shards shards_;
  int64_t bucket_bytes_;
  std::vector<Tensor>
      statistics_;  // of each shard of this process, one behind the other, times its share of the batch
};

}  // namespace la
