// Views of pictures on the GPU: cropping, resizing, changing and normalizing the colors of u8 pictures. The
// arithmetic of a pixel is that of the CPU (tensor/image).
#include <cstring>

#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/kernel.h"
#include "tensor/image/pixel.h"

namespace la {
namespace {

using namespace cuda;
using pixel::Rgb;

constexpr int threads = 256;

/// A picture as the GPU holds it. One with a single channel has it in `r`.
template <int channels>
struct Pixels {
  const uint8_t* pixels;
  int height, width;

  __device__ Rgb at(int y, int x) const {
    const uint8_t* p = pixels + (int64_t{y} * width + x) * channels;
    const auto r = static_cast<float>(p[0]);
    if constexpr (channels == 1) return {r, r, r};
    return {r, static_cast<float>(p[1]), static_cast<float>(p[2])};
  }

  /// The pixel of the view at row y and column x, with values in [0, 1].
  __device__ Rgb resized(const ViewPlan& plan, int size, int y, int x) const {
    const FilterWindow down(plan.crop.y, plan.crop.height, height, size, y);
    const FilterWindow across(plan.crop.x, plan.crop.width, width, size, plan.flip ? size - 1 - x : x);
    Rgb sum{0.0f, 0.0f, 0.0f};
    float weights = 0.0f;
    for (int i = 0; i < down.count; ++i)
      for (int j = 0; j < across.count; ++j) {
        const float weight = down.weight(i) * across.weight(j);
        const Rgb p = at(down.first + i, across.first + j);
        sum = {sum.r + weight * p.r, sum.g + weight * p.g, sum.b + weight * p.b};
        weights += weight;
      }
    const float scale = 1.0f / (255.0f * weights);
    return {sum.r * scale, sum.g * scale, sum.b * scale};
  }
};

__device__ Rgb blend_all(Rgb p, float other, float amount) {
  return {pixel::blend(p.r, other, amount), pixel::blend(p.g, other, amount),
          pixel::blend(p.b, other, amount)};
}

constexpr int contrast_step = 1;

/// One step of the plan; `mean` is the mean luma of the view before it, for contrast.
__device__ Rgb change_color(Rgb p, const ViewPlan& plan, int step, bool grey, float mean) {
  if (step == 0 && plan.brightness != 1.0f) return blend_all(p, 0.0f, plan.brightness);
  if (step == contrast_step && plan.contrast != 1.0f) return blend_all(p, mean, plan.contrast);
  if (step == 2 && !grey && plan.saturation != 1.0f) return blend_all(p, pixel::luma(p), plan.saturation);
  if (step == 3 && !grey && plan.hue != 0.0f) return pixel::shift_hue(p, plan.hue);
  return p;
}

/// One block makes one view, in two passes over its pixels: the first resizes, does the steps before
/// contrast, keeps that in the view itself, and sums the luma that contrast needs; the second does the other
/// steps and normalizes. Reads the crop about once, writes the view twice and reads it once.
template <int channels>
__global__ void make_views_kernel(const uint8_t* pictures, int64_t n, int height, int width,
                                  const int32_t* rows, const uint8_t* plans, ViewFormat format,
                                  Reporter report, float* views) {
  const int64_t row = rows[blockIdx.x];
  if (row < 0 || row >= n) {
    if (threadIdx.x == 0) report(row, n - 1);
    return;
  }
  ViewPlan plan;
  memcpy(&plan, plans + blockIdx.x * sizeof plan, sizeof plan);
  const Pixels<channels> picture{pictures + row * height * width * channels, height, width};
  const bool grey = channels == 1 || plan.grayscale;
  const int count = format.size * format.size;
  float* view = views + int64_t{blockIdx.x} * count * channels;
  int steps_before = 0;
  while (plan.order[steps_before] != contrast_step) ++steps_before;

  float sum = 0.0f;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += threads) {
    Rgb p = picture.resized(plan, format.size, i / format.size, i % format.size);
    if (channels == 3 && grey) p.r = p.g = p.b = pixel::luma(p);
    for (int s = 0; s < steps_before; ++s) p = change_color(p, plan, plan.order[s], grey, 0.0f);
    sum += grey ? p.r : pixel::luma(p);
    const float values[3] = {p.r, p.g, p.b};
    for (int c = 0; c < channels; ++c) view[i * channels + c] = values[c];
  }
  const float mean = block_reduce(sum, Sum(), 0.0f) / static_cast<float>(count);
  for (int i = static_cast<int>(threadIdx.x); i < count; i += threads) {
    float values[3];
    for (int c = 0; c < 3; ++c) values[c] = view[i * channels + (channels == 3 ? c : 0)];
    Rgb p{values[0], values[1], values[2]};
    for (int s = steps_before; s < 4; ++s) p = change_color(p, plan, plan.order[s], grey, mean);
    const float changed[3] = {p.r, p.g, p.b};
    for (int c = 0; c < channels; ++c)
      view[i * channels + c] = (changed[c] - format.mean[c]) / format.stddev[c];
  }
}

}  // namespace

void CudaBackend::make_views(const Tensor& pictures, const Tensor& rows, const Tensor& plans,
                             const ViewFormat& format, const Tensor& views) {
  const auto kernel = pictures.size(3) == 1 ? make_views_kernel<1> : make_views_kernel<3>;
  launch("make_views", kernel, {static_cast<unsigned>(views.numel() == 0 ? 0 : rows.numel()), threads},
         pictures.data<uint8_t>(), pictures.size(0), static_cast<int>(pictures.size(1)),
         static_cast<int>(pictures.size(2)), rows.data<int32_t>(), plans.data<uint8_t>(), format,
         Reporter("make_views: index {} is not in 0 to {}"), views.data<float>());
}

}  // namespace la
