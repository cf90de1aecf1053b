#include "tensor/image/resize.h"

#include <algorithm>
#include <vector>

#include "tensor/error.h"

namespace la {
namespace {

/// The windows of all output positions along one axis, with weights whose sum is 1.
struct Taps {
  int per_output;             // weights of each output position, 0 where fewer are needed
  std::vector<int> first;     // first input position of each
  std::vector<float> weight;  // [size, per_output]

  Taps(float begin, float length, int extent, int size) {
    per_output = FilterWindow(begin, length, extent, size, 0).count;
    first.resize(static_cast<size_t>(size));
    weight.resize(static_cast<size_t>(size) * static_cast<size_t>(per_output));
    for (int o = 0; o < size; ++o) {
      const FilterWindow window(begin, length, extent, size, o);
      first[static_cast<size_t>(o)] = window.first;
      float* row = weight.data() + static_cast<size_t>(o) * static_cast<size_t>(per_output);
      float sum = 0.0f;
      for (int t = 0; t < per_output; ++t) {
        row[t] = window.weight(t);
        sum += row[t];
      }
      for (int t = 0; t < per_output; ++t) row[t] /= sum;
    }
  }
};

/// Columns `left` to `right` (exclusive) of output row y, not yet resized along x:
/// out [right - left, channels].
void blend_rows(const Picture& picture, const Taps& down, int y, int left, int right, float* out) {
  const auto row_bytes = static_cast<size_t>(picture.width * picture.channels);
  const int values = (right - left) * picture.channels;
  for (int t = 0; t < down.per_output; ++t) {
    const float weight = down.weight[static_cast<size_t>(y * down.per_output + t)];
    const uint8_t* row = picture.pixels +
                         static_cast<size_t>(down.first[static_cast<size_t>(y)] + t) * row_bytes +
                         left * picture.channels;
    if (t == 0) std::fill(out, out + values, 0.0f);
#pragma omp simd
    for (int i = 0; i < values; ++i) out[i] += weight * static_cast<float>(row[i]);
  }
}

/// Resizes a row, which begins at column `left` of the picture, along x: out [size], for each channel `plane`
/// values further on.
template <int channels>
void resize_row(const float* row, const Taps& across, int left, int size, bool flip, size_t plane,
                float* out) {
  const float* weight = across.weight.data();
  for (int o = 0; o < size; ++o, weight += across.per_output) {
    const float* pixel = row + (across.first[static_cast<size_t>(o)] - left) * channels;
    float sum[channels] = {};
    for (int t = 0; t < across.per_output; ++t)
      for (int c = 0; c < channels; ++c) sum[c] += weight[t] * pixel[t * channels + c];
    float* target = out + (flip ? size - 1 - o : o);
    for (size_t c = 0; c < channels; ++c) target[c * plane] = sum[c] * (1.0f / 255.0f);
  }
}

/// Along y first: that loop runs over contiguous values, and leaves the fewer rows to the slower loop along x
/// where pictures shrink.
template <int channels>
void resize_crop(const Picture& picture, const Crop& crop, int height, int width, bool flip, float* planes) {
  const Taps across(crop.x, crop.width, picture.width, width),
      down(crop.y, crop.height, picture.height, height);
  const auto plane = static_cast<size_t>(height) * static_cast<size_t>(width);
  const int left = across.first.front(), right = across.first.back() + across.per_output;
  thread_local std::vector<float> row;
  row.resize(static_cast<size_t>((right - left) * channels));
  for (int y = 0; y < height; ++y) {
    blend_rows(picture, down, y, left, right, row.data());
    resize_row<channels>(row.data(), across, left, width, flip, plane, planes + y * width);
  }
}

}  // namespace

void resize_crop(const Picture& picture, const Crop& crop, int height, int width, bool flip, float* planes) {
  if (picture.channels == 1) return resize_crop<1>(picture, crop, height, width, flip, planes);
  check(picture.channels == 3, "a picture has {} channels, expected 1 or 3", picture.channels);
  resize_crop<3>(picture, crop, height, width, flip, planes);
}

}  // namespace la
