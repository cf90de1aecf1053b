// The items of a HEIF file (ISO/IEC 23008-12): coded pictures, and pictures derived from others.
#pragma once

#include "data/codecs/codec.h"

namespace la {

/// A BadPicture if a coded picture says itself that it is larger than the limit, whatever the boxes say.
void check_coded_items(Bytes file, const PixelLimit& limit);

/// Also a BadPicture for what libheif 1.15 follows without an end, beyond its memory or beyond the limit, or
/// where it leaves pixels without values: pictures derived as "iden" or "iovl", which cameras do not write,
/// grids of grids, grids that are larger than the limit or than their tiles together, tiles that are smaller
/// than their boxes say, cropped or turned, transparency that has transparency.
void check_heif_items(Bytes file, const PixelLimit& limit);

}  // namespace la
