#include "data/decode.h"

#include <stb/stb_image.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>

#include "data/jpeg.h"

namespace la {
namespace {

constexpr int64_t most_pixels = int64_t{1} << 28;  // 768 MiB of memory
constexpr int channels = 3;

void check_size(int height, int width) {
  if (height < 1 || width < 1 || int64_t{height} * width > most_pixels)
    throw BadPicture(fmt::format("it has {} x {} pixels, expected 1 to {}", width, height, most_pixels));
}

/// A file in memory as stb_image reads it. Some of its decoders take what is missing at the end for zeros; so
/// we watch whether they ask for it.
struct WatchedFile {
  std::span<const uint8_t> rest;
  bool ended_early = false;

  static int read(void* user, char* to, int bytes) {
    constexpr int buffer = 128;  // of stb_image, which is filled as far as possible
    auto& file = *static_cast<WatchedFile*>(user);
    const size_t count = std::min(static_cast<size_t>(bytes), file.rest.size());
    std::copy_n(file.rest.data(), count, reinterpret_cast<uint8_t*>(to));
    file.rest = file.rest.subspan(count);
    file.ended_early |= count == 0 || (count < static_cast<size_t>(bytes) && bytes != buffer);
    return static_cast<int>(count);
  }
  static void skip(void* user, int bytes) {
    auto& file = *static_cast<WatchedFile*>(user);
    if (bytes < 0) return;  // back: what stb_image still has in its buffer, which is all that it does
    const size_t count = std::min(static_cast<size_t>(bytes), file.rest.size());
    file.ended_early |= count < static_cast<size_t>(bytes);
    file.rest = file.rest.subspan(count);
  }
  static int at_end(void* user) { return static_cast<WatchedFile*>(user)->rest.empty() ? 1 : 0; }
};

/// Pictures other than JPEG, always decoded as a whole.
Picture decode_other(std::span<const uint8_t> file) {
  constexpr stbi_io_callbacks callbacks{WatchedFile::read, WatchedFile::skip, WatchedFile::at_end};
  int width = 0, height = 0, stored_channels = 0;
  const auto refuse = [] {
    std::string why = stbi_failure_reason();  // which may quote the file
    for (char& c : why) c = c >= ' ' && c <= '~' ? c : '?';
    throw BadPicture("it cannot be decoded: " + why);
  };
  WatchedFile head{file};
  if (stbi_info_from_callbacks(&callbacks, &head, &width, &height, &stored_channels) == 0) refuse();
  check_size(height, width);
  WatchedFile all{file};
  uint8_t* pixels = stbi_load_from_callbacks(&callbacks, &all, &width, &height, &stored_channels, channels);
  if (pixels == nullptr) refuse();
  const std::shared_ptr<const void> owner(pixels, stbi_image_free);
  if (all.ended_early) throw BadPicture("it ends too early");
  return {pixels, height, width, channels, owner};
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
    auto pixels = new_pixels(height, width);
    uint8_t* to = pixels.get();
    for (int y = 0; y < height; ++y) {
      const uint8_t* from = stored.pixels + first + y * down;
      for (int x = 0; x < width; ++x, to += channels, from += right) std::copy_n(from, channels, to);
    }
    return {pixels.get(), height, width, channels, pixels};
  }
};

bool is_jpeg(std::span<const uint8_t> file) { return file.size() >= 2 && file[0] == 0xff && file[1] == 0xd8; }

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

int divide_up(int number, int divisor) { return (number + divisor - 1) / divisor; }

}  // namespace

Picture decode_picture(std::span<const uint8_t> file) {
  if (!is_jpeg(file)) return decode_other(file);
  JpegFile jpeg(file);
  check_size(jpeg.height(), jpeg.width());
  return Orientation(jpeg.orientation()).upright(jpeg.decode(1, {0, 0, jpeg.height(), jpeg.width()}));
}

Excerpt decode_excerpt(std::span<const uint8_t> file, int size, const ChooseCrop& choose) {
  if (!is_jpeg(file)) {
    const Picture picture = decode_other(file);
    return {picture, choose(picture.height, picture.width)};
  }
  JpegFile jpeg(file);
  check_size(jpeg.height(), jpeg.width());
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
  return {orientation.upright(jpeg.decode(scale, stored)),
          {crop.x - static_cast<float>(upright.x), crop.y - static_cast<float>(upright.y), crop.width,
           crop.height}};
}

bool is_picture_name(std::string_view name) {
  constexpr std::array<std::string_view, 13> endings{"jpg", "jpeg", "jpe", "png", "bmp", "gif", "tga",
                                                     "psd", "pnm",  "ppm", "pgm", "hdr", "pic"};
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos || dot == 0) return false;
  std::string ending(name.substr(dot + 1));
  for (char& c : ending) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  return std::find(endings.begin(), endings.end(), ending) != endings.end();
}

}  // namespace la
