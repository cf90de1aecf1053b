#include "evaluation/gray_thumbnail.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace la {
namespace {

float brightness(const uint8_t* pixel, int channels) {
  return channels == 1 ? pixel[0] : 0.299f * pixel[0] + 0.587f * pixel[1] + 0.114f * pixel[2];
}

/// Pixels of an axis that make one pixel of a shorter one, each with its share.
struct Span {
  int first = 0;
  std::vector<float> shares = {};
};

/// `count` equal parts of `length` pixels from `begin` of an axis of `extent`.
std::vector<Span> equal_parts(float begin, float length, int extent, int count) {
  std::vector<Span> spans;
  const float part = length / static_cast<float>(count);
  for (int i = 0; i < count; ++i) {
    const float from = begin + part * static_cast<float>(i), to = from + part;
    Span span{.first = std::clamp(static_cast<int>(std::floor(from + 0.001f)), 0, extent - 1)};
    const int end = std::clamp(static_cast<int>(std::ceil(to - 0.001f)), span.first + 1, extent);
    float sum = 0;
    for (int pixel = span.first; pixel < end; ++pixel) {
      const auto left = static_cast<float>(pixel);
      span.shares.push_back(std::max(std::min(to, left + 1) - std::max(from, left), 0.001f));
      sum += span.shares.back();
    }
    for (float& share : span.shares) share /= sum;
    spans.push_back(std::move(span));
  }
  return spans;
}

/// Each pixel the mean of what becomes it: of whole multiples of the size, the picture from which they were made.
GrayPicture shrunk(const Picture& picture, const Crop& crop, int height, int width) {
  GrayPicture result{.height = height, .width = width};
  const std::vector<Span> down = equal_parts(crop.y, crop.height, picture.height, height),
                          across = equal_parts(crop.x, crop.width, picture.width, width);
  result.pixels.reserve(static_cast<size_t>(height * width));
  for (const Span& rows : down)
    for (const Span& columns : across) {
      float sum = 0;
      for (size_t y = 0; y < rows.shares.size(); ++y) {
        const uint8_t* pixel =
            picture.pixels +
            (ptrdiff_t{picture.width} * (rows.first + static_cast<ptrdiff_t>(y)) + columns.first) *
                picture.channels;
        for (const float share : columns.shares) {
          sum += rows.shares[y] * share * brightness(pixel, picture.channels);
          pixel += picture.channels;
        }
      }
      result.pixels.push_back(static_cast<uint8_t>(std::lround(std::min(sum, 255.0f))));
    }
  return result;
}

/// Smoothed, so that it is nearly the same wherever the pixels of the whole begin.
GrayPicture halved(const GrayPicture& whole) {
  GrayPicture half{.height = (whole.height + 1) / 2, .width = (whole.width + 1) / 2};
  std::vector<float> values(static_cast<size_t>(half.height * half.width));
  resize_crop({whole.pixels.data(), whole.height, whole.width, 1, nullptr},
              whole_crop(whole.height, whole.width), half.height, half.width, false, values.data());
  half.pixels.reserve(values.size());
  for (const float value : values)
    half.pixels.push_back(static_cast<uint8_t>(std::lround(255 * std::clamp(value, 0.0f, 1.0f))));
  return half;
}

}  // namespace

GrayThumbnail gray_thumbnail(const Picture& picture, const Crop& crop) {
  const float scale = std::min(1.0f, GrayThumbnail::most_side / std::max(crop.height, crop.width));
  const auto side = [&](float pixels) { return std::max(1, static_cast<int>(std::lround(pixels * scale))); };
  GrayThumbnail result;
  result.whole = shrunk(picture, crop, side(crop.height), side(crop.width));
  result.half = halved(result.whole);
  return result;
}

}  // namespace la
