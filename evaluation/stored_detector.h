// Detectors in checkpoints.
#pragma once

#include "evaluation/detect.h"
#include "evaluation/model.h"
#include "tensor/io/safetensors.h"

namespace la {

/// A detector on a trained network, in training mode and not frozen: it has the network's weights, or with `from_scratch`
/// random ones; its own layers begin as the seed says. An Error if the network is none that detectors can stand on.
/// `options` needs no network.
TrainedDetector make_detector(Model& model, DetectorOptions options, std::vector<std::string> categories,
                              bool from_scratch, uint64_t seed);

/// What a checkpoint must say, besides its tensors, so that load_detector can read it.
Metadata describe_detector(const TrainedDetector& detector);
bool is_detector(const SafetensorsFile& file);
/// Onto the device, in evaluation mode. An Error that names the file if it holds no detector.
TrainedDetector load_detector(const SafetensorsFile& file, Device device);

}  // namespace la
