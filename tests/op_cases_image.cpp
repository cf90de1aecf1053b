// Cases of the ops on pictures. The reference is the function that makes one view on the host, which
// test_resize.cpp and test_augmentation.cpp compare with plain loops.
#include "tensor/format.h"
#include "tensor/ops.h"
#include "tests/op_case.h"

namespace la {
namespace {

/// Plans of all kinds: crops that shrink and grow, whole pictures, each color step alone and
/// all in any order.
std::vector<ViewPlan> any_plans(int64_t count, float height, float width) {
  std::vector<ViewPlan> plans;
  RandomGenerator random({.seed = 31});
  for (int64_t i = 0; i < count; ++i) {
    ViewPlan plan;
    Crop& crop = plan.crop;
    crop.width = i % 5 == 0 ? width : random.uniform(1.0f, width);
    crop.height = i % 5 == 0 ? height : random.uniform(1.0f, height);
    crop.x = random.uniform(0.0f, width - crop.width);
    crop.y = random.uniform(0.0f, height - crop.height);
    plan.flip = i % 3 == 1;
    plan.grayscale = i % 7 == 3;
    if (i % 6 == 0 || i % 6 == 5) plan.brightness = random.uniform(0.6f, 1.4f);
    if (i % 6 == 1 || i % 6 == 5) plan.contrast = random.uniform(0.6f, 1.4f);
    if (i % 6 == 2 || i % 6 == 5) plan.saturation = random.uniform(0.6f, 1.4f);
    if (i % 6 == 3 || i % 6 == 5) plan.hue = random.uniform(-0.4f, 0.4f);
    for (uint32_t j = 3; j > 0; --j) std::swap(plan.order[j], plan.order[random.below(j + 1)]);
    plans.push_back(plan);
  }
  return plans;
}

OpCase make_views_case(const Shape& pictures, int64_t views, int size) {
  const ViewFormat format{.size = size, .mean = {0.4f, 0.5f, 0.6f}, .stddev = {0.3f, 0.25f, 0.2f}};
  const std::vector<ViewPlan> plans =
      any_plans(views, static_cast<float>(pictures[1]), static_cast<float>(pictures[2]));
  const int64_t plan_bytes = sizeof(ViewPlan);
  return {.op = "make_views",
          .options = formatted("size={}", size),
          .inputs = {below(pictures, 256, DType::u8), below({views}, pictures[0])},
          .run = [=](const Tensors& in) -> Tensors {
            Tensor bytes({views, plan_bytes}, DType::u8, in[0].device());
            bytes.copy_from_host(plans.data());
            return {ops::make_views(in[0], in[1], bytes, format)};
          },
          .reference = [=](const Arrays& in) -> Arrays {
            Array y({views, size, size, pictures[3]});
            const int64_t picture_bytes = pictures.numel() / pictures[0];
            const int64_t floats = views == 0 ? 0 : y.numel() / views;
            std::vector<float> view(static_cast<size_t>(floats));
            for (int64_t i = 0; i < views; ++i) {
              std::vector<uint8_t> pixels;
              for (int64_t p = 0; p < picture_bytes; ++p)
                pixels.push_back(static_cast<uint8_t>(in[0].index(in[1].index(i) * picture_bytes + p)));
              make_view({pixels.data(), static_cast<int>(pictures[1]), static_cast<int>(pictures[2]),
                         static_cast<int>(pictures[3]), nullptr},
                        plans[static_cast<size_t>(i)], format, view.data());
              // Values in [0, 1] after some two hundred roundings at most, in either computation, divided by
              // a stddev of at least 0.2.
              for (int64_t p = 0; p < floats; ++p)
                y[i * floats + p] = {view[static_cast<size_t>(p)], 2 * 200 * f32_roundoff / 0.2};
            }
            return {y};
          }};
}

}  // namespace

void add_image_cases(OpCases& cases) {
  cases.push_back(make_views_case({5, 9, 7, 3}, 12, 8));
  cases.push_back(make_views_case({3, 28, 28, 1}, 8, 28));
  cases.push_back(make_views_case({2, 40, 33, 3}, 6, 17));
  cases.push_back(make_views_case({2, 1, 1, 3}, 2, 5));
  cases.push_back(make_views_case({4, 6, 6, 1}, 0, 6));
}

}  // namespace la
