// Resizing a part of a picture: bilinear; where it shrinks, the filter widens, so that every pixel counts.
#pragma once

#include <cmath>

#include "tensor/host_device.h"
#include "tensor/image/picture.h"

namespace la {

/// A rectangle within a picture, in pixels, with fractions.
struct Crop {
  float x = 0, y = 0, width = 0, height = 0;
};

/// All of a picture.
inline Crop whole_crop(int height, int width) {
  return {0, 0, static_cast<float>(width), static_cast<float>(height)};
}

/// What one output position along one axis is made of: input positions `first` to `first + count - 1` with
/// the weights of a triangle filter around the center, at least one input pixel wide on either side.
struct FilterWindow {
  int first, count;
  float center, reach;

  /// Of output position `o` of `size`, which show `length` pixels from `begin` on an axis of `extent` pixels.
  LA_HD FilterWindow(float begin, float length, int extent, int size, int o) {
    const float scale = length / static_cast<float>(size);
    reach = scale > 1.0f ? scale : 1.0f;
    const int wanted = static_cast<int>(ceilf(2 * reach));
    count = wanted < extent ? wanted : extent;
    center = begin + (static_cast<float>(o) + 0.5f) * scale - 0.5f;
    const int lowest = static_cast<int>(floorf(center - reach)) + 1, last = extent - count;
    first = lowest < 0 ? 0 : lowest > last ? last : lowest;
  }
  /// Of the input position first + t; to be divided by the sum over all t.
  LA_HD float weight(int t) const {
    const float weight = 1.0f - fabsf(static_cast<float>(first + t) - center) / reach;
    return weight > 0.0f ? weight : 0.0f;
  }
};

/// The crop, mirrored if `flip`, as one plane per channel: f32 [channels, height, width] with values in [0, 1].
/// Pictures have 1 or 3 channels.
void resize_crop(const Picture& picture, const Crop& crop, int height, int width, bool flip, float* planes);
/// The same as a square.
inline void resize_crop(const Picture& picture, const Crop& crop, int size, bool flip, float* planes) {
  resize_crop(picture, crop, size, size, flip, planes);
}

}  // namespace la
