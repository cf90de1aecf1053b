// Short trainings for tests: both phases, in steps enough to be recorded.
#pragma once

#include "la/trainer.h"
#include "tensor/ops.h"

namespace la {

inline Config tiny_training() {
  Config config;
  config.network.dim = 16;
  config.optimizer.batch = 8;
  config.optimizer.epochs = 4;
  config.optimizer.warm_start_epochs = 2;
  config.optimizer.schedule.base = 0.1f;
  config.la.clusters = {6};
  config.la.clusterings = 2;
  config.la.background = 12;
  config.la.noise = 10;
  config.la.kmeans.iterations = 3;
  return config;
}

/// Trains to the end of the run, or until `steps` steps are done in all.
inline void train(Trainer& trainer, int64_t steps = INT64_MAX) {
  while (!trainer.finished() && trainer.total_steps() < steps) {
    trainer.begin_epoch();
    StepReport step;
    while (trainer.total_steps() < steps && trainer.train_step(step)) {
    }
  }
}

/// All tensors of a state, those that are there in pieces too, of a process that has all of them.
inline std::vector<NamedTensor> tensors_of(const TrainerState& state) {
  std::vector<NamedTensor> tensors = state.tensors;
  for (const TensorPieces& t : state.pieces) {
    const Tensor whole(t.shape, t.dtype);
    for (const auto& [first, values] : t.pieces)
      ops::copy_into(whole.reshape({-1}).rows(first, first + values.numel()),
                     values.to(Device::cpu()).reshape({-1}));
    tensors.push_back({t.name, whole});
  }
  return tensors;
}

/// As a file of the state would be read.
inline SafetensorsFile in_memory(const TrainerState& state) {
  SafetensorsFile file{
      .path = "a state in memory", .tensors = tensors_of(state), .shapes = {}, .metadata = state.metadata};
  for (const NamedTensor& t : file.tensors) file.shapes[t.name] = t.tensor.shape();
  return file;
}

}  // namespace la
