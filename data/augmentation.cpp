#include "data/augmentation.h"

#include <algorithm>
#include <cmath>

#include "tensor/random.h"

namespace la {
namespace {

/// A crop of random area and aspect. After ten tries that do not fit, the largest centered one
/// of allowed aspect.
Crop random_crop(const AugmentationOptions& o, float height, float width, RandomGenerator& random) {
  if (o.fixed_crop != FixedCrop::no) {
    const float shorter = std::min(height, width), side = central_share * shorter;
    const auto begin = [&](float extent) {
      const float margin = o.fixed_crop == FixedCrop::central ? (extent - shorter) / 2 : 0.0f;
      return random.uniform(margin, extent - margin - side);
    };
    const float x = begin(width), y = begin(height);
    return {x, y, side, side};
  }
  const float log_aspect = std::log(o.crop_max_aspect);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const float area = height * width * random.uniform(o.crop_min_area, 1.0f);
    const float aspect = std::exp(random.uniform(-log_aspect, log_aspect));
    const float w = std::sqrt(area * aspect), h = std::sqrt(area / aspect);
    if (w <= width && h <= height)
      return {random.uniform(0.0f, width - w), random.uniform(0.0f, height - h), w, h};
  }
  const float aspect = std::clamp(width / height, 1.0f / o.crop_max_aspect, o.crop_max_aspect);
  const float w = std::min(width, height * aspect), h = std::min(height, width / aspect);
  return {(width - w) / 2, (height - h) / 2, w, h};
}

}  // namespace

ViewPlan plan_augmentation(const AugmentationOptions& o, int picture_height, int picture_width, uint64_t seed,
                           int64_t epoch, int64_t index) {
  RandomGenerator random(
      {seed, RandomStream::augmentation, static_cast<uint64_t>(epoch) << 40 | static_cast<uint64_t>(index)});
  const Crop crop =
      random_crop(o, static_cast<float>(picture_height), static_cast<float>(picture_width), random);
  ViewPlan plan{.crop = crop,
                .flip = random.uniform() < o.flip,
                .grayscale = random.uniform() < o.grayscale,
                .brightness = random.uniform(1.0f - o.jitter, 1.0f + o.jitter),
                .contrast = random.uniform(1.0f - o.jitter, 1.0f + o.jitter),
                .saturation = random.uniform(1.0f - o.jitter, 1.0f + o.jitter),
                .hue = random.uniform(-o.jitter, o.jitter),
                .order = {0, 1, 2, 3}};
  for (uint32_t i = 3; i > 0; --i) std::swap(plan.order[i], plan.order[random.below(i + 1)]);
  return plan;
}

ViewPlan plan_ten_crop(int number, int picture_height, int picture_width) {
  constexpr int places = 5;
  constexpr float places_y[places] = {0.5f, 0, 0, 1, 1}, places_x[places] = {0.5f, 0, 1, 0, 1};
  check(number >= 0 && number < 2 * places, "ten-crop view {}, expected 0 to 9", number);
  const auto height = static_cast<float>(picture_height), width = static_cast<float>(picture_width);
  const float side = central_share * std::min(height, width);
  const int place = number % places;
  return {.crop = {places_x[place] * (width - side), places_y[place] * (height - side), side, side},
          .flip = number >= places};
}

ViewPlan plan_center_view(int picture_height, int picture_width, int size) {
  const bool fits = picture_height == size && picture_width == size;
  const float side =
      static_cast<float>(std::min(picture_height, picture_width)) * (fits ? 1.0f : central_share);
  return {.crop = {(static_cast<float>(picture_width) - side) / 2,
                   (static_cast<float>(picture_height) - side) / 2, side, side}};
}

ViewPlan plan_whole_view(int picture_height, int picture_width) {
  return {.crop = {0, 0, static_cast<float>(picture_width), static_cast<float>(picture_height)}};
}

void center_view(const Picture& picture, const AugmentationOptions& o, float* view) {
  augment(picture, plan_center_view(picture.height, picture.width, o.size), o, view);
}

ViewFormat format_of_views(const AugmentationOptions& o, int64_t channels) {
  const auto count = static_cast<size_t>(channels);
  check(o.mean.size() == count && o.stddev.size() == count,
        "a picture has {} channels, but there are {} means and {} standard deviations", channels,
        o.mean.size(), o.stddev.size());
  check(channels == 1 || channels == 3, "a picture has {} channels, expected 1 or 3", channels);
  ViewFormat format{.size = o.size, .mean = {}, .stddev = {}};
  std::copy(o.mean.begin(), o.mean.end(), format.mean.begin());
  std::copy(o.stddev.begin(), o.stddev.end(), format.stddev.begin());
  return format;
}

ChannelStatistics imagenet_statistics() {
  return {.mean = {0.485f, 0.456f, 0.406f}, .stddev = {0.229f, 0.224f, 0.225f}};
}

ChannelStatistics channel_statistics(const Dataset& data) {
  check(data.size() > 0, "there are no pictures to take statistics of");
  constexpr int64_t enough = 10000;
  const int64_t step = (data.size() + enough - 1) / enough;
  const auto channels = static_cast<size_t>(data.channels());
  std::vector<uint64_t> sum(channels), squares(channels);  // exact
  std::vector<uint32_t> column_sum, column_squares;        // of a block of rows, for each value of a row
  constexpr int block = 1 << 16;                           // 65,536 * 255^2 is below 2^32
  uint64_t pixels = 0;
  for (int64_t i = 0; i < data.size(); i += step) {
    Picture p;
    try {
      p = data.checked_picture(i);
    } catch (const BadPicture&) {  // the data set has counted it
      continue;
    }
    const size_t row = static_cast<size_t>(p.width) * channels;
    for (int begin = 0; begin < p.height; begin += block) {
      column_sum.assign(row, 0);
      column_squares.assign(row, 0);
      for (int y = begin; y < std::min(begin + block, p.height); ++y) {
        const uint8_t* const from = p.pixels + static_cast<size_t>(y) * row;
#pragma omp simd
        for (size_t x = 0; x < row; ++x) {
          const uint32_t value = from[x];
          column_sum[x] += value;
          column_squares[x] += value * value;
        }
      }
      for (size_t x = 0; x < row; ++x) {
        sum[x % channels] += column_sum[x];
        squares[x % channels] += column_squares[x];
      }
    }
    pixels += static_cast<uint64_t>(p.width) * static_cast<uint64_t>(p.height);
  }
  check(pixels > 0, "there is no picture that can be read to take statistics of");
  ChannelStatistics result;
  for (size_t c = 0; c < channels; ++c) {
    const double count = static_cast<double>(pixels);
    const double mean = static_cast<double>(sum[c]) / count / 255;
    const double variance = static_cast<double>(squares[c]) / count / (255.0 * 255.0) - mean * mean;
    result.mean.push_back(static_cast<float>(mean));
    // Rounding leaves a few 1e-16 where all pixels are alike; one grey level among 1e9 pixels is 1e-14.
    result.stddev.push_back(variance > 1e-15 ? static_cast<float>(std::sqrt(variance)) : 1.0f);
  }
  return result;
}

}  // namespace la
