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
  return {.picture = made.picture,
          .orientation = orientation >= 1 && orientation <= 8 ? orientation : 1,
          .premultiplied = true};
}

}  // namespace la
