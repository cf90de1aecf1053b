#include "tensor/image/view.h"

#include <algorithm>
#include <array>
#include <span>
#include <vector>

#include "tensor/image/pixel.h"

namespace la {
namespace {

using pixel::Rgb;

/// A view in the making: planes of size * size pixels, one per channel, so that loops run over neighbors of
/// the same channel. The memory is this thread's, and valid until its next view.
struct Planes {
  float* values;
  size_t pixels;

  Planes(int channels, int size) : pixels(static_cast<size_t>(size) * static_cast<size_t>(size)) {
    thread_local std::vector<float> memory;
    memory.resize(pixels * static_cast<size_t>(channels));
    values = memory.data();
  }
};

/// Neighboring pixels of it, few enough to stay in the fastest cache while one step after the other changes
/// them. Grey ones have only the first channel.
struct Tile {
  std::array<float*, 3> channel;
  size_t pixels;
  bool is_grey;
};

/// Calls f(tile, number of its first pixel) for all of a view.
template <class F>
void for_each_tile(const Planes& view, int channels, F f) {
  constexpr size_t most = 1024;
  for (size_t first = 0; first < view.pixels; first += most) {
    Tile tile{.channel = {}, .pixels = std::min(most, view.pixels - first), .is_grey = channels == 1};
    for (size_t c = 0; c < static_cast<size_t>(channels); ++c)
      tile.channel[c] = view.values + c * view.pixels + first;
    f(tile, first);
  }
}

template <class F>
void for_each_rgb(const Tile& tile, F f) {
  float *r = tile.channel[0], *g = tile.channel[1], *b = tile.channel[2];
#pragma omp simd
  for (size_t i = 0; i < tile.pixels; ++i) {
    const Rgb p = f(Rgb{r[i], g[i], b[i]});
    r[i] = p.r;
    g[i] = p.g;
    b[i] = p.b;
  }
}

void to_grey(Tile& tile) {
  if (tile.is_grey) return;
  float *r = tile.channel[0], *g = tile.channel[1], *b = tile.channel[2];
#pragma omp simd
  for (size_t i = 0; i < tile.pixels; ++i) r[i] = pixel::luma({r[i], g[i], b[i]});
  tile.is_grey = true;
}

float sum_of_luma(const Tile& tile) {
  float sum = 0.0f;
  const float *r = tile.channel[0], *g = tile.channel[1], *b = tile.channel[2];
  if (tile.is_grey) {
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < tile.pixels; ++i) sum += r[i];
  } else {
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < tile.pixels; ++i) sum += pixel::luma({r[i], g[i], b[i]});
  }
  return sum;
}

void blend_all(const Tile& tile, float other, float amount) {
  for (size_t c = 0; c < (tile.is_grey ? 1 : 3); ++c) {
    float* values = tile.channel[c];
#pragma omp simd
    for (size_t i = 0; i < tile.pixels; ++i) values[i] = pixel::blend(values[i], other, amount);
  }
}

constexpr uint8_t contrast_step = 1;

/// Some steps of the plan; `mean` is the mean luma of the view before that of contrast.
void change_colors(const Tile& tile, const ViewPlan& plan, std::span<const uint8_t> steps, float mean) {
  for (const uint8_t step : steps) {
    if (step == 0 && plan.brightness != 1.0f) blend_all(tile, 0.0f, plan.brightness);
    if (step == contrast_step && plan.contrast != 1.0f) blend_all(tile, mean, plan.contrast);
    if (tile.is_grey) continue;
    if (step == 2 && plan.saturation != 1.0f)
      for_each_rgb(tile, [amount = plan.saturation](Rgb p) {
        const float grey = pixel::luma(p);
        return Rgb{pixel::blend(p.r, grey, amount), pixel::blend(p.g, grey, amount),
                   pixel::blend(p.b, grey, amount)};
      });
    if (step == 3 && plan.hue != 0.0f)
      for_each_rgb(tile, [hue = plan.hue](Rgb p) { return pixel::shift_hue(p, hue); });
  }
}

/// out: [pixels, channels]; the channels are all alike if the tile is grey.
template <class T>
void write_normalized(const Tile& tile, const ViewFormat& format, size_t channels, T* out) {
  for (size_t c = 0; c < channels; ++c) {
    const float* values = tile.channel[tile.is_grey ? 0 : c];
    const float mean = format.mean[c], stddev = format.stddev[c];
#pragma omp simd
    for (size_t i = 0; i < tile.pixels; ++i) out[i * channels + c] = T((values[i] - mean) / stddev);
  }
}

// All colors are changed and normalized in one pass over the view; where contrast changes, what comes before
// it is a pass of its own, which finds the mean that contrast needs.
template <class T>
void make(const Picture& picture, const ViewPlan& plan, const ViewFormat& format, T* view) {
  const Planes planes(picture.channels, format.size);
  resize_crop(picture, plan.crop, format.size, plan.flip, planes.values);

  const auto contrast = std::find(plan.order.begin(), plan.order.end(), contrast_step);
  const std::span<const uint8_t> before(plan.order.begin(), contrast), after(contrast, plan.order.end());
  const bool needs_mean = plan.contrast != 1.0f;
  float sum = 0.0f;
  if (needs_mean)
    for_each_tile(planes, picture.channels, [&](Tile tile, size_t) {
      if (plan.grayscale) to_grey(tile);
      change_colors(tile, plan, before, 0.0f);
      sum += sum_of_luma(tile);
    });
  const float mean = sum / static_cast<float>(planes.pixels);

  const auto channels = static_cast<size_t>(picture.channels);
  for_each_tile(planes, picture.channels, [&](Tile tile, size_t first) {
    if (needs_mean) {
      tile.is_grey |= plan.grayscale;
    } else {
      if (plan.grayscale) to_grey(tile);
      change_colors(tile, plan, before, 0.0f);
    }
    change_colors(tile, plan, after, mean);
    write_normalized(tile, format, channels, view + first * channels);
  });
}

}  // namespace

void make_view(const Picture& picture, const ViewPlan& plan, const ViewFormat& format, float* view) {
  make(picture, plan, format, view);
}
void make_view(const Picture& picture, const ViewPlan& plan, const ViewFormat& format, bf16* view) {
  make(picture, plan, format, view);
}

}  // namespace la
