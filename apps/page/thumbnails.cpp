#include "apps/page/thumbnails.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "data/codecs/codec.h"
#include "data/codecs/jpeg_writer.h"
#include "tensor/error.h"
#include "tensor/image/resize.h"
#include "tensor/parallel.h"

namespace la {
namespace {

constexpr int quality = 60;
constexpr int64_t sheet_side = 2048;  // pixels at most: browsers decode such in no time
constexpr int cells[] = {96, 64, 48, 32, 24, 16, 8};
constexpr uint8_t gray = 128;

/// About so many bytes a pixel at that quality, gray or in color; to begin with.
double bytes_per_pixel(int channels) { return channels == 1 ? 0.14 : 0.2; }

struct Sheet {
  int height, width, channels;
  std::vector<uint8_t> pixels;

  Sheet(int64_t h, int64_t w, int c)
      : height(static_cast<int>(h)),
        width(static_cast<int>(w)),
        channels(c),
        pixels(static_cast<size_t>(h * w * c), gray) {}
  Picture picture() const { return {pixels.data(), height, width, channels, nullptr}; }
};

/// The whole picture, in the middle of a cell.
void draw(Sheet& sheet, int64_t top, int64_t left, int cell, const Excerpt& excerpt) {
  const Crop& crop = excerpt.crop;
  const float longer = std::max(crop.height, crop.width);
  const auto side = [&](float pixels) {
    return std::max(1, static_cast<int>(std::lround(pixels * static_cast<float>(cell) / longer)));
  };
  const int height = side(crop.height), width = side(crop.width), channels = sheet.channels;
  std::vector<float> planes(static_cast<size_t>(channels * height * width));
  resize_crop(excerpt.picture, crop, height, width, false, planes.data());
  top += (cell - height) / 2;
  left += (cell - width) / 2;
  for (int c = 0; c < channels; ++c)
    for (int y = 0; y < height; ++y)
      for (int x = 0; x < width; ++x)
        sheet.pixels[static_cast<size_t>(((top + y) * sheet.width + left + x) * channels + c)] =
            static_cast<uint8_t>(
                std::lround(255 * planes[static_cast<size_t>((c * height + y) * width + x)]));
}

/// All of the picture, at a scale that is enough for a cell.
Excerpt whole(const Dataset& pictures, int64_t i, int cell) { return pictures.excerpt(i, cell, whole_crop); }

std::string sheet_of(const Dataset& pictures, int64_t first, int64_t count, const Thumbnails& layout) {
  const int64_t columns = std::min(layout.columns, count), rows = divide_up(count, layout.columns);
  Sheet sheet(rows * layout.cell, columns * layout.cell, pictures.channels());
  parallel_for(count, 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) try {
        draw(sheet, i / layout.columns * layout.cell, i % layout.columns * layout.cell, layout.cell,
             whole(pictures, first + i, layout.cell));
      } catch (const BadPicture&) {  // which the data set remembers
      }
  });
  return jpeg_of(sheet.picture(), quality);
}

}  // namespace

Thumbnails make_thumbnails(const Dataset& pictures, int64_t most_bytes, const ProgressCallback& progress) {
  for (const int cell : cells) {
    const bool last = cell == *(std::end(cells) - 1);
    const double expected =
        static_cast<double>(pictures.size() * cell * cell) * bytes_per_pixel(pictures.channels());
    if (!last && expected > static_cast<double>(most_bytes)) continue;
    Thumbnails result{.cell = cell, .columns = sheet_side / cell};
    result.per_sheet = result.columns * result.columns;
    int64_t bytes = 0;
    for (int64_t first = 0; first < pictures.size() && (last || bytes <= most_bytes);
         first += result.per_sheet) {
      const int64_t count = std::min(result.per_sheet, pictures.size() - first);
      result.sheets.push_back(sheet_of(pictures, first, count, result));
      bytes += std::ssize(result.sheets.back());
      if (progress) progress("thumbnails", first + count, pictures.size());
    }
    if (last || bytes <= most_bytes) return result;
  }
  fail("there is no smallest thumbnail");
}

}  // namespace la
