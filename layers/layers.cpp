#include "layers/layers.h"

#include <cmath>

#include "layers/initializers.h"
#include "tensor/ops.h"

namespace la {
namespace {

/// Each element of the output is made from all weights of its channel.
int64_t products(const Shape& output, const Shape& weight) {
  return output.numel() * (weight.numel() / weight[0]);
}

}  // namespace

Linear::Linear(int64_t in, int64_t out, Options options) {
  const float bound = 1.0f / std::sqrt(static_cast<float>(in));
  add("weight", weight_, {out, in}, uniform(bound), Role::weight, options.positions);
  if (options.bias) add("bias", bias_, {out}, uniform(bound), Role::bias);
}

int64_t Linear::multiply_adds(const Shape& output) const { return products(output, weight_.shape()); }

Conv2d::Conv2d(int64_t in, int64_t out, Options options)
    : geometry_{.stride = options.stride, .padding = options.padding, .dilation = options.dilation} {
  const int64_t window = int64_t{options.kernel} * options.kernel;
  add("weight", weight_, {out, options.kernel, options.kernel, in}, he_normal(out * window), Role::weight);
  const float bound = 1.0f / std::sqrt(static_cast<float>(in * window));
  if (options.bias) add("bias", bias_, {out}, uniform(bound), Role::bias);
}

Variable Conv2d::forward(const Variable& x) {
  Variable y = conv2d(x, weight_, geometry_);
  return bias_.defined() ? add_bias(y, bias_) : y;
}

int64_t Conv2d::multiply_adds(const Shape& output) const { return products(output, weight_.shape()); }

BatchNorm2d::BatchNorm2d(int64_t channels, Options options)
    : options_{.momentum = options.momentum, .epsilon = options.epsilon, .relu = options.relu},
      frozen_(options.frozen),
      running_mean_(Tensor::zeros({channels})),
      running_variance_(Tensor::full({channels}, 1.0f)) {
  add("weight", weight_, {channels}, constant(1.0f), Role::norm);
  add("bias", bias_, {channels}, constant(0.0f), Role::norm);
  add("running_mean", running_mean_);
  add("running_var", running_variance_);
}

Variable BatchNorm2d::forward(const Variable& x, const Variable& residual) {
  const BatchNormState state{weight_.value(), bias_.value(), running_mean_, running_variance_};
  if (!training() || frozen_) return batch_norm_inference(x, weight_, bias_, state, residual, options_);
  return shards_.count() == 1
             ? batch_norm(x, weight_, bias_, state, residual, options_)
             : synchronized_batch_norm(x, weight_, bias_, state, residual, options_, shards_);
}

Dropout::Dropout(float p, uint64_t seed) : p_(p), seed_(seed), calls_(Tensor::zeros({1}, DType::i64)) {
  check(p >= 0.0f && p < 1.0f, "dropout: the probability must be in [0, 1), got {}", p);
  add("calls", calls_);
}

LayerNorm::LayerNorm(int64_t channels, float epsilon) : epsilon_(epsilon) {
  add("weight", weight_, {channels}, constant(1.0f), Role::norm);
  add("bias", bias_, {channels}, constant(0.0f), Role::norm);
}

Variable Dropout::forward(const Variable& x) {
  if (!training()) return x;
  const Tensor call = ops::copy(calls_);  // for the backward pass too, when the counter has gone on
  ops::increment(calls_);
  return dropout(x, p_, {seed_, RandomStream::dropout, 0}, call);
}

Sequential& Sequential::append(std::unique_ptr<Module> module) {
  modules_.push_back(std::move(module));
  add(std::to_string(next_name_++), *modules_.back());
  return *this;
}

Variable Sequential::forward(const Variable& x) {
  Variable y = x;
  for (const auto& module : modules_) y = (*module)(y);
  return y;
}

}  // namespace la
