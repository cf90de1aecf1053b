// Boxes and regions of interest: the arithmetic of one of them, written once for every device.
#pragma once

#include <cmath>
#include <cstdint>

#include "tensor/host_device.h"
#include "tensor/op_types.h"

namespace la::regions {

/// Corners in pixels.
struct Box {
  float x1, y1, x2, y2;

  LA_HD float width(float extent) const { return x2 - x1 + extent; }
  LA_HD float height(float extent) const { return y2 - y1 + extent; }
  LA_HD float area(float extent) const { return width(extent) * height(extent); }
};

LA_HD float larger(float a, float b) { return a > b ? a : b; }
LA_HD float smaller(float a, float b) { return a < b ? a : b; }

/// Into [0, limit]; keeps NaN.
LA_HD float clip(float x, float limit) { return x < 0.0f ? 0.0f : x > limit ? limit : x; }

/// 0 of two boxes that have no area.
LA_HD float intersection_over_union(const Box& a, float area_a, const Box& b, float area_b, float extent) {
  const float width = smaller(a.x2, b.x2) - larger(a.x1, b.x1) + extent;
  const float height = smaller(a.y2, b.y2) - larger(a.y1, b.y1) + extent;
  const float intersection = larger(width, 0.0f) * larger(height, 0.0f);
  const float both = area_a + area_b - intersection;
  return both > 0.0f ? intersection / both : 0.0f;
}

/// The four numbers that stand for `box` beside `anchor`.
LA_HD void encode(const Box& anchor, const Box& box, const BoxCoding& coding, float* code) {
  const float width = anchor.width(coding.extent), height = anchor.height(coding.extent);
  const float box_width = box.width(coding.extent), box_height = box.height(coding.extent);
  code[0] = coding.weights[0] * ((box.x1 + 0.5f * box_width) - (anchor.x1 + 0.5f * width)) / width;
  code[1] = coding.weights[1] * ((box.y1 + 0.5f * box_height) - (anchor.y1 + 0.5f * height)) / height;
  code[2] = coding.weights[2] * std::log(box_width / width);
  code[3] = coding.weights[3] * std::log(box_height / height);
}

/// And back; with an extent of 1 too, the corners are half the width away from the center, as in
/// py-faster-rcnn.
LA_HD Box decode(const Box& anchor, const float* code, const BoxCoding& coding) {
  const float width = anchor.width(coding.extent), height = anchor.height(coding.extent);
  const float x = code[0] / coding.weights[0] * width + (anchor.x1 + 0.5f * width);
  const float y = code[1] / coding.weights[1] * height + (anchor.y1 + 0.5f * height);
  const float log_width = code[2] / coding.weights[2], log_height = code[3] / coding.weights[3];
  const float most = coding.most_log_ratio;
  const float half_width = 0.5f * std::exp(log_width > most ? most : log_width) * width;
  const float half_height = 0.5f * std::exp(log_height > most ? most : log_height) * height;
  return {x - half_width, y - half_height, x + half_width, y + half_height};
}

/// One axis of a region: `cells` cells between begin and end (pixels) of a picture with `extent` pixels. A
/// bilinear sample is the product of a linear one along each axis, and so is the mean of a cell's: it takes
/// one weight for each pixel of an axis.
struct Axis {
  float begin, end;
  int cells, extent;

  LA_HD Axis(float low, float high, int count, int pixels, const RegionGrid& grid)
      : begin(low * grid.spatial_scale), end(high * grid.spatial_scale), cells(count), extent(pixels) {
    if (grid.samples == RegionGrid::Samples::at_corners) return;
    const float shift = grid.aligned ? 0.5f : 0.0f;
    begin -= shift;
    end -= shift;
    if (!grid.aligned && !(end - begin >= 1.0f)) end = begin + 1.0f;
  }

  /// weights[p] += share * the weight of pixel p in a linear sample that may lie `reach` pixels outside.
  LA_HD void add_sample(float position, float reach, float share, float* weights) const {
    const auto last = static_cast<float>(extent - 1);
    if (!(position >= -reach && position <= last + reach)) return;
    position = smaller(larger(position, 0.0f), last);
    const int low = static_cast<int>(position);
    const float above = position - static_cast<float>(low);
    weights[low] += share * (1.0f - above);
    if (low + 1 < extent) weights[low + 1] += share * above;
  }

  /// The weights [extent] of a cell.
  LA_HD void write_weights(int cell, const RegionGrid& grid, float* weights) const {
    for (int p = 0; p < extent; ++p) weights[p] = 0.0f;
    if (grid.samples == RegionGrid::Samples::at_corners) {
      const float part = cells > 1 ? static_cast<float>(cell) / static_cast<float>(cells - 1) : 0.5f;
      add_sample(part == 1.0f ? end : begin + part * (end - begin), 0.0f, 1.0f, weights);
      return;
    }
    constexpr float most_samples = 4096.0f;
    const float size = (end - begin) / static_cast<float>(cells);
    const float wanted = larger(smaller(std::ceil(size), most_samples), 0.0f);
    const int samples = grid.sampling_ratio > 0 ? grid.sampling_ratio
                        : size == size          ? static_cast<int>(wanted)
                                                : 0;
    const float share = 1.0f / static_cast<float>(samples);
    for (int s = 0; s < samples; ++s) {
      const float inside = (static_cast<float>(s) + 0.5f) * share;
      add_sample(begin + (static_cast<float>(cell) + inside) * size, 1.0f, share, weights);
    }
  }
};

}  // namespace la::regions
