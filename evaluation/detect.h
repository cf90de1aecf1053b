// What a trained detector finds in pictures.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/decode.h"
#include "evaluation/average_precision.h"
#include "evaluation/detection_input.h"
#include "layers/detection/detector.h"
#include "tensor/progress_callback.h"

namespace la {

/// A detector, with all that it takes to show it pictures.
struct TrainedDetector {
  std::string checkpoint;  // path of the file that it, or the network that it begins with, comes from
  DetectorOptions options;
  std::vector<std::string> categories;
  DetectorView view;
  Color background_color = white;  // shown where its pictures are transparent
  DType dtype = DType::f32;        // of the network's activations
  std::unique_ptr<Detector> module;

  DecodeOptions decode_options() const {
    return {.background = background_color, .gray = options.network.channels == 1};
  }
};

struct FindOptions {
  ProposalOptions proposals = {.most = 300};
  float iou_threshold = 0.3f;  // of detections of one category, what overlaps a better one by more is dropped
  float least_score = 0;
  int64_t most = 100;  // detections of a picture, over all categories
};

/// From the best down; `number` is that of the picture.
std::vector<Detection> find_objects(const TrainedDetector& detector, const Picture& picture, int64_t number,
                                    const FindOptions& options);

/// What is found in all pictures of the data; `bad` hears of each that cannot be read or searched, in which nothing is
/// found.
std::vector<Detection> find_objects(const TrainedDetector& detector, const DetectionData& data,
                                    const FindOptions& options,
                                    const std::function<void(const std::string& line)>& bad,
                                    const ProgressCallback& progress = {});

}  // namespace la
