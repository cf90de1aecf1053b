// TIFF by libtiff, of the first page.
#include <tiffio.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "data/codecs/kinds.h"

namespace la {
namespace {

/// A file in memory as libtiff reads it, and the first error that it reports.
struct OpenTiff {
  Bytes file;
  size_t position = 0;
  char error[200] = "";

  static OpenTiff& of(thandle_t handle) { return *static_cast<OpenTiff*>(handle); }
  static tmsize_t read(thandle_t handle, void* to, tmsize_t bytes) {
    OpenTiff& f = of(handle);
    const size_t left = f.position < f.file.size() ? f.file.size() - f.position : 0,
                 count = std::min(left, static_cast<size_t>(std::max<tmsize_t>(bytes, 0)));
    if (count > 0) std::memcpy(to, f.file.data() + f.position, count);
    f.position += count;
    return static_cast<tmsize_t>(count);
  }
  static tmsize_t write(thandle_t, void*, tmsize_t) { return -1; }
  static toff_t seek(thandle_t handle, toff_t offset, int from) {
    OpenTiff& f = of(handle);
    const size_t base = from == SEEK_SET ? 0 : from == SEEK_CUR ? f.position : f.file.size();
    return f.position = base + offset;
  }
  static int close(thandle_t) { return 0; }
  static toff_t size(thandle_t handle) { return of(handle).file.size(); }
  static int on_error(TIFF*, void* user, const char*, const char* format, va_list arguments) {
    OpenTiff& f = of(user);
    if (f.error[0] == '\0') std::vsnprintf(f.error, sizeof f.error, format, arguments);
    return 1;  // handled
  }
  static int on_warning(TIFF*, void*, const char*, const char*, va_list) { return 1; }
};

[[noreturn]] void refuse(const char* why) { throw BadPicture(fmt::format("it cannot be decoded: {}", why)); }

/// libjbig ends the program for a damaged file; other kinds that are not here are not met in pictures.
void check_compression(TIFF* tiff) {
  constexpr uint16_t allowed[] = {COMPRESSION_NONE,          COMPRESSION_CCITTRLE, COMPRESSION_CCITTFAX3,
                                  COMPRESSION_CCITTFAX4,     COMPRESSION_LZW,      COMPRESSION_JPEG,
                                  COMPRESSION_ADOBE_DEFLATE, COMPRESSION_DEFLATE,  COMPRESSION_PACKBITS,
                                  COMPRESSION_LZMA,          COMPRESSION_ZSTD,     COMPRESSION_WEBP};
  uint16_t compression = 0;
  TIFFGetFieldDefaulted(tiff, TIFFTAG_COMPRESSION, &compression);
  if (std::find(std::begin(allowed), std::end(allowed), compression) == std::end(allowed))
    throw BadPicture(fmt::format("it is compressed by method {}, which is not read", compression));
}

/// Tiles are decoded whole, and may be much larger than the picture.
void check_tiles(TIFF* tiff, uint32_t height, uint32_t width, const PixelLimit& limit) {
  if (TIFFIsTiled(tiff) == 0) return;
  uint32_t tile_height = 0, tile_width = 0;
  TIFFGetField(tiff, TIFFTAG_TILELENGTH, &tile_height);
  TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &tile_width);
  const auto padded = [](int64_t length, int64_t tile) {
    return tile > 0 ? (length + tile - 1) / tile * tile : 0;
  };
  limit.check(padded(height, tile_height), padded(width, tile_width));
}

/// What the samples beyond the colors mean to libtiff's reader of whole pictures.
struct Opacity {
  bool none = true;           // there is none, whatever that reader says
  bool premultiplied = true;  // its colors are multiplied by it
};
Opacity opacity_of(TIFF* tiff) {
  uint16_t count = 0, photometric = 0, bits = 0;
  uint16_t* kinds = nullptr;
  TIFFGetFieldDefaulted(tiff, TIFFTAG_EXTRASAMPLES, &count, &kinds);
  TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &photometric);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &bits);
  const bool gray = photometric == PHOTOMETRIC_MINISBLACK || photometric == PHOTOMETRIC_MINISWHITE;
  const bool is_opacity =
      count > 0 && (kinds[0] == EXTRASAMPLE_ASSOCALPHA || kinds[0] == EXTRASAMPLE_UNASSALPHA);
  if (is_opacity && gray && bits != 8)
    throw BadPicture("it is gray with transparency and has not 8 bits a sample, which is not read");
  // It multiplies colors by an opacity that stands apart, but not gray.
  return {.none = !is_opacity, .premultiplied = !(is_opacity && gray && kinds[0] == EXTRASAMPLE_UNASSALPHA)};
}

}  // namespace

StoredPicture decode_tiff(Bytes file, const PixelLimit& limit) {
  OpenTiff open{file};
  const std::unique_ptr<TIFFOpenOptions, void (*)(TIFFOpenOptions*)> options(TIFFOpenOptionsAlloc(),
                                                                             TIFFOpenOptionsFree);
  constexpr int64_t bytes_of_pixel = 8;
  TIFFOpenOptionsSetMaxSingleMemAlloc(options.get(),
                                      std::max(limit.pixels * bytes_of_pixel, int64_t{1} << 20));
  TIFFOpenOptionsSetErrorHandlerExtR(options.get(), OpenTiff::on_error, &open);
  TIFFOpenOptionsSetWarningHandlerExtR(options.get(), OpenTiff::on_warning, &open);
  // m: no mapping of the file into memory, which it is in already.
  const std::unique_ptr<TIFF, void (*)(TIFF*)> tiff(
      TIFFClientOpenExt("", "rm", &open, OpenTiff::read, OpenTiff::write, OpenTiff::seek, OpenTiff::close,
                        OpenTiff::size, nullptr, nullptr, options.get()),
      TIFFClose);
  if (tiff == nullptr) refuse(open.error);

  uint32_t width = 0, height = 0;
  TIFFGetField(tiff.get(), TIFFTAG_IMAGEWIDTH, &width);
  TIFFGetField(tiff.get(), TIFFTAG_IMAGELENGTH, &height);
  limit.check(height, width);
  check_compression(tiff.get());
  check_tiles(tiff.get(), height, width, limit);
  const Opacity opacity = opacity_of(tiff.get());
  char why[1024] = "";
  TIFFRGBAImage reader;
  constexpr int stop_on_error = 1;
  if (TIFFRGBAImageBegin(&reader, tiff.get(), stop_on_error, why) == 0) refuse(why);
  const std::unique_ptr<TIFFRGBAImage, void (*)(TIFFRGBAImage*)> end(&reader, TIFFRGBAImageEnd);
  const int orientation = reader.orientation;
  reader.req_orientation = reader.orientation;  // as it lies in the file
  const NewPicture made(static_cast<int>(height), static_cast<int>(width), 4);
  static_assert(std::endian::native == std::endian::little);  // pixels are numbers whose lowest byte is red
  if (TIFFRGBAImageGet(&reader, reinterpret_cast<uint32_t*>(made.pixels.get()), width, height) == 0)
    refuse(open.error[0] != '\0' ? open.error : "damaged");
  if (open.error[0] != '\0') refuse(open.error);
  if (opacity.none)
    for (int64_t i = 0; i < int64_t{width} * height; ++i) made.pixels[i * 4 + 3] = 255;
  return {.picture = made.picture,
          .orientation = orientation >= 1 && orientation <= 8 ? orientation : 1,
          .premultiplied = opacity.premultiplied};
}

}  // namespace la
