// Pictures and their objects as detectors see them: whole, scaled to one size or nearly so.
#pragma once

#include <utility>

#include "data/decode.h"
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

/// The picture; an Error that names the file if it cannot be read, or has not the size that its annotation says.
Picture read_annotated(const AnnotatedPicture& annotated, const DecodeOptions& options);

/// The height and width of its input, without border.
std::pair<int64_t, int64_t> input_size(int height, int width, const DetectorView& view);

/// Whether a picture has objects that shall be found.
bool has_objects(const AnnotatedPicture& picture);

}  // namespace la
