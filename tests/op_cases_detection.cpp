// Cases of the ops of object detection.
#include "tensor/format.h"
#include "tensor/ops.h"
#include "tests/op_case.h"

namespace la {
namespace {

/// Boxes whose corners lie in these intervals, as often as not without an area.
Input random_boxes(int64_t count, float low, float middle, float high) {
  return {{count, 4}, DType::f32, [=](int64_t i, RandomGenerator& random) {
            return i % 4 < 2 ? random.uniform(low, middle) : random.uniform(0.8f * middle, high);
          }};
}
/// Boxes with whole numbers as corners, whose areas f32 computes exactly.
Input whole_boxes(int64_t count, uint32_t most) {
  return {{count, 4}, DType::f32, [=](int64_t i, RandomGenerator& random) {
            return random.below(most) + (i % 4 < 2 ? 0.0 : most / 2.0);
          }};
}

std::string describe(const RegionGrid& g) {
  return formatted("{}x{} scale={} {} ratio={} aligned={}", g.height, g.width, g.spatial_scale,
                   g.samples == RegionGrid::Samples::at_corners ? "at_corners" : "in_cells", g.sampling_ratio,
                   g.aligned);
}

OpCase sample_regions_case(const Shape& x, DType dtype, const Input& boxes, const RegionGrid& grid) {
  return {
      .op = "sample_regions",
      .options = describe(grid),
      .inputs = {normal(x, dtype), boxes, below({boxes.shape[0]}, x[0])},
      .run = [=](const Tensors& in) -> Tensors { return {ops::sample_regions(in[0], in[1], in[2], grid)}; },
      .reference = [=](const Arrays& in) -> Arrays {
        return {reference::sample_regions(in[0], in[1], in[2], grid)};
      }};
}

OpCase sample_regions_backward_case(const Shape& x, DType dtype, const Input& boxes, const RegionGrid& grid) {
  return {.op = "sample_regions_backward",
          .options = describe(grid),
          .inputs = {normal({boxes.shape[0], grid.height, grid.width, x[3]}, dtype), boxes,
                     below({boxes.shape[0]}, x[0]), normal(x, dtype)},
          .run = [=](const Tensors& in) -> Tensors {
            return {ops::sample_regions_backward(in[0], in[1], in[2], x, grid)};
          },
          .reference = [=](const Arrays& in) -> Arrays {
            return {reference::sample_regions_backward(in[0], in[1], in[2], x, grid)};
          },
          .gradient = {[=](const Arrays& in) { return reference::sample_regions(in[3], in[1], in[2], grid); },
                       {3}}};
}

void add_region_cases(OpCases& cases) {
  constexpr auto in_cells = RegionGrid::Samples::in_cells;
  const RegionGrid grids[] = {{7, 7},
                              {1, 3, 0.5f},
                              {14, 2, 1.0f / 16},
                              {7, 7, 1, in_cells, 2, true},
                              {3, 5, 0.25f, in_cells, 0, false},
                              {2, 1, 1, in_cells, 0, true},
                              {1, 1, 1, in_cells, 3, false}};
  for (DType dtype : {DType::f32, DType::bf16})
    for (const RegionGrid& grid : grids)
      for (const Shape& x : {Shape{2, 9, 13, 5}, Shape{1, 1, 1, 64}, Shape{3, 11, 6, 40}}) {
        // From some pixels outside on one side to some outside on the other.
        const float high = static_cast<float>(x[1]) + 3, unit = 1 / grid.spatial_scale;
        const Input boxes = random_boxes(6, -2.5f * unit, 0.5f * high * unit, high * unit);
        cases.push_back(sample_regions_case(x, dtype, boxes, grid));
        cases.push_back(sample_regions_backward_case(x, dtype, boxes, grid));
      }
  // The whole picture: the last sample is the last pixel, and not beyond.
  const Input whole{{1, 4}, DType::f32, [](int64_t i, RandomGenerator&) { return i < 2 ? 0.0 : 10.0; }};
  cases.push_back(sample_regions_case({1, 11, 11, 4}, DType::f32, whole, {7, 7}));
  cases.push_back(sample_regions_backward_case({1, 11, 11, 300}, DType::f32, whole, {7, 7}));
  cases.push_back(sample_regions_case({2, 5, 5, 4}, DType::f32, random_boxes(0, 0, 1, 2), {2, 2}));
  cases.push_back(sample_regions_backward_case({2, 5, 5, 4}, DType::f32, random_boxes(0, 0, 1, 2), {2, 2}));
  for (OpCase one :
       {sample_regions_case({2, 38, 50, 1024}, DType::f32, random_boxes(256, 0, 20, 38), {7, 7}),
        sample_regions_backward_case({2, 38, 50, 1024}, DType::f32, random_boxes(256, 0, 20, 38), {7, 7})}) {
    one.only_timed = true;
    cases.push_back(one);
  }
}

OpCase nms_case(const Input& boxes, const Input& scores, const NmsOptions& options) {
  return {.op = "nms",
          .options = formatted("iou_threshold={} most={} extent={}", options.iou_threshold, options.most,
                               options.extent),
          .inputs = {boxes, scores},
          .run = [=](const Tensors& in) -> Tensors {
            const KeptBoxes kept = ops::nms(in[0], in[1], options);
            return {kept.indices, kept.count};
          },
          .reference = [=](const Arrays& in) { return reference::nms(in[0], in[1], options); }};
}

void add_nms_cases(OpCases& cases) {
  for (int64_t n : {1, 64, 65, 200, 1300})
    for (const NmsOptions& options : {NmsOptions{.iou_threshold = 0.5f},
                                      {.iou_threshold = 0.7f, .most = 70, .extent = 1},
                                      {.iou_threshold = 0.0f, .extent = 1},
                                      {.iou_threshold = 1.0f, .most = 64}}) {
      cases.push_back(nms_case(whole_boxes(n, 60), coarse({n}), options));
      cases.push_back(nms_case(whole_boxes(n, 20), normal({n}), options));
    }
  cases.push_back(nms_case(constant({90, 4}, 0), coarse({90}), {.extent = 1}));  // all the same
  cases.push_back(nms_case(constant({90, 4}, 0), coarse({90}), {}));             // no areas
  cases.push_back(nms_case(whole_boxes(0, 9), coarse({0}), {}));
  OpCase timed = nms_case(random_boxes(12000, 0, 500, 600), normal({12000}), {.most = 12000});
  timed.only_timed = true;
  cases.push_back(timed);
}

OpCase encode_case(int64_t n, const BoxCoding& coding) {
  return {.op = "encode_boxes",
          .options = formatted("extent={}", coding.extent),
          .inputs = {uniform({n, 4}, 0, 1), uniform({n, 4}, 0, 1)},
          .run = [=](const Tensors& in) -> Tensors { return {ops::encode_boxes(in[0], in[1], coding)}; },
          .reference = [=](const Arrays& in) -> Arrays {
            return {reference::encode_boxes(in[0], in[1], coding)};
          }};
}

OpCase decode_case(int64_t n, int64_t each, const BoxCoding& coding) {
  return {.op = "decode_boxes",
          .options = formatted("extent={} most_log_ratio={}", coding.extent, coding.most_log_ratio),
          .inputs = {uniform({n, 4}, 0, 90), normal({n, 4 * each})},
          .run = [=](const Tensors& in) -> Tensors { return {ops::decode_boxes(in[0], in[1], coding)}; },
          .reference = [=](const Arrays& in) -> Arrays {
            return {reference::decode_boxes(in[0], in[1], coding)};
          }};
}

OpCase clip_case(const Shape& shape, float width, float height) {
  return {.op = "clip_boxes",
          .inputs = {normal(shape, DType::f32, 10)},
          .run = [=](const Tensors& in) -> Tensors { return {ops::clip_boxes(in[0], width, height)}; },
          .reference = [=](const Arrays& in) -> Arrays {
            Array y = in[0];
            for (int64_t i = 0; i < y.numel(); ++i)
              y[i] = std::clamp(y[i].value, 0.0, static_cast<double>(i % 2 == 0 ? width : height));
            return {y};
          }};
}

OpCase iou_case(int64_t a, int64_t b, float extent) {
  return {
      .op = "box_iou",
      .options = formatted("extent={}", extent),
      .inputs = {random_boxes(a, 0, 50, 90), random_boxes(b, 0, 50, 90)},
      .run = [=](const Tensors& in) -> Tensors { return {ops::box_iou(in[0], in[1], extent)}; },
      .reference = [=](const Arrays& in) -> Arrays { return {reference::box_iou(in[0], in[1], extent)}; }};
}

Bounded weight_of(const Arrays& in, size_t which, int64_t i) {
  return in.size() > which ? in[which][i] : Bounded(1);
}

Array smooth_l1_reference(const Arrays& in, size_t x, float sigma) {
  Array y(in[x].shape);
  for (int64_t i = 0; i < y.numel(); ++i)
    y[i] = weight_of(in, x + 2, i) * reference::smooth_l1(weight_of(in, x + 1, i) * in[x][i], sigma);
  return y;
}

/// x and perhaps its weights; before them, for the backward pass, dy.
void add_smooth_l1(int64_t n, bool weighted, float sigma, OpCases& cases) {
  std::vector<Input> inputs{normal({n})};
  if (weighted) inputs.insert(inputs.end(), {normal({n}), uniform({n}, 0, 1)});
  const auto tensor = [](const Tensors& in, size_t i) { return in.size() > i ? in[i] : Tensor(); };
  const std::string options = formatted("sigma={}", sigma);
  cases.push_back(
      {.op = "smooth_l1",
       .options = options,
       .inputs = inputs,
       .run = [=](const Tensors& in) -> Tensors {
         return {ops::smooth_l1(in[0], tensor(in, 1), tensor(in, 2), sigma)};
       },
       .reference = [=](const Arrays& in) -> Arrays { return {smooth_l1_reference(in, 0, sigma)}; }});
  inputs.insert(inputs.begin(), normal({n}));
  cases.push_back({.op = "smooth_l1_backward",
                   .options = options,
                   .inputs = inputs,
                   .run = [=](const Tensors& in) -> Tensors {
                     return {ops::smooth_l1_backward(in[0], in[1], tensor(in, 2), tensor(in, 3), sigma)};
                   },
                   .reference = [=](const Arrays& in) -> Arrays {
                     Array dx(in[1].shape);
                     for (int64_t i = 0; i < dx.numel(); ++i) {
                       const Bounded inside = weight_of(in, 2, i);
                       dx[i] = in[0][i] * weight_of(in, 3, i) * inside *
                               reference::smooth_l1_slope(inside * in[1][i], sigma);
                     }
                     return {dx};
                   },
                   .gradient = {[=](const Arrays& in) { return smooth_l1_reference(in, 1, sigma); }, {1}}});
}

}  // namespace

void add_detection_cases(OpCases& cases) {
  add_region_cases(cases);
  add_nms_cases(cases);
  for (int64_t n : {0, 1, 37, 2000}) {
    cases.push_back(encode_case(n, {.weights = {10, 10, 5, 5}, .extent = 1}));
    cases.push_back(decode_case(n, 1, {}));
    cases.push_back(decode_case(n, 3, {.weights = {10, 10, 5, 5}, .extent = 1, .most_log_ratio = 0.125f}));
    cases.push_back(clip_case({n, 8}, 9, 5));
    for (float extent : {0.0f, 1.0f}) cases.push_back(iou_case(n, 33, extent));
    for (float sigma : {1.0f, 3.0f})
      for (bool weighted : {false, true}) add_smooth_l1(n, weighted, sigma, cases);
  }
}

}  // namespace la
