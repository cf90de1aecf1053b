// Linear readout: how much of the labels a linear map can read from the features of each stage of a frozen
// network (Zhang, Isola, Efros 2016). All stages are trained at once, on the same views. Schedule, pooling
// and views are those of the original program of LA.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "autograd/sgd.h"
#include "data/augmentation.h"
#include "data/dataset.h"
#include "evaluation/model.h"
#include "tensor/shards.h"

namespace la {

/// What stands beside the stages for comparison: the embedding v itself, and the pixels that the network
/// sees. They are scaled to vectors of the same length, the pixels' on average.
constexpr const char* embedding_readout = "embedding";
constexpr const char* pixels_readout = "pixels";

struct ReadoutOptions {
  // The two above, or names for find_module; empty: the pixels, all stages of the network, the embedding.
  std::vector<std::string> stages = {};
  std::vector<TrainingTime> drops = {};  // when the rate is divided by 10; empty: after 3/7 and 6/7
  int epochs = 70;
  int64_t steps = 0;  // where it ends, wherever that falls in an epoch; 0: after the epochs
  int batch = 128;
  float learning_rate = 0.01f;
  float momentum = 0.9f;
  float weight_decay = 1e-4f;
  // Of the training views, as in AugmentationOptions. The original reads out from ResNets and VGG16 on views
  // with jitter 0.4 and grayscale 0.2, from AlexNet on crops and mirror images alone.
  FixedCrop fixed_crop = FixedCrop::no;
  float jitter = 0, grayscale = 0;
  bool ten_crop = false;  // also the mean of the class probabilities of ten views
  int loader_threads = 1;
  uint64_t seed = 0;
  std::string state = {};  // file that keeps the state after each epoch, to go on from; empty: none
};

/// Shares of the test pictures whose label is the likeliest, or among the five likeliest.
struct ReadoutAccuracy {
  double top1 = 0, top5 = 0;
};

struct StageReadout {
  std::string stage;
  Shape features;  // of one picture, as they are read: after pooling
  ReadoutAccuracy one_crop, ten_crop;
};

struct ReadoutProgress {
  int epoch = 0;                // from 0
  int64_t step = 0;             // of the epoch, from 0
  int64_t done = 0, steps = 0;  // steps of all epochs: before this one, and in all
  double loss = 0;              // mean over the stages, of this step; a NaN where it was not read
  float learning_rate = 0;
};
/// Told of each step; false stops the training after it. `wants_loss` says beforehand whether to read the
/// loss, for which the device must be waited for.
struct ReadoutObserver {
  std::function<bool()> wants_loss;
  std::function<bool(const ReadoutProgress&)> step;
};

/// Trains on `train` and measures on `test`; pictures without labels take no part. Empty if the observer
/// stopped it. Of several processes, each takes its part of every batch and of the test pictures, and all make the same calls;
/// the observers say the same on all but for whether to read the loss.
std::vector<StageReadout> linear_readout(Model& model, const Dataset& train, const Dataset& test,
                                         const ReadoutOptions& options, const ReadoutObserver& observer,
                                         const Shards& shards = {});

/// An Error unless each is one of the two above, or a layer of the network.
void check_stages(Module& network, const std::vector<std::string>& stages);

/// Features with more than 200,000 numbers a picture are averaged over windows of 2 x 2, and with four times
/// as many over 4 x 4: [N, H, W, C] -> [N, the rest].
Tensor readout_features(const Tensor& output);

}  // namespace la
