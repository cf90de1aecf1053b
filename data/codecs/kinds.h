// The functions of the table of codecs.
#pragma once

#include "data/codecs/codec.h"

namespace la {

bool is_bmp(Bytes file);
bool is_pnm(Bytes file);
bool is_tga(Bytes file);

StoredPicture decode_jpeg(Bytes file, const PixelLimit& limit);
StoredPicture decode_png(Bytes file, const PixelLimit& limit);
/// The first frame, as far as it goes; what of the canvas it leaves out is transparent.
StoredPicture decode_gif(Bytes file, const PixelLimit& limit);
/// The first frame.
StoredPicture decode_webp(Bytes file, const PixelLimit& limit);
/// The first page.
StoredPicture decode_tiff(Bytes file, const PixelLimit& limit);
/// The primary picture, upright.
StoredPicture decode_heic(Bytes file, const PixelLimit& limit);
/// The first frame.
StoredPicture decode_avif(Bytes file, const PixelLimit& limit);
/// P1 to P6.
StoredPicture decode_pnm(Bytes file, const PixelLimit& limit);
/// BMP, PSD (all its layers) and TGA.
StoredPicture decode_by_stb(Bytes file, const PixelLimit& limit);

}  // namespace la
