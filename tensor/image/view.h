// Views of pictures: a part of a picture, resized, perhaps mirrored, with other colors, normalized.
#pragma once

#include <array>
#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/image/resize.h"

namespace la {

/// How one view is made of a picture. Plans are handed to devices as bytes.
struct ViewPlan {
  Crop crop;  // in pixels of the picture
  bool flip = false;
  bool grayscale = false;
  float brightness = 1, contrast = 1, saturation = 1;  // factors; 1 changes nothing
  float hue = 0;                                       // turn of the color circle; 0 changes nothing
  std::array<uint8_t, 4> order = {0, 1, 2, 3};  // of brightness (0), contrast (1), saturation (2) and hue (3)
};

/// What all views have in common.
struct ViewFormat {
  int size = 224;                     // height and width
  std::array<float, 3> mean, stddev;  // per channel, of pixels in [0, 1]: a view is (pixel - mean) / stddev
};

/// Writes the view of `picture`, which has 1 or 3 channels, that the plan says: f32 [size, size, channels].
/// As in the original implementation of LA the color is lost first, if at all, then brightness, contrast,
/// saturation and hue change, in the order of the plan; views without color have only brightness and
/// contrast. Shrinking averages over the area that becomes one pixel. As bf16 it is rounded in the end.
void make_view(const Picture& picture, const ViewPlan& plan, const ViewFormat& format, float* view);
void make_view(const Picture& picture, const ViewPlan& plan, const ViewFormat& format, bf16* view);

}  // namespace la
