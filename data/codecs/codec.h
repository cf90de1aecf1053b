// Codecs: a kind of picture file is a function that recognizes it from its first bytes and one that decodes
// it, each kind in a file of its own, and a line in the table of codecs.cpp. What a picture of theirs becomes
// (upright, on a background) is data/decode.cpp's.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/error.h"
#include "tensor/image/picture.h"

namespace la {

/// The bytes are no picture, or a damaged one.
struct BadPicture : Error {
  using Error::Error;
};

/// A file in memory.
using Bytes = std::span<const uint8_t>;

/// How many pixels a picture may have.
struct PixelLimit {
  int64_t pixels;  // that memory is given to
  int64_t held;    // that a file of its length and kind can hold

  /// A BadPicture unless the size is within both. To be called before memory is allocated for it.
  void check(int64_t height, int64_t width) const;
};

/// A picture as it lies in a file.
struct StoredPicture {
  Picture picture;             // u8, of 3 channels or of 4: red, green, blue, and how opaque the pixel is
  int orientation = 1;         // EXIF's, 1 to 8
  bool premultiplied = false;  // the colors have been multiplied by the opacity
};

struct Codec {
  const char* name;     // "WebP"
  const char* endings;  // of files' names, in lower case, with spaces between: "jpg jpeg"
  bool (*recognizes)(Bytes file);
  /// Null where the library that it takes was not there when this was built. A BadPicture for a file that is
  /// damaged or ends too early.
  StoredPicture (*decode)(Bytes file, const PixelLimit& limit);
  /// A file of n bytes holds at most n times as many pixels; 0: there is no such bound.
  int64_t pixels_per_byte;
};

/// All kinds.
std::span<const Codec> codecs();
/// The kind of a file, known by its content. A BadPicture, which says what it is instead if that is known, if
/// it is none that can be decoded.
const Codec& find_codec(Bytes file);

/// Memory for u8 pixels, undefined.
inline std::shared_ptr<uint8_t[]> new_pixels(int height, int width, int channels) {
  return std::make_shared_for_overwrite<uint8_t[]>(static_cast<size_t>(height) * static_cast<size_t>(width) *
                                                   static_cast<size_t>(channels));
}
/// A picture in memory of its own, and where to write its pixels.
struct NewPicture {
  NewPicture(int height, int width, int channels)
      : pixels(new_pixels(height, width, channels)), picture{pixels.get(), height, width, channels, pixels} {}

  uint8_t* row(int y) const { return pixels.get() + ptrdiff_t{y} * picture.width * picture.channels; }

  std::shared_ptr<uint8_t[]> pixels;
  Picture picture;
};

/// Whether the file has these bytes there.
inline bool has_bytes(Bytes file, size_t at, std::string_view bytes) {
  return file.size() >= at + bytes.size() &&
         std::string_view(reinterpret_cast<const char*>(file.data()) + at, bytes.size()) == bytes;
}

}  // namespace la
