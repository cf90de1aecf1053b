// Model: a trained network, with all that it takes to show it pictures.
#pragma once

#include <memory>
#include <string>

#include "data/augmentation.h"
#include "layers/module.h"

namespace la {

struct Model {
  std::string checkpoint;  // path of the file that it comes from
  std::string network;     // its name
  std::unique_ptr<Module> module;
  int64_t channels = 3;                    // of pictures
  int64_t dim = 128;                       // of the embedding
  std::string background_color = "white";  // that its pictures had where they are transparent
  AugmentationOptions view;                // size, mean and stddev of what the network sees
  DType dtype = DType::f32;                // of the network's activations

  /// Where its parameters lie.
  Device device() const { return module->device(); }
};

}  // namespace la
