// Short trainings for tests: both phases, in steps enough to be recorded.
#pragma once

#include "la/trainer.h"

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

}  // namespace la
