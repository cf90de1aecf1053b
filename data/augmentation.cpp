#include "data/augmentation.h"

#include <algorithm>
#include <cmath>

#include "data/pixel.h"
#include "data/resize.h"
#include "tensor/random.h"

namespace la {
namespace {

using pixel::Rgb;

/// A crop of random area and aspect. After ten tries that do not fit, the largest centered one of allowed
/// aspect.
Crop random_crop(const AugmentationOptions& o, float height, float width, RandomStream& random) {
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

template <class F>
void for_each_rgb(float* view, int pixels, F f) {
  for (int i = 0; i < pixels; ++i) {
    const Rgb p = f(Rgb{view[3 * i], view[3 * i + 1], view[3 * i + 2]});
    view[3 * i] = p.r;
    view[3 * i + 1] = p.g;
    view[3 * i + 2] = p.b;
  }
}

float mean_luma(const float* view, int pixels, int channels) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (int i = 0; i < pixels; ++i)
    sum += channels == 1 ? view[i] : pixel::luma({view[3 * i], view[3 * i + 1], view[3 * i + 2]});
  return sum / static_cast<float>(pixels);
}

void blend_all(float* view, int values, float other, float amount) {
#pragma omp simd
  for (int i = 0; i < values; ++i) view[i] = pixel::blend(view[i], other, amount);
}

void jitter(float* view, int pixels, int channels, const AugmentationPlan& plan) {
  for (const uint8_t step : plan.order) {
    if (step == 0 && plan.brightness != 1.0f) blend_all(view, pixels * channels, 0.0f, plan.brightness);
    if (step == 1 && plan.contrast != 1.0f)
      blend_all(view, pixels * channels, mean_luma(view, pixels, channels), plan.contrast);
    if (channels == 1) continue;
    if (step == 2 && plan.saturation != 1.0f)
      for_each_rgb(view, pixels, [&](Rgb p) {
        const float grey = pixel::luma(p);
        return Rgb{pixel::blend(p.r, grey, plan.saturation), pixel::blend(p.g, grey, plan.saturation),
                   pixel::blend(p.b, grey, plan.saturation)};
      });
    if (step == 3 && plan.hue != 0.0f)
      for_each_rgb(view, pixels, [&](Rgb p) { return pixel::shift_hue(p, plan.hue); });
  }
}

void normalize(float* view, int pixels, int channels, const AugmentationOptions& o) {
  for (int i = 0; i < pixels; ++i)
    for (int c = 0; c < channels; ++c)
      view[i * channels + c] =
          (view[i * channels + c] - o.mean[static_cast<size_t>(c)]) / o.stddev[static_cast<size_t>(c)];
}

}  // namespace

AugmentationPlan plan_augmentation(const AugmentationOptions& o, int picture_height, int picture_width,
                                   uint64_t seed, int64_t epoch, int64_t index) {
  RandomStream random(
      {seed, Purpose::augmentation, static_cast<uint64_t>(epoch) << 40 | static_cast<uint64_t>(index)});
  const Crop crop =
      random_crop(o, static_cast<float>(picture_height), static_cast<float>(picture_width), random);
  AugmentationPlan plan{.x = crop.x,
                        .y = crop.y,
                        .width = crop.width,
                        .height = crop.height,
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

void augment(const Picture& picture, const AugmentationPlan& plan, const AugmentationOptions& o,
             float* view) {
  const int pixels = o.size * o.size, channels = picture.channels;
  resize_crop(picture, {plan.x, plan.y, plan.width, plan.height}, o.size, plan.flip, view);
  jitter(view, pixels, channels, plan);
  if (plan.grayscale && channels == 3)
    for_each_rgb(view, pixels, [](Rgb p) {
      const float grey = pixel::luma(p);
      return Rgb{grey, grey, grey};
    });
  normalize(view, pixels, channels, o);
}

void center_view(const Picture& picture, const AugmentationOptions& o, float* view) {
  constexpr float central = 7.0f / 8.0f;
  const bool fits = picture.height == o.size && picture.width == o.size;
  const float side = static_cast<float>(std::min(picture.height, picture.width)) * (fits ? 1.0f : central);
  const Crop crop{(static_cast<float>(picture.width) - side) / 2,
                  (static_cast<float>(picture.height) - side) / 2, side, side};
  resize_crop(picture, crop, o.size, false, view);
  normalize(view, o.size * o.size, picture.channels, o);
}

ChannelStatistics channel_statistics(const Dataset& data) {
  constexpr int64_t enough = 10000;
  const int64_t step = std::max<int64_t>(1, data.size() / enough);
  const auto channels = static_cast<size_t>(data.channels());
  std::vector<double> sum(channels), squares(channels);
  double count = 0;
  for (int64_t i = 0; i < data.size(); i += step) {
    const Picture p = data.picture(i);
    const size_t pixels = static_cast<size_t>(p.height) * static_cast<size_t>(p.width);
    std::vector<int64_t> s(channels), q(channels);
    for (size_t at = 0; at < pixels * channels; ++at) {
      s[at % channels] += p.pixels[at];
      q[at % channels] += int64_t{p.pixels[at]} * p.pixels[at];
    }
    for (size_t c = 0; c < channels; ++c) {
      sum[c] += static_cast<double>(s[c]) / 255;
      squares[c] += static_cast<double>(q[c]) / (255.0 * 255.0);
    }
    count += static_cast<double>(pixels);
  }
  ChannelStatistics result;
  for (size_t c = 0; c < channels; ++c) {
    const double mean = sum[c] / count, variance = std::max(0.0, squares[c] / count - mean * mean);
    result.mean.push_back(static_cast<float>(mean));
    result.stddev.push_back(variance > 0 ? static_cast<float>(std::sqrt(variance)) : 1.0f);
  }
  return result;
}

}  // namespace la
