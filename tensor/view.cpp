#include "tensor/view.h"

#include <vector>

#include "tensor/pixel.h"

namespace la {
namespace {

using pixel::Rgb;

/// A view in the making: planes of size * size pixels, one per channel, so that loops run over neighbors of
/// the same channel. A grey view has only the first.
struct Planes {
  float* values;
  size_t pixels;
  int channels;

  float* operator[](size_t channel) const { return values + channel * pixels; }
};

/// Memory for a view of this thread; valid until its next view.
Planes planes_for(int channels, int size) {
  thread_local std::vector<float> memory;
  const size_t pixels = static_cast<size_t>(size) * static_cast<size_t>(size);
  memory.resize(pixels * static_cast<size_t>(channels));
  return {memory.data(), pixels, channels};
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

void jitter(const Planes& view, const ViewPlan& plan) {
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

/// out: [size, size, channels]; the channels are all alike if the view is grey.
void write_normalized(const Planes& view, const ViewFormat& format, size_t channels, float* out) {
  for (size_t c = 0; c < channels; ++c) {
    const float* values = view[view.channels == 1 ? 0 : c];
    const float mean = format.mean[c], stddev = format.stddev[c];
#pragma omp simd
    for (size_t i = 0; i < view.pixels; ++i) out[i * channels + c] = (values[i] - mean) / stddev;
  }
}

}  // namespace

void make_view(const Picture& picture, const ViewPlan& plan, const ViewFormat& format, float* view) {
  Planes planes = planes_for(picture.channels, format.size);
  resize_crop(picture, plan.crop, format.size, plan.flip, planes.values);
  if (plan.grayscale && planes.channels == 3) to_grey(planes);
  jitter(planes, plan);
  write_normalized(planes, format, static_cast<size_t>(picture.channels), view);
}

}  // namespace la
