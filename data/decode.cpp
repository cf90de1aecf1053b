#include "data/decode.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "data/codecs/jpeg.h"
#include "data/codecs/kinds.h"
#include "tensor/format.h"

namespace la {
namespace {

constexpr int channels = 3;

/// What a file of that kind and length may hold. However short it is, some memory is no harm.
PixelLimit limit_for(const Codec& codec, Bytes file, const DecodeOptions& options) {
  constexpr int64_t harmless = int64_t{1} << 22;
  const auto bytes = static_cast<int64_t>(file.size());
  return {.pixels = options.max_pixels,
          .held = codec.pixels_per_byte > 0 ? std::max(harmless, bytes * codec.pixels_per_byte) : INT64_MAX};
}

/// A picture of 3 channels: of 4 those, where they are transparent over the background.
Picture on_background(const StoredPicture& stored, const DecodeOptions& options) {
  const Picture& from = stored.picture;
  if (from.channels == channels) return from;
  const NewPicture made(from.height, from.width, channels);
  const uint8_t* pixel = from.pixels;
  uint8_t* to = made.pixels.get();
  for (int64_t i = int64_t{from.height} * from.width; i > 0; --i, pixel += 4)
    for (int c = 0; c < channels; ++c) {
      const int opacity = pixel[3], color = pixel[c] * (stored.premultiplied ? 255 : opacity),
                behind = options.background[static_cast<size_t>(c)] * (255 - opacity);
      *to++ = static_cast<uint8_t>(std::min((color + behind + 127) / 255, 255));
    }
  return made.picture;
}

/// How an upright picture lies in its file (EXIF's orientation, 1 to 8): first its axes are exchanged, if at
/// all, then each may be mirrored.
struct Orientation {
  bool exchanged, mirrored_x, mirrored_y;

  explicit Orientation(int exif)
      : exchanged(exif >= 5),
        mirrored_x(exif == 2 || exif == 3 || exif == 7 || exif == 8),
        mirrored_y(exif == 3 || exif == 4 || exif == 6 || exif == 7) {}

  bool identity() const { return !exchanged && !mirrored_x && !mirrored_y; }
  /// The place in the file, which has that size, of a rectangle of the upright picture.
  Region stored(Region upright, int height, int width) const {
    Region r = upright;
    if (exchanged) r = {r.x, r.y, r.width, r.height};
    if (mirrored_x) r.x = width - r.x - r.width;
    if (mirrored_y) r.y = height - r.y - r.height;
    return r;
  }
  /// The upright form of pixels as they lie in the file.
  Picture upright(const Picture& stored) const {
    if (identity()) return stored;
    const int height = exchanged ? stored.width : stored.height,
              width = exchanged ? stored.height : stored.width;
    const auto place = [&](int y, int x) {
      const Region r = this->stored({y, x, 1, 1}, stored.height, stored.width);
      return (ptrdiff_t{r.y} * stored.width + r.x) * channels;
    };
    const ptrdiff_t first = place(0, 0), down = place(1, 0) - first, right = place(0, 1) - first;
    const NewPicture made(height, width, channels);
    uint8_t* to = made.pixels.get();
    for (int y = 0; y < height; ++y) {
      const uint8_t* from = stored.pixels + first + y * down;
      for (int x = 0; x < width; ++x, to += channels, from += right) std::copy_n(from, channels, to);
    }
    return made.picture;
  }
};

/// The largest of 1, 2, 4 and 8 by which the crop can be divided and still have the pixels of the view.
int scale_for(const Crop& crop, int size) {
  int scale = 8;
  while (scale > 1 && std::min(crop.height, crop.width) < static_cast<float>(scale * size)) scale /= 2;
  return scale;
}

/// Pixels `begin` to `end` of an axis, and what a filter needs around them.
struct Interval {
  int begin, end;

  Interval(float first, float length, int extent, int size) {
    const int margin = static_cast<int>(std::ceil(std::max(1.0f, length / static_cast<float>(size)))) + 1;
    begin = std::max(0, static_cast<int>(std::floor(first)) - margin);
    end = std::min(extent, static_cast<int>(std::ceil(first + length)) + margin);
  }
};

/// Of an RGB picture what `options` asks for: itself, or its luma.
Picture in_color_of(const DecodeOptions& options, const Picture& rgb) {
  if (!options.gray) return rgb;
  const NewPicture made(rgb.height, rgb.width, 1);
  const uint8_t* pixel = rgb.pixels;
  uint8_t* to = made.pixels.get();
  constexpr int red = 19595, green = 38470, blue = 7471;  // 0.299, 0.587, 0.114 of 2^16
  for (int64_t i = int64_t{rgb.height} * rgb.width; i > 0; --i, pixel += channels)
    *to++ = static_cast<uint8_t>((red * pixel[0] + green * pixel[1] + blue * pixel[2] + (1 << 15)) >> 16);
  return made.picture;
}

int divide_up(int number, int divisor) { return (number + divisor - 1) / divisor; }

Picture decode_whole(const Codec& codec, Bytes file, const DecodeOptions& options) {
  const StoredPicture stored = codec.decode(file, limit_for(codec, file, options));
  return in_color_of(options, Orientation(stored.orientation).upright(on_background(stored, options)));
}

Excerpt decode_jpeg_excerpt(Bytes file, const PixelLimit& limit, int size, const ChooseCrop& choose,
                            const DecodeOptions& options) {
  JpegFile jpeg(file, limit);
  const Orientation orientation(jpeg.orientation());
  const int height = orientation.exchanged ? jpeg.width() : jpeg.height(),
            width = orientation.exchanged ? jpeg.height() : jpeg.width();
  const Crop chosen = choose(height, width);

  const int scale = scale_for(chosen, size);
  const auto shrink = 1.0f / static_cast<float>(scale);
  const int scaled_height = divide_up(height, scale), scaled_width = divide_up(width, scale);
  const Crop crop{chosen.x * shrink, chosen.y * shrink, chosen.width * shrink, chosen.height * shrink};
  const Interval down(crop.y, crop.height, scaled_height, size),
      across(crop.x, crop.width, scaled_width, size);
  const Region upright{down.begin, across.begin, down.end - down.begin, across.end - across.begin};
  const Region stored =
      orientation.stored(upright, divide_up(jpeg.height(), scale), divide_up(jpeg.width(), scale));
  return {in_color_of(options, orientation.upright(jpeg.decode(scale, stored))),
          {crop.x - static_cast<float>(upright.x), crop.y - static_cast<float>(upright.y), crop.width,
           crop.height}};
}

}  // namespace

namespace {

struct NamedColor {
  const char* name;
  Color color;
};
constexpr NamedColor named_colors[] = {{"white", white}, {"gray", {128, 128, 128}}, {"black", {0, 0, 0}}};

}  // namespace

Color parse_color(const std::string& text) {
  for (const NamedColor& c : named_colors)
    if (text == c.name) return c.color;
  uint32_t number = 0;
  const char* const end = text.data() + text.size();
  const bool valid =
      text.size() == 7 && text[0] == '#' && std::from_chars(text.data() + 1, end, number, 16).ptr == end;
  check(valid, "expected white, gray, black or #rrggbb, got '{}'", text);
  return {static_cast<uint8_t>(number >> 16), static_cast<uint8_t>(number >> 8),
          static_cast<uint8_t>(number)};
}

std::string color_text(const Color& color) {
  for (const NamedColor& c : named_colors)
    if (color == c.color) return c.name;
  return formatted("#{:02x}{:02x}{:02x}", color[0], color[1], color[2]);
}

Picture decode_picture(Bytes file, const DecodeOptions& options) {
  return decode_whole(find_codec(file), file, options);
}

Excerpt decode_excerpt(Bytes file, int size, const ChooseCrop& choose, const DecodeOptions& options) {
  const Codec& codec = find_codec(file);
  if (codec.decode == decode_jpeg)
    return decode_jpeg_excerpt(file, limit_for(codec, file, options), size, choose, options);
  const Picture picture = decode_whole(codec, file, options);
  return {picture, choose(picture.height, picture.width)};
}

std::string ending_of(std::string_view name) {
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos || dot == 0) return "";
  std::string ending(name.substr(dot + 1));
  for (char& c : ending) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  return ending;
}

NameSays what_name_says(std::string_view name) {
  const std::string ending = ending_of(name);
  if (ending.empty() || ending.find(' ') != std::string::npos) return NameSays::nothing;
  for (const Codec& codec : codecs())
    if (formatted(" {} ", codec.endings).find(" " + ending + " ") != std::string::npos)
      return codec.decode != nullptr ? NameSays::picture : NameSays::unreadable_picture;
  return NameSays::nothing;
}

}  // namespace la
