// Drawing into pixels in memory: areas, pictures and letters; and PNG files of them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/decode.h"

namespace la {

constexpr Color black = {0, 0, 0};

/// Columns left to right and rows top to bottom, right and bottom exclusive.
struct PixelArea {
  int left = 0, top = 0, right = 0, bottom = 0;

  int width() const { return right - left; }
  int height() const { return bottom - top; }
};

/// Red, green and blue pixels. What is drawn beyond its border is not there.
class PixelCanvas {
 public:
  PixelCanvas(int height, int width, const Color& ground = white);
  /// A copy of a picture; a gray one gets colors.
  explicit PixelCanvas(const Picture& picture);

  int height() const { return height_; }
  int width() const { return width_; }
  /// Its pixels; it must outlive them.
  Picture picture() const { return {pixels_.data(), height_, width_, channels, nullptr}; }

  void fill(const PixelArea& area, const Color& color);
  /// The crop of a picture, stretched over the area.
  void draw(const Picture& picture, const Crop& crop, const PixelArea& area);
  /// Another canvas, its corner at that point.
  void copy(const PixelCanvas& from, int left, int top);
  /// A line of text below and right of a point; the strokes of the letters are `scale` pixels wide.
  void write(int left, int top, const std::string& text, const Color& color = black, int scale = 1);

  // At scale 1: of a line from its capitals to the feet of letters such as g, and from one line to the next.
  static constexpr int line_height = 9, line_distance = 12;
  /// In pixels, at scale 1.
  static int width_of(const std::string& text);
  /// If it is wider than that, its end, after dots.
  static std::string end_of(const std::string& text, int width);

 private:
  static constexpr int channels = 3;
  size_t offset(int y, int x) const {
    return (static_cast<size_t>(y) * static_cast<size_t>(width_) + static_cast<size_t>(x)) * channels;
  }
  uint8_t* at(int y, int x) { return pixels_.data() + offset(y, x); }
  const uint8_t* at(int y, int x) const { return pixels_.data() + offset(y, x); }

  int height_, width_;
  std::vector<uint8_t> pixels_;
};

/// A picture as the bytes of a PNG file, gray or RGB.
std::string png_of(const Picture& picture);
/// An Error that names the file if it cannot be written.
void write_png(const std::string& path, const Picture& picture);

}  // namespace la
