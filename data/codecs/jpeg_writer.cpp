#include "data/codecs/jpeg_writer.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include <jpeglib.h>
// stdio.h first

#include "tensor/error.h"

namespace la {
std::string jpeg_of(const Picture& picture, int quality) {
  check(std::max(picture.height, picture.width) <= JPEG_MAX_DIMENSION,
        "a picture of {} x {} pixels; JPEG files have at most {} on a side", picture.height, picture.width,
        JPEG_MAX_DIMENSION);
  jpeg_compress_struct encoder{};
  jpeg_error_mgr errors{};
  encoder.err = jpeg_std_error(&errors);
  jpeg_create_compress(&encoder);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&encoder, &bytes, &size);
  encoder.image_height = static_cast<JDIMENSION>(picture.height);
  encoder.image_width = static_cast<JDIMENSION>(picture.width);
  encoder.input_components = picture.channels;
  encoder.in_color_space = picture.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(&encoder);
  jpeg_set_quality(&encoder, quality, TRUE);
  encoder.optimize_coding = TRUE;
  jpeg_start_compress(&encoder, TRUE);
  const auto row_bytes = static_cast<size_t>(picture.width * picture.channels);
  while (encoder.next_scanline < encoder.image_height) {
    JSAMPROW row = const_cast<JSAMPROW>(picture.pixels + encoder.next_scanline * row_bytes);
    jpeg_write_scanlines(&encoder, &row, 1);
  }
  jpeg_finish_compress(&encoder);
  std::string file(reinterpret_cast<const char*>(bytes), size);
  jpeg_destroy_compress(&encoder);
  std::free(bytes);
  return file;
}

}  // namespace la
