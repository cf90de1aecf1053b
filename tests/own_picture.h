// A picture of noise, for tests.
#pragma once

#include <vector>

#include "data/dataset.h"
#include "tensor/random.h"

namespace la {

/// A picture with its pixels, which are noise unless they are changed.
struct OwnPicture {
  std::vector<uint8_t> pixels;
  Picture picture;

  OwnPicture(int height, int width, int channels, uint64_t seed = 1)
      : pixels(static_cast<size_t>(height * width * channels)) {
    RandomGenerator random({.seed = seed});
    for (uint8_t& pixel : pixels) pixel = static_cast<uint8_t>(random.below(256));
    picture = {pixels.data(), height, width, channels, nullptr};
  }
};

}  // namespace la
