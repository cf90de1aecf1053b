// The trainer: network, memory bank, clusters and optimizer, and the order in which they work together:
//
//   warm start:  epochs of instance recognition (IR), which fill the bank with meaningful embeddings;
//   then, epoch by epoch:  cluster the bank H times, and train on the Local Aggregation (LA) loss.
//
// What happens depends only on the configuration and the data: pictures, crops and noise of a step are
// functions of (seed, epoch, step), so that a run that was stopped and restored goes on exactly as if it had
// not been.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "autograd/sgd.h"
#include "data/device_loader.h"
#include "evaluation/health.h"
#include "la/config.h"
#include "la/kmeans.h"
#include "la/memory_bank.h"
#include "la/neighborhoods.h"
#include "layers/module.h"
#include "layers/sharded_step.h"
#include "tensor/captured_step.h"
#include "tensor/io/safetensors.h"
#include "tensor/progress_callback.h"

namespace la {

/// How the configuration augments the pictures of a data set, whose size and channel statistics it takes.
AugmentationOptions augmentation_for(const Config& config, const Dataset& data);

enum class Phase { ir, la, supervised };

struct StepReport {
  Phase phase = Phase::ir;
  int epoch = 0;       // from 0
  int64_t number = 0;  // of the step in its epoch, from 1
  float learning_rate = 0;
  double waiting_seconds = 0;  // for pictures
  double la_seconds = 0;       // neighbors, loss and bank; not known on a GPU, which works on its own
};

/// How a clustering of the bank went.
struct BankClusters {
  std::vector<KMeansResult> clusterings;    // by k-means
  int64_t components = 0;                   // or how many components of nearest neighbors there are
  std::vector<std::vector<int32_t>> sizes;  // of each clustering, or of the components
  Spread spread = {};                       // of the vectors that were clustered
};

/// What the bank tells of how the training goes.
struct BankHealth {
  Spread spread;
  std::optional<double> moved = {};  // since the last time, if that is known (moved_share)
  Neighborhoods neighborhoods;
};

/// All that a run consists of besides its configuration and data: the network's tensors under torchvision's
/// names, and everything else under names that begin with "la.".
struct TrainerState {
  std::vector<NamedTensor> tensors;
  /// Of the bank and the labels of clusters, what this process has.
  std::vector<TensorPieces> pieces;
  Metadata metadata;
};

class Trainer {
 public:
  /// The configuration's H, m and k have been chosen and validated. `data` must outlive the trainer, and have
  /// labels, from 0 to dim - 1, if the training is supervised. `shards` says how batches and the bank are cut, and which of
  /// the shards this process computes; all processes make the same calls.
  Trainer(const Config& config, const Dataset& data, const AugmentationOptions& augmentation, Device device,
          const Shards& shards = {});

  Module& network() { return *network_; }
  const MemoryBank& bank() const { return bank_; }  // empty if the training is supervised
  const Shards& shards() const { return shards_; }
  DType precision() const { return activation_type(config_.run.precision); }
  Device device() const { return device_; }
  /// How pictures are augmented, and shown to the network.
  const AugmentationOptions& view() const { return view_; }

  /// Where the run is: completed epochs, and completed steps of the one that is under way.
  int epoch() const { return epoch_; }
  int64_t step() const { return step_; }
  /// Steps since the start of the run.
  int64_t total_steps() const { return std::min(epoch_ * steps_per_epoch() + step_, steps_of_run()); }
  int64_t steps_per_epoch() const { return loader_->steps_per_epoch(); }
  /// Of the epoch under way: the last one of a run that ends by steps may have fewer.
  int64_t steps_of_epoch() const {
    return std::min(steps_per_epoch(), steps_of_run() - epoch_ * steps_per_epoch());
  }
  /// As many steps as that time has, at least one.
  int64_t steps_of(const TrainingTime& time) const;
  int64_t steps_of_run() const {
    return config_.optimizer.steps > 0 ? config_.optimizer.steps
                                       : config_.optimizer.epochs * steps_per_epoch();
  }
  bool finished() const { return epoch_ >= config_.optimizer.epochs; }
  Phase phase() const {
    if (config_.optimizer.supervised) return Phase::supervised;
    return epoch_ < config_.optimizer.warm_start_epochs ? Phase::ir : Phase::la;
  }
  /// Mean loss over the completed steps of the epoch under way, or over the last epoch at its end. Waits for
  /// the device. A loss that is not finite is an Error.
  double epoch_loss();

  /// Fills the bank with the embeddings of the untrained network (the option bank_init = forward), from one
  /// pass over the first epoch's batches in training mode. What is left over beyond whole batches keeps its
  /// random vectors.
  void fill_bank(const ProgressCallback& progress = {});

  /// Begins an epoch, or goes on with one that was restored.
  void begin_epoch();
  /// Whether the next step needs new clusters.
  bool clusters_due() const;
  /// Clusters the bank, if that is due: in LA, at the start of an epoch or wherever cluster_every says. train_step
  /// does it where it was not done. Where `progress` ended it, it can be called again.
  BankClusters cluster_bank(const ProgressCallback& progress = {});
  /// One step of the epoch; false once all of them are done, which completes it. A GPU may still be at work
  /// when it returns.
  bool train_step(StepReport& report);

  /// The neighbors of a sample of pictures, evenly spread, as LA takes them from the bank and the newest clusters. own_labels: of
  /// this process's pictures, -1 where there is none.
  Neighborhoods neighborhoods(const std::vector<int32_t>& own_labels) const;
  /// The health of the bank; of what has moved on a sample too.
  BankHealth bank_health(const std::vector<int32_t>& own_labels);
  /// What moves is measured from here on, or from the last bank_health.
  void remember_bank();

  /// The network alone, as load_model reads it.
  TrainerState network_state();
  /// All of it. An Error if a loss was not finite.
  TrainerState state();
  /// Goes on from a state that was saved; an Error that names what is missing or doesn't fit. Of the bank and the labels it
  /// reads its own rows from the file; it is the same file for any number of processes.
  void restore(const SafetensorsFile& checkpoint);
  /// Which tensors of a checkpoint restore() wants in memory.
  static bool is_restored_from_memory(const std::string& name);

 private:
  void cluster_by_kmeans(BankClusters& result, const ProgressCallback& progress);
  void refresh_bank(const ProgressCallback& progress);
  void compute_step();
  void learn_labels();
  void learn_from_bank();
  Tensor pictures_of_batch() const;
  std::vector<Variable> forward();
  Tensor embeddings(const std::vector<Variable>& of_shards) const;
  Variable compare_with_bank(const Variable& v);
  Variable instance_loss(const Variable& v, const Tensor& all);
  Variable aggregation_loss(const Variable& v, const Tensor& all) const;
  Background background_of(const Tensor& v, const Tensor& indices) const;
  CloseMasks close_of(const Background& background, const Tensor& indices) const;
  static constexpr int64_t most_sampled = 10000;
  Tensor sample_of_bank() const;
  std::vector<Tensor> rows_of_shards(const Tensor& own) const;
  std::vector<float> new_losses() const;
  void read_losses();
  void restore_bank(const SafetensorsFile& checkpoint);
  void restore_bank_before(const StateDict& tensors);
  float learning_rate() const;

  Config config_;
  const Dataset& data_;
  Shards shards_;
  AugmentationOptions view_;
  Device device_;
  std::unique_ptr<DeviceLoader> loader_;
  std::unique_ptr<Module> network_;
  ShardedStep sharded_;
  Sgd sgd_;
  Schedule schedule_;
  MemoryBank bank_;
  Tensor cluster_labels_;  // i32 [N, H], of this process's pictures; undefined before the first clustering
  int64_t clustered_at_ = -1;      // the step before which they were made; unknown once restored
  std::vector<Tensor> every_row_;  // rows_of_whole_bank, where that is the background
  double nce_constant_ = 0;        // Z; 0 until it is estimated
  Tensor bank_before_;  // f32 [sample, D], in host memory: as it was when its health was last looked at
  int epoch_ = 0;
  int64_t step_ = 0;

  // A step as the device does it: what changes from step to step lies in tensors.
  CapturedStep work_;
  Phase work_phase_ = Phase::ir;
  Tensor total_steps_;    // i64 [1]
  Tensor step_of_epoch_;  // i32 [1]
  Tensor losses_;         // f32 [steps of an epoch]
  Tensor pictures_;       // i32 [B], of the step
  double la_seconds_ = 0;

  // The losses of the epoch that have been read from the device.
  double loss_sum_ = 0;
  int64_t losses_read_ = 0, losses_made_ = 0;
};

}  // namespace la
