#include "layers/sharded_step.h"

#include "tensor/ops.h"

namespace la {
namespace {

int64_t elements(const std::vector<Module::Parameter>& parameters) {
  int64_t n = 0;
  for (const Module::Parameter& p : parameters) n += p.variable->value().numel();
  return n;
}

/// The gradients one behind the other, which are cleared; zeros where there is none.
Tensor take_gradients(const std::vector<Module::Parameter>& parameters, Device device) {
  Tensor flat({elements(parameters)}, DType::f32, device);
  int64_t begin = 0;
  for (const Module::Parameter& p : parameters) {
    const Tensor place = flat.rows(begin, begin + p.variable->value().numel());
    const Tensor& gradient = p.variable->grad();
    if (gradient.defined())
      ops::copy_into(place, gradient.reshape({-1}));
    else
      ops::fill(place, 0.0f);
    p.variable->clear_grad();
    begin += place.numel();
  }
  return flat;
}

void set_gradients(const std::vector<Module::Parameter>& parameters, const Tensor& flat) {
  int64_t begin = 0;
  for (const Module::Parameter& p : parameters) {
    const Tensor& value = p.variable->value();
    p.variable->set_grad(flat.rows(begin, begin + value.numel()).reshape(value.shape()));
    begin += value.numel();
  }
}

std::vector<Module::Parameter> learned(Module& network) {
  std::vector<Module::Parameter> parameters = network.parameters();
  std::erase_if(parameters, [](const Module::Parameter& p) { return !p.variable->requires_grad(); });
  return parameters;
}

}  // namespace

Tensor ShardedStep::flat_buffers(float weight) {
  std::vector<Tensor> parts;
  for (const Module::Buffer& buffer : network_.buffers()) parts.push_back(buffer.tensor->reshape({-1}));
  if (parts.empty()) return Tensor({0}, DType::f32, network_.device());
  return ops::scale(ops::concatenate(parts, 0), weight);
}

void ShardedStep::set_buffers(const Tensor& flat) {
  int64_t begin = 0;
  for (const Module::Buffer& buffer : network_.buffers()) {
    const int64_t n = buffer.tensor->numel();
    ops::copy_into(buffer.tensor->reshape({n}), flat.rows(begin, begin + n));
    begin += n;
  }
}

std::vector<Variable> ShardedStep::forward(const Tensor& images, int64_t batch,
                                           const std::function<Variable(const Variable&)>& f) {
  if (shards_.count() == 1) return {f(Variable(images))};
  const Tensor before = flat_buffers(1.0f);
  std::vector<Variable> results;
  statistics_.clear();
  for (int64_t s = shards_.first(); s < shards_.last(); ++s) {
    const RowRange rows = shards_.rows(batch, s);
    const int64_t first = rows.begin - shards_.own_rows(batch).begin;
    if (s > shards_.first()) set_buffers(before);
    results.push_back(rows.size() > 0 ? f(Variable(images.rows(first, first + rows.size()))) : Variable());
    statistics_.push_back(flat_buffers(static_cast<float>(rows.size()) / static_cast<float>(batch)));
  }
  return results;
}

void ShardedStep::backward(const std::vector<Variable>& y, const std::vector<Tensor>& dy) {
  if (shards_.count() == 1) return la::backward(y[0], dy[0]);
  const std::vector<Module::Parameter> parameters = learned(network_);
  std::vector<Tensor> parts;
  for (size_t p = 0; p < y.size(); ++p) {
    if (y[p].defined()) la::backward(y[p], dy[p]);
    const Tensor of_shard[] = {take_gradients(parameters, network_.device()), statistics_[p]};
    parts.push_back(ops::concatenate(of_shard, 0));
  }
  statistics_.clear();
  const Tensor sum = shards_.sum("gradients", std::move(parts));
  const int64_t gradients = elements(parameters);
  set_gradients(parameters, sum.rows(0, gradients));
  set_buffers(sum.rows(gradients, sum.size(0)));
}

void ShardedStep::average_statistics() {
  if (shards_.count() > 1) set_buffers(shards_.sum("statistics", statistics_));
}

}  // namespace la
