// Pictures and their objects as detectors see them: whole, scaled to one size or nearly so.
#pragma once

#include "data/detection.h"
#include "layers/backbone.h"
#include "layers/detection/targets.h"
#include "tensor/image/view.h"

namespace la {

/// The shorter side of a picture gets `short_side` pixels, or as many as leave the longer one `long_side`.
struct DetectorView {
  int short_side = 600, long_side = 1000;
  ViewFormat format = {};  // mean and stddev; its size says nothing here
};

/// A picture of height x width pixels in f32 [1, H, W, channels], behind the border that the backbone wants. The rest is
/// of the mean color, so that H and W are multiples of twice the stride: few different sizes are seen.
struct DetectorInput {
  Tensor pixels = {};
  int64_t height = 0, width = 0;
  float scale = 1;  // pixels here in one of the picture
};

DetectorInput make_detector_input(const Picture& picture, const DetectorView& view,
                                  const BackboneLayout& layout, bool flip = false);

/// The objects that shall be found, without difficult ones, where they lie in the input.
ObjectBoxes objects_in(const AnnotatedPicture& picture, const DetectorInput& input, bool flip = false);

/// Whether a picture has objects that shall be found.
bool has_objects(const AnnotatedPicture& picture);

}  // namespace la
