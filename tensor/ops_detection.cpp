// The ops of object detection: checks, outputs, calls.
#include <algorithm>

#include "tensor/backend.h"
#include "tensor/ops.h"
#include "tensor/ops_checks.h"

namespace la::ops {
namespace {

/// Rows of 4 numbers, f32.
void check_boxes(const char* op, const char* name, const Tensor& t) {
  check_dtype(op, name, t, DType::f32);
  check(t.rank() == 2 && t.size(1) == 4, "{}: {} has shape {}, expected [R, 4]", op, name, t.shape());
}

/// Rows of a multiple of 4 numbers.
void check_rows_of_boxes(const char* op, const char* name, const Tensor& t) {
  check_dtype(op, name, t, DType::f32);
  check(t.rank() == 2 && t.size(1) % 4 == 0, "{}: {} has shape {}, expected [R, a multiple of 4]", op, name,
        t.shape());
}

void check_extent(const char* op, float extent) {
  check(extent >= 0.0f, "{}: extent is {}, expected at least 0", op, extent);
}

void check_coding(const char* op, const BoxCoding& coding) {
  for (float weight : coding.weights)
    check(weight > 0.0f, "{}: a weight of {}, expected more than 0", op, weight);
  check_extent(op, coding.extent);
}

void check_regions(const char* op, const Shape& x_shape, const Tensor& x, const Tensor& boxes,
                   const Tensor& pictures, const RegionGrid& grid) {
  check(x_shape.rank() == 4, "{}: x has shape {}, expected 4 dimensions", op, x_shape);
  check(x_shape[1] >= 1 && x_shape[2] >= 1, "{}: x has shape {}, expected pixels", op, x_shape);
  check_boxes(op, "boxes", boxes);
  check_dtype(op, "pictures", pictures, DType::i32);
  check_shape(op, "pictures", pictures, {boxes.size(0)});
  check_same_device(op, boxes, x);
  check_same_device(op, pictures, x);
  check(grid.height >= 1 && grid.width >= 1, "{}: a grid of {} x {} cells, expected at least 1 x 1", op,
        grid.height, grid.width);
  check(grid.spatial_scale > 0.0f, "{}: spatial_scale is {}, expected more than 0", op, grid.spatial_scale);
  check(grid.sampling_ratio >= 0, "{}: sampling_ratio is {}, expected at least 0", op, grid.sampling_ratio);
}

Shape cells(const Tensor& boxes, const RegionGrid& grid, const Shape& x_shape) {
  return {boxes.size(0), grid.height, grid.width, x_shape[3]};
}

}  // namespace

Tensor sample_regions(const Tensor& x, const Tensor& boxes, const Tensor& pictures, const RegionGrid& grid) {
  constexpr const char* op = "sample_regions";
  check_float(op, "x", x);
  check_regions(op, x.shape(), x, boxes, pictures, grid);
  Tensor y(cells(boxes, grid, x.shape()), x.dtype(), x.device());
  backend(x.device()).sample_regions(x, boxes, pictures, grid, y);
  return y;
}

Tensor sample_regions_backward(const Tensor& dy, const Tensor& boxes, const Tensor& pictures,
                               const Shape& x_shape, const RegionGrid& grid) {
  constexpr const char* op = "sample_regions_backward";
  check_float(op, "dy", dy);
  check_regions(op, x_shape, dy, boxes, pictures, grid);
  check_shape(op, "dy", dy, cells(boxes, grid, x_shape));
  Tensor dx(x_shape, dy.dtype(), dy.device());
  backend(dy.device()).sample_regions_backward(dy, boxes, pictures, grid, dx);
  return dx;
}

KeptBoxes nms(const Tensor& boxes, const Tensor& scores, const NmsOptions& options) {
  constexpr const char* op = "nms";
  check_boxes(op, "boxes", boxes);
  check_dtype(op, "scores", scores, DType::f32);
  check_shape(op, "scores", scores, {boxes.size(0)});
  check_same_device(op, scores, boxes);
  check(options.iou_threshold >= 0.0f && options.iou_threshold <= 1.0f,
        "{}: iou_threshold is {}, expected 0 to 1", op, options.iou_threshold);
  check(options.most >= 1, "{}: at most {} boxes, expected at least 1", op, options.most);
  check_extent(op, options.extent);
  KeptBoxes out{Tensor({std::min(options.most, boxes.size(0))}, DType::i32, boxes.device()),
                Tensor({1}, DType::i32, boxes.device())};
  fill(out.indices, -1.0f);
  fill(out.count, 0.0f);
  if (boxes.size(0) > 0) backend(boxes.device()).nms(boxes, scores, options, out);
  return out;
}

Tensor encode_boxes(const Tensor& anchors, const Tensor& boxes, const BoxCoding& coding) {
  constexpr const char* op = "encode_boxes";
  check_boxes(op, "anchors", anchors);
  check_alike(op, boxes, anchors);
  check_coding(op, coding);
  Tensor codes(boxes.shape(), DType::f32, boxes.device());
  backend(boxes.device()).encode_boxes(anchors, boxes, coding, codes);
  return codes;
}

Tensor decode_boxes(const Tensor& anchors, const Tensor& codes, const BoxCoding& coding) {
  constexpr const char* op = "decode_boxes";
  check_boxes(op, "anchors", anchors);
  check_rows_of_boxes(op, "codes", codes);
  check(codes.size(0) == anchors.size(0), "{}: codes {} for anchors {}, expected as many rows", op,
        codes.shape(), anchors.shape());
  check_same_device(op, codes, anchors);
  check_coding(op, coding);
  Tensor boxes(codes.shape(), DType::f32, codes.device());
  backend(codes.device()).decode_boxes(anchors, codes, coding, boxes);
  return boxes;
}

Tensor clip_boxes(const Tensor& boxes, float width, float height) {
  constexpr const char* op = "clip_boxes";
  check_rows_of_boxes(op, "boxes", boxes);
  check(width >= 0.0f && height >= 0.0f, "{}: a picture of {} x {}, expected at least 0", op, width, height);
  Tensor y(boxes.shape(), DType::f32, boxes.device());
  backend(boxes.device()).clip_boxes(boxes, width, height, y);
  return y;
}

Tensor box_iou(const Tensor& a, const Tensor& b, float extent) {
  constexpr const char* op = "box_iou";
  check_boxes(op, "a", a);
  check_boxes(op, "b", b);
  check_same_device(op, a, b);
  check_extent(op, extent);
  Tensor y({a.size(0), b.size(0)}, DType::f32, a.device());
  backend(a.device()).box_iou(a, b, extent, y);
  return y;
}

namespace {

void check_smooth_l1(const char* op, const Tensor& x, const Tensor& inside, const Tensor& outside,
                     float sigma) {
  check_dtype(op, "x", x, DType::f32);
  if (inside.defined()) check_alike(op, inside, x);
  if (outside.defined()) check_alike(op, outside, x);
  check(sigma > 0.0f, "{}: sigma is {}, expected more than 0", op, sigma);
}

}  // namespace

Tensor smooth_l1(const Tensor& x, const Tensor& inside, const Tensor& outside, float sigma) {
  check_smooth_l1("smooth_l1", x, inside, outside, sigma);
  Tensor y(x.shape(), DType::f32, x.device());
  backend(x.device()).smooth_l1(x, inside, outside, sigma, y);
  return y;
}

Tensor smooth_l1_backward(const Tensor& dy, const Tensor& x, const Tensor& inside, const Tensor& outside,
                          float sigma) {
  check_smooth_l1("smooth_l1_backward", x, inside, outside, sigma);
  check_alike("smooth_l1_backward", dy, x);
  Tensor dx(x.shape(), DType::f32, x.device());
  backend(x.device()).smooth_l1_backward(dy, x, inside, outside, sigma, dx);
  return dx;
}

}  // namespace la::ops
