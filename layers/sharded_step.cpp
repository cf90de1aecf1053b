#include "layers/sharded_step.h"

#include "tensor/ops.h"

namespace la {
namespace {

std::vector<Variable> learned(Module& network) {
  std::vector<Variable> parameters;
  for (const Module::Parameter& p : network.parameters())
    if (p.variable->requires_grad()) parameters.push_back(*p.variable);
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
  GradientSum gradients(learned(network_), shards_, statistics_.front().numel(), bucket_bytes_);
  for (size_t p = 0; p < y.size(); ++p) {
    if (p + 1 == y.size()) gradients.collect_during_pass();
    if (y[p].defined()) la::backward(y[p], dy[p]);
    gradients.collect(statistics_[p]);
  }
  statistics_.clear();
  set_buffers(gradients.finish());
}

void ShardedStep::average_statistics() {
  if (shards_.count() > 1) set_buffers(shards_.sum("statistics", statistics_));
}

}  // namespace la
