// Resizing a part of a picture.
#pragma once

#include "data/dataset.h"

namespace la {

/// A rectangle within a picture, in pixels, with fractions.
struct Crop {
  float x, y, width, height;
};

/// The crop, mirrored if `flip`, as one plane per channel: f32 [channels, size, size] with values in [0, 1].
/// Bilinear; where the crop is larger than `size`, the filter widens with it, so that every pixel counts.
/// Pictures have 1 or 3 channels.
void resize_crop(const Picture& picture, const Crop& crop, int size, bool flip, float* planes);

}  // namespace la
