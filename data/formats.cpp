#include "data/formats.h"

namespace la {

void interleave(const uint8_t* planes, int64_t channels, int64_t height, int64_t width, bool columns_first,
                uint8_t* to) {
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t y = 0; y < height; ++y)
      for (int64_t x = 0; x < width; ++x)
        to[(y * width + x) * channels + c] =
            planes[c * height * width + (columns_first ? x * height + y : y * width + x)];
}

}  // namespace la
