// Pictures encoded as files of many formats, for tests to decode.
#pragma once

#include <string>

#include "tensor/image/picture.h"

namespace la {

struct JpegOptions {
  int quality = 100;
  int orientation = 0;  // EXIF's, 1 to 8; 0 writes none
  bool progressive = false;
  bool subsampled = false;  // color at half the resolution
};

/// From a grey picture, one of RGB, or one of four inks as Adobe's programs write them (255: no ink).
std::string jpeg_bytes(const Picture& picture, const JpegOptions& options = {});

/// bits: of a channel, 8 or 16; with 16 the high byte is the picture's, the low one noise.
std::string png_bytes(const Picture& picture, int bits = 8);
/// A grey picture of up to 256 values as one with a palette, whose color i is (i, 255 - i, i / 2).
std::string palette_png_bytes(const Picture& picture);
std::string bmp_bytes(const Picture& picture);
std::string tga_bytes(const Picture& picture);
/// A binary PNM file: .ppm or .pgm.
std::string pnm_bytes(const Picture& picture);
/// A grey picture as GIF, with the palette of palette_png_bytes and a second, black frame.
std::string gif_bytes(const Picture& picture);

}  // namespace la
