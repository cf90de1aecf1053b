// DetectorTrainer: teaches a detector the objects of annotated pictures, one picture a step.
#pragma once

#include <array>
#include <future>
#include <optional>
#include <vector>

#include "autograd/sgd.h"
#include "evaluation/detect.h"
#include "layers/detection/losses.h"
#include "tensor/io/safetensors.h"

namespace la {

/// The values are those with which the authors of LA fine-tuned their networks on VOC07.
struct DetectorTraining {
  int64_t steps = 70'000;
  std::vector<TrainingTime> drops = {};  // when the rate is divided by 10; empty: after 5/7 of the steps
  float learning_rate = 0.001f;
  Sgd::Options sgd = {.momentum = 0.9f, .weight_decay = 1e-4f};
  DetectionLossOptions loss = {};
  bool flips = true;        // whether an epoch also has the mirror image of each picture
  bool all_layers = false;  // whether also those are trained which backbones keep, BackboneLayout::frozen
  uint64_t seed = 0;
};

/// Anchors: object or none, and where; regions: of which category, and where.
struct DetectorStep {
  float anchor_class = 0, anchor_box = 0, region_class = 0, region_box = 0;

  float loss() const { return anchor_class + anchor_box + region_class + region_box; }
};

class DetectorTrainer {
 public:
  /// Both must outlive it. Pictures without objects to be found take no part, nor do those that are too narrow for any
  /// anchor; an Error if there are no others.
  DetectorTrainer(TrainedDetector& detector, const DetectionData& data, const DetectorTraining& training);

  /// Before the first step, where the running statistics of batch norm are those of no training: makes them the
  /// means over so many pictures, each seen with the statistics of its own.
  void measure_statistics(int64_t pictures, const ProgressCallback& progress = {});
  /// One step. An Error if the loss is not finite.
  DetectorStep train_step();

  int64_t step() const { return step_; }
  int64_t steps_per_epoch() const;
  bool finished() const { return step_ >= training_.steps; }
  float learning_rate() const { return schedule_.at(epochs_at(step_)); }
  /// How many pictures take part, without mirror images.
  int64_t pictures() const { return static_cast<int64_t>(used_.size()); }
  /// How many have objects, but are too narrow.
  int64_t too_narrow() const { return too_narrow_; }
  /// The pictures that turned out to be bad since the last call; the next ones stood in for them.
  std::vector<std::string> take_warnings();

  /// What it takes to go on from here.
  std::vector<NamedTensor> state() const;
  void restore(const SafetensorsFile& file);

 private:
  double epochs_at(int64_t step) const {
    return static_cast<double>(step) / static_cast<double>(steps_per_epoch());
  }

  struct Prepared {
    DetectorInput input;
    ObjectBoxes objects;
    std::vector<std::string> warnings;
  };
  /// The picture of a step, or the next one that can be read.
  Prepared prepare(int64_t step);
  /// That of this step; the next one is made meanwhile.
  Prepared next();

  TrainedDetector& detector_;
  const DetectionData& data_;
  DetectorTraining training_;
  std::vector<int32_t> used_;  // numbers of pictures
  int64_t too_narrow_ = 0;
  std::vector<Module::Parameter> parameters_;
  std::unique_ptr<Sgd> sgd_;
  Schedule schedule_;
  int64_t step_ = 0;
  int64_t epoch_of_order_ = -1;  // these two belong to whoever prepares
  std::vector<int32_t> order_;
  std::future<Prepared> ahead_;
  int64_t step_ahead_ = -1;
  std::vector<std::string> warnings_;
};

}  // namespace la
