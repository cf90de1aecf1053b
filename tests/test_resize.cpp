// Resizing beside a plain loop in double precision over all pixels, with bounds on the error of f32.
#include <doctest/doctest.h>

#include "data/augmentation.h"
#include "tensor/image/resize.h"
#include "tests/bounded.h"
#include "tests/own_picture.h"

using namespace la;

namespace {

/// [size][extent]: the share of each input position in each output position. Triangles around the centers of
/// the output positions, cut off at the border, with sum 1.
std::vector<std::vector<Bounded>> triangle_weights(double begin, double length, int extent, int size) {
  const Bounded scale = Bounded(length) / Bounded(size);
  const Bounded reach = scale.value > 1 ? scale : Bounded(1);
  std::vector<std::vector<Bounded>> weights;
  for (int o = 0; o < size; ++o) {
    const Bounded center = Bounded(begin) + Bounded(o + 0.5) * scale - Bounded(0.5);
    std::vector<Bounded> row;
    Sum sum;
    for (int k = 0; k < extent; ++k) {
      Bounded distance = Bounded(k) - center;
      distance.value = std::abs(distance.value);
      const Bounded weight = Bounded(1) - distance / reach;
      row.push_back(weight.value + weight.error <= 0 ? Bounded() : positive_part(weight));
      if (row.back().value + row.back().error > 0) sum.add(row.back());
    }
    for (Bounded& weight : row)
      if (weight.value + weight.error > 0) weight = weight / sum.total();
    weights.push_back(row);
  }
  return weights;
}

/// Output pixel (y, x) of channel c.
Bounded resized(const Picture& p, const std::vector<Bounded>& down, const std::vector<Bounded>& across,
                int c) {
  Sum total;
  for (int y = 0; y < p.height; ++y) {
    for (int x = 0; x < p.width; ++x) {
      const Bounded weight = down[static_cast<size_t>(y)] * across[static_cast<size_t>(x)];
      if (weight.value + weight.error > 0)
        total.add(weight * Bounded(p.pixels[(y * p.width + x) * p.channels + c]));
    }
  }
  return total.total() / Bounded(255);
}

void check_resize(const Picture& picture, const Crop& crop, int size, bool flip) {
  CAPTURE(picture.height);
  CAPTURE(picture.width);
  CAPTURE(crop.x);
  CAPTURE(crop.width);
  CAPTURE(size);
  const auto down = triangle_weights(crop.y, crop.height, picture.height, size);
  const auto across = triangle_weights(crop.x, crop.width, picture.width, size);
  const auto values = static_cast<size_t>(picture.channels * size * size);
  constexpr float guard = -7;
  std::vector<float> planes(values + 1, guard);
  resize_crop(picture, crop, size, flip, planes.data());
  int wrong = 0;
  double widest = 0;
  for (int c = 0; c < picture.channels; ++c) {
    for (int y = 0; y < size; ++y) {
      for (int x = 0; x < size; ++x) {
        const auto column = static_cast<size_t>(flip ? size - 1 - x : x);
        const Bounded expected = resized(picture, down[static_cast<size_t>(y)], across[column], c);
        wrong += !(std::abs(planes[static_cast<size_t>((c * size + y) * size + x)] - expected.value) <=
                   expected.error);
        widest = std::max(widest, expected.error);
      }
    }
  }
  CHECK(wrong == 0);
  CHECK(widest < 1e-4);  // the bounds say something: a grey level is 4e-3
  CHECK(planes.back() == guard);
}

}  // namespace

TEST_CASE("crops are resized like a plain loop says: larger, smaller, by any factor, mirrored") {
  for (const int channels : {1, 3}) {
    for (const bool flip : {false, true}) {
      const OwnPicture small(9, 13, channels), wide(7, 40, channels), dot(1, 1, channels);
      check_resize(small.picture, {0, 0, 13, 9}, 9, flip);
      check_resize(small.picture, {0, 0, 13, 9}, 5, flip);
      check_resize(small.picture, {0, 0, 13, 9}, 20, flip);
      check_resize(small.picture, {2.25f, 1.7f, 6.3f, 5.9f}, 8, flip);
      check_resize(small.picture, {7.9f, 0.1f, 5.1f, 8.9f}, 3, flip);
      check_resize(small.picture, {11.5f, 7.5f, 1.2f, 1.1f}, 6, flip);  // within about one pixel
      check_resize(small.picture, {0, 0, 13, 9}, 1, flip);              // the mean, with a triangle's weights
      check_resize(wide.picture, {1.3f, 0.2f, 37.7f, 6.6f}, 4, flip);   // much smaller
      check_resize(dot.picture, {0, 0, 1, 1}, 4, flip);
    }
  }
}

TEST_CASE("random crops are resized like a plain loop says") {
  const OwnPicture own(24, 17, 3);
  const AugmentationOptions options;
  for (int64_t i = 0; i < 30; ++i) {
    const ViewPlan p = plan_augmentation(options, 24, 17, 1, 0, i);
    check_resize(own.picture, p.crop, 5 + static_cast<int>(i), p.flip);
  }
}
