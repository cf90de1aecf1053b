// NetworkOptions: which network, and what it must fit.
#pragma once

#include <cstdint>
#include <string>

#include "layers/head.h"

namespace la {

/// How parameters begin: as torchvision's do, or as in the original program of LA, whose networks are of
/// TensorFlow: convolutions of ResNets by variance 1 / fan_in, truncated; other weights by Glorot, but for the
/// hidden layers and head of AlexNet with a truncated deviation of 0.005; biases 0.
enum class Initialization { torchvision, original };

struct NetworkOptions {
  std::string name = "resnet20";  // one of network_names()
  int64_t channels = 3;           // of the pictures
  int64_t image_size = 224;       // their height and width; up to 64 pixels, ResNets take their small stem
  int64_t dim = 128;              // of the embedding; without a head, 0: as many as there are features
  HeadKind head = HeadKind::linear;
  Initialization initialization = Initialization::torchvision;
  /// Share of a batch's statistics in the new running ones of batch norm; 0.003 in the original program.
  float norm_momentum = 0.1f;
  int last_stride = 2;  // of the last stage of ResNets; 1 where it looks at regions of a map (backbone.h)
};

}  // namespace la
