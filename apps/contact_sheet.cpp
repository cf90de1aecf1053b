#include "apps/contact_sheet.h"

#include <stb/stb_easy_font.h>
#include <stb/stb_image_write.h>

#include <algorithm>
#include <cmath>

#include "tensor/error.h"
#include "tensor/image/resize.h"
#include "tensor/io/files.h"

namespace la {
namespace {

constexpr int cell = 160, gap = 8, caption = 24, columns = 5, channels = 3;
constexpr int row_height = gap + cell + caption;

class Sheet {
 public:
  explicit Sheet(size_t pictures)
      : rows_((static_cast<int>(pictures) + columns - 1) / columns),
        pixels_(static_cast<size_t>(width() * height() * channels), 255) {}

  int width() const { return columns * (cell + gap) + gap; }
  int height() const { return rows_ * row_height + gap; }
  const uint8_t* pixels() const { return pixels_.data(); }

  void place(int number, const Picture& picture) {
    const auto side = static_cast<float>(std::min(picture.height, picture.width));
    const Crop crop{(static_cast<float>(picture.width) - side) / 2,
                    (static_cast<float>(picture.height) - side) / 2, side, side};
    std::vector<float> planes(static_cast<size_t>(picture.channels * cell * cell));
    resize_crop(picture, crop, cell, false, planes.data());
    for (int y = 0; y < cell; ++y)
      for (int x = 0; x < cell; ++x)
        for (int c = 0; c < channels; ++c) {
          const int plane = picture.channels == 1 ? 0 : c;
          const float value = planes[static_cast<size_t>((plane * cell + y) * cell + x)];
          at(top(number) + y, left(number) + x)[c] =
              static_cast<uint8_t>(std::lround(255 * std::clamp(value, 0.0f, 1.0f)));
        }
  }
  void write(int number, const SheetEntry& entry) {
    std::string name = letters(entry.name);
    if (width_of(name) > cell) {
      while (width_of("..." + name) > cell) name.erase(0, 1);
      name.insert(0, "...");
    }
    constexpr int below_frame = 6;
    draw(left(number), top(number) + cell + below_frame, letters(entry.title) + "\n" + name);
  }
  void frame(int number) {
    constexpr int thick = 4;
    for (int y = -thick; y < cell + thick; ++y)
      for (int x = -thick; x < cell + thick; ++x)
        if (y < 0 || y >= cell || x < 0 || x >= cell)
          std::fill_n(at(top(number) + y, left(number) + x), channels, 0);
  }

 private:
  static int top(int number) { return gap + number / columns * row_height; }
  static int left(int number) { return gap + number % columns * (cell + gap); }
  /// What the font can write.
  static std::string letters(const std::string& text) {
    std::string result;
    for (const char c : text) {
      const bool goes_on = (static_cast<unsigned char>(c) & 0xc0) == 0x80;  // a letter of several bytes
      if (!goes_on) result += c >= ' ' && c <= '~' ? c : '?';
    }
    return result;
  }
  static int width_of(std::string text) { return stb_easy_font_width(text.data()); }

  /// The font gives rectangles.
  void draw(int x, int y, std::string text) {
    struct Corner {
      float x, y, z;
      uint8_t color[4];
    };
    constexpr size_t most_per_letter = 16;  // rectangles
    std::vector<Corner> corners(4 * most_per_letter * text.size());
    const int count = stb_easy_font_print(static_cast<float>(x), static_cast<float>(y), text.data(), nullptr,
                                          corners.data(), static_cast<int>(corners.size() * sizeof(Corner)));
    for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
      const Corner &from = corners[4 * i], &to = corners[4 * i + 2];
      for (int row = static_cast<int>(from.y); row < std::min(static_cast<int>(to.y), height()); ++row)
        for (int column = static_cast<int>(from.x); column < std::min(static_cast<int>(to.x), width());
             ++column)
          std::fill_n(at(row, column), channels, 0);
    }
  }

  uint8_t* at(int y, int x) { return pixels_.data() + (y * width() + x) * channels; }

  int rows_;
  std::vector<uint8_t> pixels_;
};

}  // namespace

void write_contact_sheet(const std::string& path, const std::vector<SheetEntry>& entries) {
  Sheet sheet(entries.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    sheet.place(static_cast<int>(i), entries[i].picture);
    sheet.write(static_cast<int>(i), entries[i]);
  }
  if (!entries.empty()) sheet.frame(0);
  std::string png;
  const auto append = [](void* to, void* bytes, int count) {
    static_cast<std::string*>(to)->append(static_cast<const char*>(bytes), static_cast<size_t>(count));
  };
  check(stbi_write_png_to_func(append, &png, sheet.width(), sheet.height(), channels, sheet.pixels(),
                               sheet.width() * channels) != 0,
        "{}: the picture cannot be encoded", path);
  write_text_file(path, png);
}

}  // namespace la
