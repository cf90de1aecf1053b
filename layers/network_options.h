// NetworkOptions: which network, and what it must fit.
#pragma once

#include <cstdint>
#include <string>

#include "layers/head.h"

namespace la {

struct NetworkOptions {
  std::string name = "resnet20";  // one of network_names()
  int64_t channels = 3;           // of the pictures
  int64_t image_size = 224;       // their height and width; up to 64 pixels, ResNets take their small stem
  int64_t dim = 128;              // of the embedding
  HeadKind head = HeadKind::linear;
};

}  // namespace la
