#include "layers/detection/anchors.h"

#include <algorithm>
#include <cmath>

namespace la {

// Sides are rounded before they are scaled, and halves to the even number: the networks that others have
// trained know just these boxes.
Tensor base_anchors(const AnchorOptions& options) {
  check(options.stride >= 1, "anchors: stride is {}, expected at least 1", options.stride);
  const double side = options.stride, center = (side - 1) / 2;
  std::vector<float> boxes;
  for (float ratio : options.ratios) {
    check(ratio > 0.0f, "anchors: a ratio of {}, expected more than 0", ratio);
    const double width = std::nearbyint(std::sqrt(side * side / ratio)),
                 height = std::nearbyint(width * ratio);
    for (float scale : options.scales) {
      check(scale > 0.0f, "anchors: a scale of {}, expected more than 0", scale);
      const double x = (width * scale - 1) / 2, y = (height * scale - 1) / 2;
      for (double corner : {center - x, center - y, center + x, center + y})
        boxes.push_back(static_cast<float>(corner));
    }
  }
  const auto count = static_cast<int64_t>(boxes.size() / 4);
  return Tensor::from(boxes, {count, 4});
}

Tensor anchors(int64_t height, int64_t width, const AnchorOptions& options) {
  check(height >= 0 && width >= 0, "anchors: a feature map of {} x {}, expected at least 0", height, width);
  const std::vector<float> base = base_anchors(options).to_vector<float>();
  std::vector<float> boxes;
  boxes.reserve(static_cast<size_t>(height * width) * base.size());
  for (int64_t h = 0; h < height; ++h)
    for (int64_t w = 0; w < width; ++w)
      for (size_t i = 0; i < base.size(); ++i)
        boxes.push_back(base[i] + static_cast<float>((i % 2 == 0 ? w : h) * options.stride));
  const auto count = static_cast<int64_t>(boxes.size() / 4);
  return Tensor::from(boxes, {count, 4});
}

bool any_anchor_within(int64_t height, int64_t width, const AnchorOptions& options) {
  const std::vector<float> base = base_anchors(options).to_vector<float>();
  const auto stride = static_cast<float>(options.stride);
  // Along an axis, the first of the anchors that begins inside is the one that ends first.
  const auto fits = [stride](float first, float last, int64_t extent) {
    return last + stride * std::max(0.0f, std::ceil(-first / stride)) < static_cast<float>(extent);
  };
  for (size_t i = 0; i < base.size(); i += 4)
    if (fits(base[i], base[i + 2], width) && fits(base[i + 1], base[i + 3], height)) return true;
  return false;
}

}  // namespace la
