// Model: a trained network as it lies in a checkpoint, with all that it takes to show it pictures.
#pragma once

#include <memory>
#include <string>

#include "data/augmentation.h"
#include "la/config.h"
#include "la/safetensors.h"
#include "layers/module.h"

namespace la {

struct Model {
  std::string checkpoint;  // its path
  std::string network;     // its name
  std::unique_ptr<Module> module;
  int64_t channels = 3;  // of pictures
  int64_t dim = 128;
  std::string background_color = "white";  // that its pictures had where they are transparent
  AugmentationOptions view;                // size, mean and stddev of what the network sees
  Precision precision = Precision::f32;

  /// Where its parameters lie.
  Device device() const { return module->parameters().front().variable->value().device(); }
  /// The type of the network's activations.
  DType dtype() const { return precision == Precision::bf16 ? DType::bf16 : DType::f32; }
};

/// What a checkpoint must say, besides its tensors, so that load_model can read it.
Metadata describe_model(const Config& config, int64_t channels, const AugmentationOptions& view);

/// Reads a checkpoint, or the newest one of a run's folder, onto the device, in evaluation mode. An Error
/// that names the file if it does not hold a network of la_train.
Model load_model(const std::string& run_or_checkpoint, Device device);

/// The text that a checkpoint's metadata has under a name, as a number; an Error that names file and entry.
template <class T>
T metadata_number(const SafetensorsFile& file, const std::string& name);

}  // namespace la
