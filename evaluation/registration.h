// Registration: one picture laid over another so that they agree as far as they can, and how far that is. It
// tells copies of a picture, cut, rescaled, mirrored, recolored, from other pictures that look much the same.
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

/// How alike two pictures are when one lies over the other, each from 0 to 1.
struct Likeness {
  float coarse = 0;  // at half the resolution: correlation of brightness
  float fine = 0;    // correlation of detail, whatever the tone curve
};

/// The likeness of two pictures under the scale, up to 1.6 times, the shift and the reflection that suit them
/// best, where they share at least half of the smaller one; in either order the same. `fine` is not computed, and 0, unless the coarse
/// one is at least `least_coarse`.
///
/// Scale and shift maximize the correlation of the brightness by Gauss-Newton steps (Evangelidis and Psarakis,
/// "Parametric image alignment using enhanced correlation coefficient maximization", PAMI 2008). Other pictures
/// of the same kind of thing have the same outline; so what is compared then is detail, between two Gaussian
/// blurs of 1 and 3 pixels; and as the one may be a darker or flatter print of the other, it is the multiple
/// correlation of the one with the brightness of the other and with its square.
Likeness likeness(const GrayThumbnail& a, const GrayThumbnail& b, float least_coarse = 0);

}  // namespace la
