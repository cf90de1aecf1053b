// Small gray pictures, as which pictures are compared.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/image/resize.h"

namespace la {

struct GrayPicture {
  int height = 0, width = 0;
  std::vector<uint8_t> pixels = {};  // [height, width]
};

/// A picture as it is compared: its brightness, at most 28 pixels high and wide, which is enough; what is
/// smaller keeps all its pixels. And at half the resolution.
struct GrayThumbnail {
  static constexpr int most_side = 28;

  GrayPicture whole, half;
};

/// Of a crop of a picture of 1 or 3 channels.
GrayThumbnail gray_thumbnail(const Picture& picture, const Crop& crop);

}  // namespace la
