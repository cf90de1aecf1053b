#include <algorithm>

#include "la/model.h"
#include "la/trainer.h"
#include "layers/state_dict.h"
#include "tensor/format.h"
#include "tensor/ops.h"

namespace la {
namespace {

constexpr const char* bank_before_name = "la.bank_before";

/// One column of a matrix i32 [N, H] in host memory.
Tensor column_of(const Tensor& matrix, int64_t column) {
  const Tensor values({matrix.size(0)}, DType::i32);
  for (int64_t i = 0; i < matrix.size(0); ++i)
    values.data<int32_t>()[i] = matrix.data<int32_t>()[i * matrix.size(1) + column];
  return values;
}

/// Elements first, first + 1, ... of a tensor of the checkpoint, which may not have been kept in memory.
void read_rows(const SafetensorsFile& checkpoint, const char* name, int64_t first, const Tensor& to) {
  if (checkpoint.contains(name))
    ops::copy_into(to.reshape({-1}), checkpoint.at(name).reshape({-1}).rows(first, first + to.numel()));
  else
    read_elements(checkpoint.path, name, first, to);
}

std::string velocity_name(const Module::Parameter& parameter) { return "la.velocity." + parameter.name; }

}  // namespace

TrainerState Trainer::network_state() {
  return {state_dict(*network_), {}, describe_model(config_, data_.channels(), view_)};
}

TrainerState Trainer::state() {
  read_losses();
  TrainerState state = network_state();
  const auto parameters = network_->parameters();
  for (size_t i = 0; i < parameters.size(); ++i)
    state.tensors.push_back(
        {velocity_name(parameters[i]), to_torch_layout(parameters[i], sgd_.velocities()[i])});
  const int64_t first = bank_.rows().range().begin, dim = config_.network.dim;
  if (bank_.size() > 0)
    state.pieces.push_back({bank_name, {bank_.size(), dim}, DType::f32, {{first * dim, bank_.vectors()}}});
  if (bank_before_.defined()) state.tensors.push_back({bank_before_name, bank_before_});
  if (cluster_labels_.defined()) {  // one clustering after the other
    const Tensor labels = cluster_labels_.to(Device::cpu());
    TensorPieces pieces{cluster_labels_name, {labels.size(1), bank_.size()}, DType::i32, {}};
    for (int64_t h = 0; h < labels.size(1); ++h)
      pieces.pieces.push_back({h * bank_.size() + first, column_of(labels, h)});
    state.pieces.push_back(pieces);
  }
  state.metadata.insert({{"epoch", formatted("{}", epoch_)},
                         {"step", formatted("{}", step_)},
                         {"loss_sum", formatted("{}", loss_sum_)},
                         {"loss_steps", formatted("{}", losses_read_)},
                         {"nce_constant", formatted("{}", nce_constant_)}});
  return state;
}

bool Trainer::is_restored_from_memory(const std::string& name) {
  return name != bank_name && name != cluster_labels_name;
}

void Trainer::restore_bank(const SafetensorsFile& checkpoint) {
  if (bank_.size() == 0) return;
  const auto has = [&](const char* name, const Shape& expected) {
    const auto found = checkpoint.shapes.find(name);
    if (found == checkpoint.shapes.end()) return false;
    check(found->second == expected, "'{}' has shape {}, expected {}", name, found->second, expected);
    return true;
  };
  check(has(bank_name, {bank_.size(), config_.network.dim}), "'{}' is missing", bank_name);
  const RowRange rows = bank_.rows().range();
  constexpr int64_t block = 65536;  // rows that are there twice for a moment
  for (int64_t begin = 0; begin < rows.size(); begin += block) {
    const int64_t end = std::min(begin + block, rows.size());
    const Tensor some({end - begin, config_.network.dim});
    read_rows(checkpoint, bank_name, (rows.begin + begin) * config_.network.dim, some);
    check(is_finite(some), "'{}' has values that are not finite: an older checkpoint may be whole",
          bank_name);
    ops::copy_into(bank_.vectors().rows(begin, end), some.to(device_));
  }
  if (!has(cluster_labels_name, {config_.la.clusterings, bank_.size()}))
    return;  // before the first clustering
  cluster_labels_ = Tensor({rows.size(), config_.la.clusterings}, DType::i32, device_);
  for (int64_t h = 0; h < config_.la.clusterings; ++h) {
    const Tensor labels({rows.size()}, DType::i32);
    read_rows(checkpoint, cluster_labels_name, h * bank_.size() + rows.begin, labels);
    ops::set_column(cluster_labels_, h, labels.to(device_));
  }
}

void Trainer::restore_bank_before(const StateDict& tensors) {
  const auto found = tensors.find(bank_before_name);
  bank_before_ = found == tensors.end() ? Tensor() : found->second;
  const Shape expected{std::min(bank_.size(), most_sampled), config_.network.dim};
  check(!bank_before_.defined() || bank_before_.shape() == expected, "'{}' has shape {}, expected {}",
        bank_before_name, bank_before_.shape(), expected);
}

void Trainer::restore(const SafetensorsFile& checkpoint) {
  const StateDict tensors = checkpoint.by_name();
  try {
    load_state_dict(*network_, tensors);
    const auto parameters = network_->parameters();
    for (size_t i = 0; i < parameters.size(); ++i)
      load_tensor(tensors, velocity_name(parameters[i]), parameters[i], sgd_.velocities()[i]);
    restore_bank(checkpoint);
    restore_bank_before(tensors);
  } catch (const Error& error) {
    fail("{}: cannot be gone on from: {}", checkpoint.path, error.what());
  }
  epoch_ = checkpoint.number<int>("epoch");
  step_ = checkpoint.number<int64_t>("step");
  loss_sum_ = checkpoint.number<double>("loss_sum");
  losses_read_ = losses_made_ = checkpoint.number<int64_t>("loss_steps");
  nce_constant_ = checkpoint.number<double>("nce_constant");
  check(losses_read_ >= 0 && losses_read_ <= steps_per_epoch(), "{}: \"loss_steps\" is {}; expected 0 to {}",
        checkpoint.path, losses_read_, steps_per_epoch());
  check(epoch_ >= 0 && epoch_ <= config_.optimizer.epochs && step_ >= 0 &&
            (step_ == 0 || step_ < steps_of_epoch()),
        "{}: is at epoch {}, step {}; expected at most {} epochs of {} steps", checkpoint.path, epoch_, step_,
        config_.optimizer.epochs, steps_per_epoch());
}

}  // namespace la
