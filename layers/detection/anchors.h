// The anchors of a region proposal network (Ren et al. 2015): boxes of a few sizes and shapes around each
// pixel of a feature map, which the network corrects and scores.
#pragma once

#include <vector>

#include "tensor/tensor.h"

namespace la {

/// The width of a box whose x2 is its last pixel is x2 - x1 + 1; see NmsOptions.
constexpr float last_pixel_extent = 1.0f;

struct AnchorOptions {
  int stride = 16;                        // pixels of the picture in one of the feature map
  std::vector<float> scales{8, 16, 32};   // sides, in strides
  std::vector<float> ratios{0.5f, 1, 2};  // height / width
};

/// Around the top left pixel of the feature map, f32 [ratios * scales, 4] (x1, y1, x2, y2 of the first and
/// last pixel): the scales of the first ratio, then those of the second ... Widths and heights are whole
/// numbers, as py-faster-rcnn rounds them.
Tensor base_anchors(const AnchorOptions& options = {});

/// Those of all pixels of a feature map, row by row: f32 [height * width * ratios * scales, 4].
Tensor anchors(int64_t height, int64_t width, const AnchorOptions& options = {});

/// Whether one of them lies within a picture of that size.
bool any_anchor_within(int64_t height, int64_t width, const AnchorOptions& options);

}  // namespace la
