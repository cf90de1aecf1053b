#include "apps/pixel_canvas.h"

#include <stb/stb_easy_font.h>
#include <stb/stb_image_write.h>

#include <algorithm>
#include <cmath>

#include "tensor/error.h"
#include "tensor/io/files.h"

namespace la {
namespace {

/// What the font can write, in one line.
std::string letters(const std::string& text) {
  std::string result;
  for (const char c : text) {
    const bool goes_on = (static_cast<unsigned char>(c) & 0xc0) == 0x80;  // a letter of several bytes
    if (!goes_on) result += c >= ' ' && c <= '~' ? c : '?';
  }
  return result;
}

/// The font gives rectangles, of which we take two opposite corners.
std::vector<PixelArea> strokes_of(std::string text) {
  struct Corner {
    float x, y, z;
    uint8_t color[4];
  };
  constexpr size_t most_per_letter = 16;  // rectangles
  std::vector<Corner> corners(4 * most_per_letter * text.size());
  const int count = stb_easy_font_print(0, 0, text.data(), nullptr, corners.data(),
                                        static_cast<int>(corners.size() * sizeof(Corner)));
  std::vector<PixelArea> strokes;
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
    const Corner &from = corners[4 * i], &to = corners[4 * i + 2];
    strokes.push_back(
        {static_cast<int>(from.x), static_cast<int>(from.y), static_cast<int>(to.x), static_cast<int>(to.y)});
  }
  return strokes;
}

}  // namespace

PixelCanvas::PixelCanvas(int height, int width, const Color& ground) : height_(height), width_(width) {
  check(height > 0 && width > 0, "a canvas of {} x {} pixels, expected at least one", height, width);
  pixels_.resize(static_cast<size_t>(height) * static_cast<size_t>(width) * static_cast<size_t>(channels));
  fill({0, 0, width, height}, ground);
}

PixelCanvas::PixelCanvas(const Picture& picture) : PixelCanvas(picture.height, picture.width) {
  check(picture.channels == 1 || picture.channels == channels, "a picture has {} channels, expected 1 or 3",
        picture.channels);
  const uint8_t* pixel = picture.pixels;
  for (int y = 0; y < height_; ++y)
    for (int x = 0; x < width_; ++x, pixel += picture.channels)
      for (int c = 0; c < channels; ++c) at(y, x)[c] = pixel[picture.channels == 1 ? 0 : c];
}

void PixelCanvas::fill(const PixelArea& area, const Color& color) {
  for (int y = std::max(area.top, 0); y < std::min(area.bottom, height_); ++y)
    for (int x = std::max(area.left, 0); x < std::min(area.right, width_); ++x)
      std::copy(color.begin(), color.end(), at(y, x));
}

void PixelCanvas::draw(const Picture& picture, const Crop& crop, const PixelArea& area) {
  const int height = area.height(), width = area.width();
  std::vector<float> planes(static_cast<size_t>(picture.channels * height * width));
  resize_crop(picture, crop, height, width, false, planes.data());
  for (int y = std::max(0, -area.top); y < std::min(height, height_ - area.top); ++y)
    for (int x = std::max(0, -area.left); x < std::min(width, width_ - area.left); ++x)
      for (int c = 0; c < channels; ++c) {
        const int plane = picture.channels == 1 ? 0 : c;
        const float value = planes[static_cast<size_t>((plane * height + y) * width + x)];
        at(area.top + y, area.left + x)[c] =
            static_cast<uint8_t>(std::lround(255 * std::clamp(value, 0.0f, 1.0f)));
      }
}

void PixelCanvas::copy(const PixelCanvas& from, int left, int top) {
  const int begin = std::max(0, -left), end = std::min(from.width_, width_ - left);
  if (begin >= end) return;
  for (int y = std::max(0, -top); y < std::min(from.height_, height_ - top); ++y)
    std::copy_n(from.at(y, begin), (end - begin) * channels, at(top + y, left + begin));
}

void PixelCanvas::write(int left, int top, const std::string& text, const Color& color, int scale) {
  for (const PixelArea& stroke : strokes_of(letters(text)))
    fill({left + scale * stroke.left, top + scale * stroke.top, left + scale * stroke.right,
          top + scale * stroke.bottom},
         color);
}

int PixelCanvas::width_of(const std::string& text) {
  std::string shown = letters(text);
  return stb_easy_font_width(shown.data());
}

std::string PixelCanvas::end_of(const std::string& text, int width) {
  std::string end = letters(text);
  if (width_of(end) <= width) return end;
  while (!end.empty() && width_of("..." + end) > width) end.erase(0, 1);
  return "..." + end;
}

std::string png_of(const Picture& picture) {
  std::string png;
  const auto append = [](void* to, void* bytes, int count) {
    static_cast<std::string*>(to)->append(static_cast<const char*>(bytes), static_cast<size_t>(count));
  };
  check(stbi_write_png_to_func(append, &png, picture.width, picture.height, picture.channels, picture.pixels,
                               picture.width * picture.channels) != 0,
        "a picture of {} x {} pixels cannot be encoded as PNG", picture.width, picture.height);
  return png;
}

void write_png(const std::string& path, const Picture& picture) { write_text_file(path, png_of(picture)); }

}  // namespace la
