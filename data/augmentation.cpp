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

/// A view in the making: planes of size * size pixels, one per channel, so that loops run over neighbors of
/// the same channel. A grey view has only the first.
struct Planes {
  float* values;
  size_t pixels;
  int channels;

  float* operator[](size_t channel) const { return values + channel * pixels; }
};

/// Memory for a view of this thread; valid until its next view.
Planes planes_for(const Picture& picture, const AugmentationOptions& o) {
  const auto channels = static_cast<size_t>(picture.channels);
  check(o.mean.size() == channels && o.stddev.size() == channels,
        "a picture has {} channels, but there are {} means and {} standard deviations", channels,
        o.mean.size(), o.stddev.size());
  thread_local std::vector<float> memory;
  const size_t pixels = static_cast<size_t>(o.size) * static_cast<size_t>(o.size);
  memory.resize(pixels * channels);
  return {memory.data(), pixels, picture.channels};
}

template <class F>
void for_each_rgb(const Planes& view, F f) {
  float *r = view[0], *g = view[1], *b = view[2];
#pragma omp simd
  for (size_t i = 0; i < view.pixels; ++i) {
    const Rgb p = f(Rgb{r[i], g[i], b[i]});
    r[i] = p.r;
    g[i] = p.g;
    b[i] = p.b;
  }
}

void to_grey(Planes& view) {
  float *r = view[0], *g = view[1], *b = view[2];
#pragma omp simd
  for (size_t i = 0; i < view.pixels; ++i) r[i] = pixel::luma({r[i], g[i], b[i]});
  view.channels = 1;
}

float mean_luma(const Planes& view) {
  float sum = 0.0f;
  const float* r = view[0];
  if (view.channels == 1) {
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < view.pixels; ++i) sum += r[i];
  } else {
    const float *g = view[1], *b = view[2];
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < view.pixels; ++i) sum += pixel::luma({r[i], g[i], b[i]});
  }
  return sum / static_cast<float>(view.pixels);
}

void blend_all(const Planes& view, float other, float amount) {
  const size_t values = view.pixels * static_cast<size_t>(view.channels);
#pragma omp simd
  for (size_t i = 0; i < values; ++i) view.values[i] = pixel::blend(view.values[i], other, amount);
}

void jitter(const Planes& view, const AugmentationPlan& plan) {
  for (const uint8_t step : plan.order) {
    if (step == 0 && plan.brightness != 1.0f) blend_all(view, 0.0f, plan.brightness);
    if (step == 1 && plan.contrast != 1.0f) blend_all(view, mean_luma(view), plan.contrast);
    if (view.channels == 1) continue;
    if (step == 2 && plan.saturation != 1.0f)
      for_each_rgb(view, [amount = plan.saturation](Rgb p) {
        const float grey = pixel::luma(p);
        return Rgb{pixel::blend(p.r, grey, amount), pixel::blend(p.g, grey, amount),
                   pixel::blend(p.b, grey, amount)};
      });
    if (step == 3 && plan.hue != 0.0f)
      for_each_rgb(view, [hue = plan.hue](Rgb p) { return pixel::shift_hue(p, hue); });
  }
}

/// out: [size, size, channels of the picture]; they are all alike if the view is grey.
void write_normalized(const Planes& view, const AugmentationOptions& o, float* out) {
  const size_t channels = o.mean.size();
  for (size_t c = 0; c < channels; ++c) {
    const float* values = view[view.channels == 1 ? 0 : c];
    const float mean = o.mean[c], stddev = o.stddev[c];
#pragma omp simd
    for (size_t i = 0; i < view.pixels; ++i) out[i * channels + c] = (values[i] - mean) / stddev;
  }
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
  Planes planes = planes_for(picture, o);
  resize_crop(picture, {plan.x, plan.y, plan.width, plan.height}, o.size, plan.flip, planes.values);
  if (plan.grayscale && planes.channels == 3) to_grey(planes);
  jitter(planes, plan);
  write_normalized(planes, o, view);
}

void center_view(const Picture& picture, const AugmentationOptions& o, float* view) {
  constexpr float central = 7.0f / 8.0f;
  const bool fits = picture.height == o.size && picture.width == o.size;
  const float side = static_cast<float>(std::min(picture.height, picture.width)) * (fits ? 1.0f : central);
  const Crop crop{(static_cast<float>(picture.width) - side) / 2,
                  (static_cast<float>(picture.height) - side) / 2, side, side};
  const Planes planes = planes_for(picture, o);
  resize_crop(picture, crop, o.size, false, planes.values);
  write_normalized(planes, o, view);
}

ChannelStatistics channel_statistics(const Dataset& data) {
  constexpr int64_t enough = 10000;
  const int64_t step = (data.size() + enough - 1) / enough;
  const auto channels = static_cast<size_t>(data.channels());
  std::vector<uint64_t> sum(channels), squares(channels);  // exact
  std::vector<uint32_t> column_sum, column_squares;        // of one picture, for each value of a row
  uint64_t pixels = 0;
  for (int64_t i = 0; i < data.size(); i += step) {
    const Picture p = data.picture(i);
    const size_t row = static_cast<size_t>(p.width) * channels;
    column_sum.assign(row, 0);
    column_squares.assign(row, 0);
    for (size_t y = 0; y < static_cast<size_t>(p.height); ++y)
#pragma omp simd
      for (size_t x = 0; x < row; ++x) {
        const uint32_t value = p.pixels[y * row + x];
        column_sum[x] += value;
        column_squares[x] += value * value;
      }
    for (size_t x = 0; x < row; ++x) {
      sum[x % channels] += column_sum[x];
      squares[x % channels] += column_squares[x];
    }
    pixels += static_cast<uint64_t>(p.width) * static_cast<uint64_t>(p.height);
  }
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
