// Decoding picture files (data/codecs). Whatever the file holds, it becomes u8 RGB or gray, upright as its
// EXIF orientation says, and what is transparent shows a background. Of a JPEG only the part that is asked
// for is decoded, at 1/2, 1/4 or 1/8 of its size where that is enough.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "data/codecs/codec.h"
#include "tensor/image/resize.h"

namespace la {

/// Red, green, blue.
using Color = std::array<uint8_t, 3>;
constexpr Color white = {255, 255, 255};

/// The color of a name (white, black, gray) or of "#rrggbb"; an Error for any other text.
Color parse_color(const std::string& text);
/// The text that parse_color takes: the name, where there is one.
std::string color_text(const Color& color);

struct DecodeOptions {
  /// Larger pictures are bad ones. The default has room for the largest photographs that phones make; a pixel
  /// takes up to eight bytes while a picture is decoded.
  int64_t max_pixels = 200'000'000;
  Color background = white;  // shown where a picture is transparent
  bool gray = false;         // pictures have 1 channel, the luma of ITU-R BT.601, and not 3
};

/// A part of a picture, perhaps at a smaller scale, and where in it the crop lies that was asked for.
struct Excerpt {
  Picture picture;
  Crop crop;
};

/// Chooses a crop of a picture whose height and width in pixels it is told.
using ChooseCrop = std::function<Crop(int height, int width)>;

/// All of the picture. A BadPicture if it cannot be decoded.
Picture decode_picture(Bytes file, const DecodeOptions& options = {});

/// What a view of size x size pixels of the crop needs of the picture; resize_crop makes it the same view as
/// that of the whole picture, but for what decoding at a smaller scale changes.
Excerpt decode_excerpt(Bytes file, int size, const ChooseCrop& choose, const DecodeOptions& options = {});

/// All of the picture in a file. An Error that names the file if it cannot be read.
Picture read_picture(const std::string& path, const DecodeOptions& options = {});

/// What a file's name says about it.
enum class NameSays {
  picture,
  unreadable_picture,
  nothing
};  // unreadable: of a kind that this build cannot read
/// By its ending: .jpg, .jpeg, .png ..., in upper or lower case.
NameSays what_name_says(std::string_view name);
/// The ending, in lower case: "jpg"; empty where there is none.
std::string ending_of(std::string_view name);

}  // namespace la
