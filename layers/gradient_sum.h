// GradientSum: the gradients of one step whose batch is cut into shards (tensor/shards.h), added over all shards. Between
// processes they travel in buckets, each as soon as the backward pass has completed it (Li and others, "PyTorch Distributed", VLDB
// 2020). With one shard it does nothing.
#pragma once

#include <vector>

#include "autograd/variable.h"
#include "tensor/shards.h"

namespace la {

class GradientSum {
 public:
  /// A bucket has at least so many; smaller ones travel sooner, larger ones in fewer messages (docs/cluster.md).
  static constexpr int64_t bucket_bytes = int64_t{4} << 20;

  /// Of leaves that require a gradient, all f32 and at least one, in about the order in which the forward pass uses them.
  /// `others` are numbers that each shard has beside them, such as running statistics, and that are added as well.
  GradientSum(const std::vector<Variable>& parameters, const Shards& shards, int64_t others = 0,
              int64_t bytes = bucket_bytes);
  ~GradientSum();
  GradientSum(const GradientSum&) = delete;
  GradientSum& operator=(const GradientSum&) = delete;

  /// May be called before the backward pass of this rank's last shard: its gradients are then taken, and their sums started, while
  /// the pass goes on. Each parameter may be reached by one call of backward() at most until collect().
  void collect_during_pass();
  /// After what each shard of this rank has to differentiate: takes the gradients out of the parameters, zeros where there is none.
  /// others: f32 [others].
  void collect(const Tensor& others = {});
  /// After that of its last shard: leaves in each parameter the sum of its gradients over all shards. The sum of `others`.
  Tensor finish();

 private:
  struct Place {
    Variable parameter;
    size_t bucket;
    int64_t begin;  // among all numbers of a shard
    bool taken = false;
  };
  struct Bucket {
    int64_t begin = 0, end = 0;
    int64_t awaited = 0;  // gradients that the pass has not completed
  };

  void begin_shard();
  void take(Place& place);
  void complete(Place& place);
  void start_next();
  void end_observation();

  Shards shards_;
  bool during_pass_;           // whether anything can travel during a pass
  std::vector<Place> places_;  // from the last parameter to the first
  std::vector<Bucket> buckets_;
  RowRange others_;                // behind the last parameter
  std::vector<Tensor> of_shards_;  // all numbers of each shard of this rank
  int64_t collected_ = 0;          // shards
  size_t started_ = 0;             // buckets
  bool observing_ = false;
  SumsInProgress sums_;
  Tensor sum_of_others_;  // with one shard
};

}  // namespace la
