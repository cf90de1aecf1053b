// Object detection against torchvision (tests/make_detection_fixtures.py wrote what it computes), anchors,
// and batch norm whose statistics are frozen.
#include <doctest/doctest.h>

#include <cmath>

#include "autograd/functions.h"
#include "layers/detection/anchors.h"
#include "layers/layers.h"
#include "layers/onnx/onnx.h"
#include "tensor/io/safetensors.h"
#include "tensor/ops.h"
#include "tests/op_case.h"
#include "tests/with_threads.h"

using namespace la;

namespace {

const SafetensorsFile& torchvision() {
  static const SafetensorsFile file = read_safetensors("tests/fixtures/detection.safetensors");
  return file;
}

/// The tolerance is eight times the error of torchvision's f32, and at least eight roundings of the largest
/// element, for a smaller error was luck.
void check_equal(const std::string& name, const Tensor& got) {
  CAPTURE(name);
  const Tensor& expected = torchvision().at(name);
  REQUIRE(got.shape() == expected.shape());
  const auto values = got.to_vector<float>(), exact = expected.to_vector<float>();
  double largest = 0, worst = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(exact[i])));
    const double difference = std::abs(static_cast<double>(values[i]) - exact[i]);
    if (!(difference <= worst)) worst = difference;
  }
  const double error = std::stod(torchvision().metadata.at("error." + name));
  CHECK(worst <= std::max(8 * error, 8 * 0x1p-24 * largest));
}

void check_roi_align(const std::string& name, float scale, int ratio, bool aligned, Device device) {
  const auto input = [&](const char* key) { return torchvision().at(key).to(device); };
  const RegionGrid grid{5, 5, scale, RegionGrid::Samples::in_cells, ratio, aligned};
  const Tensor x = input("x"), regions = input("regions"), pictures = input("pictures");
  check_equal("roi_align." + name, ops::sample_regions(x, regions, pictures, grid));
  check_equal("roi_align." + name + ".dx",
              ops::sample_regions_backward(input("dy"), regions, pictures, x.shape(), grid));
}

/// The indices that are kept, without those behind the last.
std::vector<int32_t> kept_by(const Tensor& boxes, const Tensor& scores, const NmsOptions& options) {
  const KeptBoxes kept = ops::nms(boxes, scores, options);
  auto indices = kept.indices.to_vector<int32_t>();
  indices.resize(static_cast<size_t>(kept.count.to_vector<int32_t>()[0]));
  return indices;
}

struct Detector : Module {
  Tensor boxes = Tensor::from(std::vector<float>{0, 0, 3, 3}, {1, 4}),
         pictures = Tensor::zeros({1}, DType::i32);
  Variable forward(const Variable& x) override {
    return reshape(roi_align(x, boxes, pictures, 2), {x.shape()[0], -1});
  }
};

}  // namespace

TEST_CASE("detection: regions, boxes and suppression are torchvision's" * doctest::test_suite("devices")) {
  for (Device device : available_devices()) {
    check_roi_align("fixed", 1.0f, 2, true, device);
    check_roi_align("adaptive", 0.5f, 0, false, device);
    check_roi_align("adaptive_aligned", 0.25f, 0, true, device);
    const auto input = [&](const char* key) { return torchvision().at(key).to(device); };
    const Tensor boxes = input("boxes"), anchors = input("anchors");
    const BoxCoding coding{.weights = {10, 10, 5, 5}, .most_log_ratio = std::log(1000.0f / 16)};
    check_equal("encoded", ops::encode_boxes(anchors, boxes, coding));
    check_equal("decoded", ops::decode_boxes(anchors, input("codes"), coding));
    check_equal("clipped", ops::clip_boxes(boxes, 30, 40));
    check_equal("iou", ops::box_iou(boxes, anchors));
    for (const char* threshold : {"0.3", "0.7"})
      CHECK(kept_by(boxes, input("scores"), {.iou_threshold = std::stof(threshold)}) ==
            torchvision().at(std::string("nms.") + threshold).to_vector<int32_t>());
  }
}

TEST_CASE("detection: of no rows there is nothing" * doctest::test_suite("devices")) {
  for (Device device : available_devices()) {
    const Tensor table = ops::random_normal({5, 4}, {.seed = 1}, device);
    const Tensor none = Tensor::from(std::vector<int32_t>{}, {0}, device),
                 no_boxes = Tensor::zeros({0, 4}, DType::f32, device);
    Variable codes(table, true);
    const Variable chosen = gather_rows(codes, none);
    CHECK(chosen.shape() == Shape{0, 4});
    const Variable loss = sum(smooth_l1(chosen, no_boxes));
    CHECK(loss.value().item() == 0.0f);
    backward(loss);
    for (const float value : codes.grad().to_vector<float>()) CHECK(value == 0.0f);
    CHECK(ops::encode_boxes(no_boxes, no_boxes).shape() == Shape{0, 4});
  }
}

TEST_CASE("detection: results do not depend on the number of threads") {
  const Tensor corners = ops::random_uniform({3000, 2}, 0, 300, {.seed = 1}),
               sides = ops::random_uniform({3000, 2}, 5, 80, {.seed = 2});
  const Tensor ends = ops::add(corners, sides), both[] = {corners, ends};
  const Tensor boxes = ops::concatenate(both, 1), scores = ops::random_normal({3000}, {.seed = 3});
  const Tensor some = boxes.rows(0, 90), pictures = ops::random_below({90}, 2, {.seed = 4}),
               dy = ops::random_normal({90, 7, 7, 300}, {.seed = 5});
  std::vector<int32_t> kept;
  std::vector<float> dx;
  for (int threads : {1, 2, 3, 5}) {
    const WithThreads scope(threads);
    const auto kept_now = kept_by(boxes, scores, {.iou_threshold = 0.5f, .most = 3000});
    const auto dx_now = ops::sample_regions_backward(dy, some, pictures, {2, 20, 25, 300}, {7, 7, 1.0f / 16})
                            .to_vector<float>();
    if (threads == 1) {
      kept = kept_now;
      dx = dx_now;
    }
    CHECK(kept_now == kept);
    CHECK(dx_now == dx);
  }
  CHECK(kept.size() > 500);  // so that several blocks were compared with more than a few
}

TEST_CASE("anchors are py-faster-rcnn's") {
  // Its comment lists them as MATLAB counts pixels, from 1; they are one less here.
  const std::vector<float> expected{-84, -40, 99, 55, -176, -88,  191, 103, -360, -184, 375, 199,
                                    -56, -56, 71, 71, -120, -120, 135, 135, -248, -248, 263, 263,
                                    -36, -80, 51, 95, -80,  -168, 95,  183, -168, -344, 183, 359};
  CHECK(base_anchors().to_vector<float>() == expected);
  const Tensor all = anchors(2, 3);
  REQUIRE(all.shape() == Shape{2 * 3 * 9, 4});
  const auto last = all.rows(45, 54).to_vector<float>();
  for (size_t i = 0; i < last.size(); ++i) CHECK(last[i] == expected[i] + (i % 2 == 0 ? 32.0f : 16.0f));
  CHECK_THROWS_WITH_AS(base_anchors({.ratios = {0}}), "anchors: a ratio of 0, expected more than 0", Error);
}

TEST_CASE("a frozen batch norm keeps its statistics in training, and learns weight and bias") {
  BatchNorm2d norm(3, {.frozen = true});
  norm.initialize(1);
  const Variable x(ops::random_normal({2, 4, 4, 3}, {.seed = 1}), true);
  const Variable y = norm.forward(x);
  // Mean 0 and variance 1, as it was made, whatever x has.
  const float scale = 1.0f / std::sqrt(1.0f + 1e-5f);
  CHECK(y.value().to_vector<float>()[7] == doctest::Approx(scale * x.value().to_vector<float>()[7]));
  backward(sum(y));
  for (const auto& p : norm.parameters()) CHECK(p.variable->grad().defined());
  for (const auto& b : norm.buffers())
    CHECK(b.tensor->to_vector<float>() == std::vector<float>(3, b.name.ends_with("var") ? 1.0f : 0.0f));
  norm.freeze_statistics(false);
  norm.forward(x);
  bool moved = false;
  for (const auto& b : norm.buffers()) moved = moved || b.tensor->to_vector<float>()[0] != 0.0f;
  CHECK(moved);
}

TEST_CASE("detection: ONNX export names the function that it has no form for") {
  Detector detector;
  CHECK_THROWS_WITH_AS(to_onnx(detector, {.channels = 3, .size = 4}),
                       doctest::Contains("no form for the function sample_regions"), Error);
}
