// Resizing a part of a picture.
#pragma once

#include "data/dataset.h"

namespace la {

/// A rectangle of a picture, in pixels, with fractions.
struct Crop {
  float x, y, width, height;
};

/// The crop as f32 [size, size, channels] with values in [0, 1], mirrored if `flip`. Bilinear; where the crop
/// is larger than `size`, the filter widens with it, so that every pixel counts.
void resize_crop(const Picture& picture, const Crop& crop, int size, bool flip, float* out);

}  // namespace la
