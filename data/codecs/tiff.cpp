// TIFF by libtiff, of the first page.
#include <tiffio.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "data/codecs/kinds.h"
#include "tensor/format.h"

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

[[noreturn]] void refuse(const char* why) { throw BadPicture(formatted("it cannot be decoded: {}", why)); }

/// libjbig ends the program for a damaged file; other kinds that are not here are not met in pictures.
void check_compression(TIFF* tiff) {
  constexpr uint16_t allowed[] = {COMPRESSION_NONE,          COMPRESSION_CCITTRLE, COMPRESSION_CCITTFAX3,
                                  COMPRESSION_CCITTFAX4,     COMPRESSION_LZW,      COMPRESSION_JPEG,
                                  COMPRESSION_ADOBE_DEFLATE, COMPRESSION_DEFLATE,  COMPRESSION_PACKBITS,
                                  COMPRESSION_LZMA,          COMPRESSION_ZSTD,     COMPRESSION_WEBP};
  uint16_t compression = 0;
  TIFFGetFieldDefaulted(tiff, TIFFTAG_COMPRESSION, &compression);
  if (std::find(std::begin(allowed), std::end(allowed), compression) == std::end(allowed))
    throw BadPicture(formatted("it is compressed by method {}, which is not read", compression));
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

/// What the samples beyond the colors are.
struct Opacity {
  bool none = true;           // none of them is opacity
  bool premultiplied = true;  // what libtiff's reader of whole pictures gives is multiplied by it
  bool gray_16 = false;       // beside gray of 16 bits, which that reader refuses
};
Opacity opacity_of(TIFF* tiff) {
  uint16_t count = 0, photometric = 0, bits = 0;
  uint16_t* kinds = nullptr;
  TIFFGetFieldDefaulted(tiff, TIFFTAG_EXTRASAMPLES, &count, &kinds);
  TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &photometric);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &bits);
  if (count == 0 || (kinds[0] != EXTRASAMPLE_ASSOCALPHA && kinds[0] != EXTRASAMPLE_UNASSALPHA)) return {};
  if (photometric != PHOTOMETRIC_MINISBLACK && photometric != PHOTOMETRIC_MINISWHITE) return {.none = false};
  if (bits != 8 && bits != 16)
    throw BadPicture(
        "it is gray with transparency and has neither 8 nor 16 bits a sample, which is not read");
  // It multiplies colors by an opacity that stands apart, but not gray.
  return {.none = false, .premultiplied = kinds[0] == EXTRASAMPLE_ASSOCALPHA, .gray_16 = bits == 16};
}

/// Gray with opacity, of 16 bits each, rounded to 8 as libtiff rounds colors. Whether it is all there.
bool read_gray_16(TIFF* tiff, const NewPicture& made) {
  uint16_t samples = 0, planes = 0, format = 0, photometric = 0;
  TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &samples);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_PLANARCONFIG, &planes);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLEFORMAT, &format);
  TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &photometric);
  const int width = made.picture.width;
  const size_t row_samples = size_t{samples} * static_cast<size_t>(width);
  if (TIFFIsTiled(tiff) != 0 || planes != PLANARCONFIG_CONTIG || format != SAMPLEFORMAT_UINT || samples < 2 ||
      samples > 4 || TIFFScanlineSize64(tiff) != row_samples * sizeof(uint16_t))
    throw BadPicture(
        "it is gray with transparency of 16 bits, which is read only in strips of 2 to 4 samples without "
        "signs");
  const bool inverted = photometric == PHOTOMETRIC_MINISWHITE;
  const auto rounded = [](uint16_t sample) { return static_cast<uint8_t>((sample + 128) / 257); };
  std::vector<uint16_t> row(row_samples);
  for (int y = 0; y < made.picture.height; ++y) {
    if (TIFFReadScanline(tiff, row.data(), static_cast<uint32_t>(y)) != 1) return false;
    for (int x = 0; x < width; ++x) {
      const uint16_t* const from = row.data() + ptrdiff_t{x} * samples;
      uint8_t* const to = made.row(y) + ptrdiff_t{x} * 4;
      to[0] = to[1] = to[2] = rounded(inverted ? static_cast<uint16_t>(~from[0]) : from[0]);
      to[3] = rounded(from[1]);
    }
  }
  return true;
}

/// All that libtiff makes colors of. Whether it is all there.
bool read_colors(TIFF* tiff, const NewPicture& made, const Opacity& opacity) {
  char why[1024] = "";
  TIFFRGBAImage reader;
  constexpr int stop_on_error = 1;
  if (TIFFRGBAImageBegin(&reader, tiff, stop_on_error, why) == 0) refuse(why);
  const std::unique_ptr<TIFFRGBAImage, void (*)(TIFFRGBAImage*)> end(&reader, TIFFRGBAImageEnd);
  reader.req_orientation = reader.orientation;  // as it lies in the file
  const auto height = static_cast<uint32_t>(made.picture.height),
             width = static_cast<uint32_t>(made.picture.width);
  static_assert(std::endian::native == std::endian::little);  // pixels are numbers whose lowest byte is red
  if (TIFFRGBAImageGet(&reader, reinterpret_cast<uint32_t*>(made.pixels.get()), width, height) == 0)
    return false;
  if (opacity.none)
    for (int64_t i = 0; i < int64_t{width} * height; ++i) made.pixels[i * 4 + 3] = 255;
  return true;
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
  uint16_t orientation = 0;
  TIFFGetFieldDefaulted(tiff.get(), TIFFTAG_ORIENTATION, &orientation);
  const NewPicture made(static_cast<int>(height), static_cast<int>(width), 4);
  const bool whole =
      opacity.gray_16 ? read_gray_16(tiff.get(), made) : read_colors(tiff.get(), made, opacity);
  if (open.error[0] != '\0') refuse(open.error);
  if (!whole) refuse("damaged");
  return {.picture = made.picture,
          .orientation = orientation >= 1 && orientation <= 8 ? orientation : 1,
          .premultiplied = opacity.premultiplied};
}

}  // namespace la
