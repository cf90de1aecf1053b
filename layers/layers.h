// The layers that networks are made of. Images are [N, H, W, C]; parameters are f32 whatever the
// type of the images.
#pragma once

#include <memory>

#include "autograd/functions.h"
#include "layers/module.h"

namespace la {

/// y = x weight^T + bias: [N, in] -> [N, out].
class Linear : public Module {
 public:
  struct Options {
    bool bias = true;
    int64_t positions = 1;  // H * W where x is a flattened [N, H, W, C], so that weights fit torchvision's
  };
  Linear(int64_t in, int64_t out) : Linear(in, out, Options{}) {}
  Linear(int64_t in, int64_t out, Options options);
  Variable forward(const Variable& x) override { return linear(x, weight_, bias_); }
  int64_t multiply_adds(const Shape& output) const override;

 private:
  Variable weight_, bias_;
};

/// [N, H, W, in] -> [N, OH, OW, out].
class Conv2d : public Module {
 public:
  struct Options {
    int kernel = 3;
    int stride = 1;
    int padding = 0;
    int dilation = 1;
    bool bias = true;
  };
  Conv2d(int64_t in, int64_t out) : Conv2d(in, out, Options{}) {}
  Conv2d(int64_t in, int64_t out, Options options);
  Variable forward(const Variable& x) override;
  int64_t multiply_adds(const Shape& output) const override;

 private:
  ConvGeometry geometry_;
  Variable weight_, bias_;
};

/// Batch normalization of the last dimension (so of [N, C] too), with running statistics for evaluation;
/// optionally y = relu(normalized x + residual) in the same passes over memory.
class BatchNorm2d : public Module {
 public:
  struct Options {
    bool relu = false;
    float momentum = 0.1f;
    float epsilon = 1e-5f;
    bool frozen = false;  // see freeze_statistics()
  };
  explicit BatchNorm2d(int64_t channels) : BatchNorm2d(channels, Options{}) {}
  BatchNorm2d(int64_t channels, Options options);
  Variable forward(const Variable& x) override { return forward(x, Variable()); }
  Variable forward(const Variable& x, const Variable& residual);
  /// Share of a batch's statistics in the new running ones.
  void set_momentum(float momentum) { options_.momentum = momentum; }
  /// In training too, the running statistics are used, and stay as they are; weight and bias are learned: for
  /// fine-tuning with few pictures a batch.
  void freeze_statistics(bool frozen = true) { frozen_ = frozen; }
  /// In training, the statistics are those of the rows of all processes, which have a shard each, and some rows;
  /// see synchronized_batch_norm.
  void synchronize_statistics(const Shards& shards) { shards_ = shards; }

 private:
  BatchNormOptions options_;
  bool frozen_;
  Shards shards_;
  Variable weight_, bias_;
  Tensor running_mean_, running_variance_;
};

class ReLU : public Module {
 public:
  Variable forward(const Variable& x) override { return relu(x); }
};

/// Layer normalization of the last dimension (Ba, Kiros, Hinton 2016).
class LayerNorm : public Module {
 public:
  explicit LayerNorm(int64_t channels, float epsilon = 1e-5f);
  Variable forward(const Variable& x) override { return layer_norm(x, weight_, bias_, epsilon_); }

 private:
  float epsilon_;
  Variable weight_, bias_;
};

class GELU : public Module {
 public:
  Variable forward(const Variable& x) override { return gelu(x); }
};

class MaxPool2d : public Module {
 public:
  explicit MaxPool2d(PoolGeometry geometry) : geometry_(geometry) {}
  Variable forward(const Variable& x) override { return max_pool2d(x, geometry_); }

 private:
  PoolGeometry geometry_;
};

class AvgPool2d : public Module {
 public:
  explicit AvgPool2d(PoolGeometry geometry) : geometry_(geometry) {}
  Variable forward(const Variable& x) override { return avg_pool2d(x, geometry_); }

 private:
  PoolGeometry geometry_;
};

/// [N, H, W, C] -> [N, C].
class GlobalAvgPool : public Module {
 public:
  Variable forward(const Variable& x) override { return global_avg_pool(x); }
};

/// To another floating-point type.
class Cast : public Module {
 public:
  explicit Cast(DType dtype) : dtype_(dtype) {}
  Variable forward(const Variable& x) override { return cast(x, dtype_); }

 private:
  DType dtype_;
};

/// [N, ...] -> [N, the rest].
class Flatten : public Module {
 public:
  Variable forward(const Variable& x) override { return reshape(x, {x.shape()[0], -1}); }
};

/// In training, each element is zero with probability p, else divided by 1 - p. Its random numbers are keyed
/// by the seed it is given and by how often it has been called, a counter that is part of the state.
class Dropout : public Module {
 public:
  Dropout(float p, uint64_t seed);
  Variable forward(const Variable& x) override;

 private:
  float p_;
  uint64_t seed_;
  Tensor calls_;  // i64 [1]
};

/// One module after the other, named "0", "1", ...
class Sequential : public Module {
 public:
  /// Makes a module and appends it.
  template <class M, class... Args>
  Sequential& append(Args&&... args) {
    return append(std::make_unique<M>(std::forward<Args>(args)...));
  }
  Sequential& append(std::unique_ptr<Module> module);
  /// Leaves out a name, such as that of a ReLU which the batch norm before it does too: so the names stay
  /// those of torchvision.
  Sequential& skip() {
    ++next_name_;
    return *this;
  }
  Variable forward(const Variable& x) override;

 private:
  std::vector<std::unique_ptr<Module>> modules_;
  int next_name_ = 0;
};

}  // namespace la
