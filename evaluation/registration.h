// Registration: one picture laid over another so that they agree as far as they can, and how far that is. It
// tells copies of a picture, cut, rescaled, mirrored, recolored, from other pictures that look much the same.
#pragma once

#include "evaluation/gray_thumbnail.h"

namespace la {

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
/// correlation of the one with the brightness of the other, with its square and with its second derivative, of which a
/// blurred print has lost some. Pictures of one color, and those of which a thumbnail has less than 8 pixels on a side, are
/// alike only if they are the same, but for a gray level.
Likeness likeness(const GrayThumbnail& a, const GrayThumbnail& b, float least_coarse = 0);

}  // namespace la
