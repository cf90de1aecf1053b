#include "la/model.h"
#include "la/trainer.h"
#include "layers/state_dict.h"
#include "tensor/format.h"
#include "tensor/ops.h"

namespace la {
namespace {

constexpr const char* labels_name = "la.cluster_labels";

/// The transposed matrix, in host memory.
Tensor transposed(const Tensor& matrix) {
  const Tensor from = matrix.to(Device::cpu()), to({from.size(1), from.size(0)}, DType::i32);
  for (int64_t i = 0; i < from.size(0); ++i)
    for (int64_t j = 0; j < from.size(1); ++j)
      to.data<int32_t>()[j * from.size(0) + i] = from.data<int32_t>()[i * from.size(1) + j];
  return to;
}

std::string velocity_name(const Module::Parameter& parameter) { return "la.velocity." + parameter.name; }

}  // namespace

TrainerState Trainer::network_state() {
  return {state_dict(*network_), describe_model(config_, data_.channels(), view_)};
}

TrainerState Trainer::state() {
  read_losses();
  TrainerState state = network_state();
  const auto parameters = network_->parameters();
  for (size_t i = 0; i < parameters.size(); ++i)
    state.tensors.push_back(
        {velocity_name(parameters[i]), to_torch_layout(parameters[i], sgd_.velocities()[i])});
  if (bank_.size() > 0) state.tensors.push_back({bank_name, ops::copy(bank_.vectors().to(Device::cpu()))});
  if (cluster_labels_.defined())
    state.tensors.push_back({labels_name, transposed(cluster_labels_)});  // one clustering after the other
  state.metadata.insert({{"epoch", formatted("{}", epoch_)},
                         {"step", formatted("{}", step_)},
                         {"loss_sum", formatted("{}", loss_sum_)},
                         {"loss_steps", formatted("{}", losses_read_)},
                         {"nce_constant", formatted("{}", nce_constant_)}});
  return state;
}

void Trainer::restore(const SafetensorsFile& checkpoint) {
  const StateDict tensors = checkpoint.by_name();
  try {
    load_state_dict(*network_, tensors);
    const auto parameters = network_->parameters();
    for (size_t i = 0; i < parameters.size(); ++i)
      load_tensor(tensors, velocity_name(parameters[i]), parameters[i], sgd_.velocities()[i]);
    if (bank_.size() > 0) load_tensor(tensors, bank_name, bank_.vectors());
    if (tensors.contains(labels_name)) {
      const Tensor labels({config_.la.clusterings, bank_.size()}, DType::i32);
      load_tensor(tensors, labels_name, labels);
      cluster_labels_ = transposed(labels).to(device_);
    }
  } catch (const Error& error) {
    fail("{}: is of another run: {}", checkpoint.path, error.what());
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
