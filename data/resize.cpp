#include "data/resize.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace la {
namespace {

/// For each output position along one axis, the input positions that it is made of and their weights.
struct Taps {
  int per_output;             // weights of each output position, 0 where fewer are needed
  std::vector<int> first;     // first input position of each
  std::vector<float> weight;  // [size, per_output], each row with sum 1

  /// The triangle filter around the center of each output position, at least one input pixel wide on either
  /// side.
  Taps(float begin, float length, int extent, int size) {
    const float scale = length / static_cast<float>(size), reach = std::max(1.0f, scale);
    per_output = std::min(extent, static_cast<int>(std::ceil(2 * reach)) + 1);
    first.resize(static_cast<size_t>(size));
    weight.resize(static_cast<size_t>(size) * static_cast<size_t>(per_output));
    for (int o = 0; o < size; ++o) {
      const float center = begin + (static_cast<float>(o) + 0.5f) * scale - 0.5f;
      const int lowest = static_cast<int>(std::floor(center - reach)) + 1;
      const int start = std::clamp(lowest, 0, extent - per_output);
      first[static_cast<size_t>(o)] = start;
      float* row = weight.data() + static_cast<size_t>(o) * static_cast<size_t>(per_output);
      float sum = 0.0f;
      for (int t = 0; t < per_output; ++t) {
        row[t] = std::max(0.0f, 1.0f - std::abs(static_cast<float>(start + t) - center) / reach);
        sum += row[t];
      }
      for (int t = 0; t < per_output; ++t) row[t] /= sum;
    }
  }
};

/// One picture row, resized along x: out [size, channels].
template <int channels>
void resize_row(const uint8_t* row, const Taps& taps, int size, bool flip, float* out) {
  for (int o = 0; o < size; ++o) {
    const uint8_t* pixel = row + taps.first[static_cast<size_t>(o)] * channels;
    const float* weight = taps.weight.data() + static_cast<size_t>(o) * static_cast<size_t>(taps.per_output);
    float sum[channels] = {};
    for (int t = 0; t < taps.per_output; ++t)
      for (int c = 0; c < channels; ++c) sum[c] += weight[t] * static_cast<float>(pixel[t * channels + c]);
    float* target = out + (flip ? size - 1 - o : o) * channels;
    for (int c = 0; c < channels; ++c) target[c] = sum[c] * (1.0f / 255.0f);
  }
}

template <int channels>
void resize_crop(const Picture& picture, const Crop& crop, int size, bool flip, float* out) {
  const Taps across(crop.x, crop.width, picture.width, size), down(crop.y, crop.height, picture.height, size);
  const int top = down.first.front(), bottom = down.first.back() + down.per_output;
  const auto row_floats = static_cast<size_t>(size * channels);
  thread_local std::vector<float> rows;  // the picture's rows from top to bottom, resized along x
  rows.resize(row_floats * static_cast<size_t>(bottom - top));
  for (int y = top; y < bottom; ++y)
    resize_row<channels>(
        picture.pixels + static_cast<size_t>(y) * static_cast<size_t>(picture.width * channels), across, size,
        flip, rows.data() + row_floats * static_cast<size_t>(y - top));

  for (int o = 0; o < size; ++o) {
    float* target = out + row_floats * static_cast<size_t>(o);
    std::fill(target, target + row_floats, 0.0f);
    for (int t = 0; t < down.per_output; ++t) {
      const float weight = down.weight[static_cast<size_t>(o * down.per_output + t)];
      const float* source =
          rows.data() + row_floats * static_cast<size_t>(down.first[static_cast<size_t>(o)] + t - top);
#pragma omp simd
      for (size_t i = 0; i < row_floats; ++i) target[i] += weight * source[i];
    }
  }
}

}  // namespace

void resize_crop(const Picture& picture, const Crop& crop, int size, bool flip, float* out) {
  if (picture.channels == 1) return resize_crop<1>(picture, crop, size, flip, out);
  check(picture.channels == 3, "a picture has {} channels, expected 1 or 3", picture.channels);
  resize_crop<3>(picture, crop, size, flip, out);
}

}  // namespace la
