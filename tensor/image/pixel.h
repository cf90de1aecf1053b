// Arithmetic of color augmentation on one pixel with values in [0, 1], written once for every device.
#pragma once

#include <cmath>

#include "tensor/host_device.h"

namespace la::pixel {

struct Rgb {
  float r, g, b;
};

LA_HD float clamp01(float x) { return x < 0.0f ? 0.0f : x > 1.0f ? 1.0f : x; }

/// Brightness as the eye sees it (ITU-R BT.601).
LA_HD float luma(Rgb p) { return 0.299f * p.r + 0.587f * p.g + 0.114f * p.b; }

/// amount * x + (1 - amount) * other, clamped: the mixture that brightness (other = black), contrast (other =
/// the mean luma of the picture) and saturation (other = the pixel's luma) are.
LA_HD float blend(float x, float other, float amount) {
  return clamp01(amount * x + (1.0f - amount) * other);
}

/// The color with its hue turned by `shift` of a full circle (through HSV). Without branches, and without
/// fmax and fmin, whose treatment of NaN keeps loops from vectorizing.
LA_HD Rgb shift_hue(Rgb p, float shift) {
  const float high_rg = p.r > p.g ? p.r : p.g, low_rg = p.r < p.g ? p.r : p.g;
  const float high = high_rg > p.b ? high_rg : p.b, low = low_rg < p.b ? low_rg : p.b;
  const float range = high - low;
  const float inverse = range > 0.0f ? 1.0f / range : 0.0f;  // a grey pixel stays as it is
  float sixth = high == p.r   ? (p.g - p.b) * inverse
                : high == p.g ? 2.0f + (p.b - p.r) * inverse
                              : 4.0f + (p.r - p.g) * inverse;
  sixth += 6.0f * shift;
  sixth -= 6.0f * floorf(sixth / 6.0f);  // in [0, 6)
  // Each channel is a trapezoid over the circle: high for a third of it, low for a third.
  const auto channel = [=](float center) {
    const float apart = fabsf(sixth - center), around = 6.0f - apart;
    const float distance = apart < around ? apart : around;
    return low + range * clamp01(2.0f - distance);
  };
  return {channel(0.0f), channel(2.0f), channel(4.0f)};
}

}  // namespace la::pixel
