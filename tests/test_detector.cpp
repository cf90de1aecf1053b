// Detectors: the loss beside PyTorch, what is found, and how pictures are seen.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "autograd/functions.h"
#include "autograd/sgd.h"
#include "evaluation/detect.h"
#include "layers/detection/losses.h"
#include "layers/state_dict.h"
#include "tensor/io/safetensors.h"
#include "tensor/ops.h"
#include "tests/fixture_numbers.h"
#include "tests/op_case.h"
#include "tests/own_picture.h"
#include "tests/plain_boxes.h"

using namespace la;

namespace {

/// What PyTorch computed in double precision; the tolerance is eight times the error of its f32, which is relative to the
/// value plus a hundredth of the largest.
void check_equal(const SafetensorsFile& fixture, const std::string& name, const std::vector<float>& got) {
  CAPTURE(name);
  const auto expected = fixture.at(name).to_vector<float>();
  const double error = std::stod(fixture.metadata.at("error." + name));
  REQUIRE(got.size() == expected.size());
  double largest = 0;
  for (const float value : expected) largest = std::max<double>(largest, std::abs(value));
  for (size_t i = 0; i < got.size(); ++i) {
    CAPTURE(i);
    CHECK(std::abs(got[i] - expected[i]) <= 8 * error * (std::abs(expected[i]) + largest / 100));
  }
}

/// The fixture's detector, with its first parameters.
std::unique_ptr<Detector> detector_of(const SafetensorsFile& fixture, Device device) {
  auto detector =
      std::make_unique<Detector>(DetectorOptions{.network = {.name = "resnet8-wide", .image_size = 64},
                                                 .categories = 3,
                                                 .rpn_channels = 32,
                                                 .anchor_scales = {4, 8}});
  const std::vector<std::string> names = words_of(fixture.metadata.at("parameters"));
  const auto parameters = detector->parameters();
  REQUIRE(parameters.size() == names.size());
  for (const Module::Parameter& p : parameters) {
    const auto number = static_cast<uint64_t>(std::find(names.begin(), names.end(), p.name) - names.begin());
    REQUIRE(number < names.size());
    const Shape shape = to_torch_layout(p, p.variable->value()).shape();
    const Tensor values = p.name.starts_with("network.")
                              ? values_of(p.name, number, shape)
                              : ops::scale(Tensor::from(numbers_of(number, shape.numel()), shape), 0.05f);
    load_tensor({{p.name, values}}, p.name, p, p.variable->value());
  }
  detector->set_initialized();
  detector->to(device);
  detector->fine_tune(false);
  return detector;
}

ObjectBoxes objects_of(const SafetensorsFile& fixture, size_t picture) {
  const auto rows = fixture.at(formatted("objects.{}", picture)).to_vector<int32_t>();
  ObjectBoxes objects;
  std::vector<float> boxes;
  for (size_t i = 0; i < rows.size(); ++i)
    i % 5 == 4 ? objects.labels.push_back(rows[i] - 1) : boxes.push_back(static_cast<float>(rows[i]));
  objects.boxes = Tensor::from(boxes, {static_cast<int64_t>(objects.labels.size()), 4});
  return objects;
}

std::vector<Tensor> values_of(const std::vector<Module::Parameter>& parameters) {
  std::vector<Tensor> values;
  for (const auto& p : parameters) values.push_back(ops::copy(p.variable->value()));
  return values;
}

void check_ten_steps(const SafetensorsFile& fixture, Device device) {
  constexpr int64_t height = 64, width = 96, steps = 10;
  const auto detector = detector_of(fixture, device);
  const std::vector<std::string> names = words_of(fixture.metadata.at("parameters"));
  const auto all = detector->parameters();
  const auto in_order = [&](const auto& norm) {  // of the fixture's names
    std::vector<float> numbers(names.size());
    for (size_t i = 0; i < all.size(); ++i)
      numbers[static_cast<size_t>(std::find(names.begin(), names.end(), all[i].name) - names.begin())] =
          static_cast<float>(norm(i));
    return numbers;
  };
  auto learnt = all;
  std::erase_if(learnt, [](const auto& p) { return !p.variable->requires_grad(); });
  Sgd sgd(learnt, {.momentum = 0.9f, .weight_decay = 1e-4f});
  sgd.set_learning_rate(std::stof(fixture.metadata.at("rate")));
  const std::vector<Tensor> before = values_of(all);
  std::vector<float> losses;
  for (size_t step = 0; step < steps; ++step) {
    const size_t picture = step % 3;
    const Shape shape{1, height, width, 3};
    const Tensor pixels = Tensor::from(numbers_of(10001 + picture, shape.numel()), shape, device);
    const DetectionLosses l =
        detection_losses(*detector, pixels, height, width, objects_of(fixture, picture),
                         {.proposals = {.most = 50}, .regions = {.count = 32}}, choose_first);
    for (const Variable& loss : {l.anchor_class, l.anchor_box, l.region_class, l.region_box})
      losses.push_back(loss.value().item());
    backward(l.sum());
    if (step == 0)
      check_equal(fixture, "gradient_norms", in_order([&](size_t i) {
                    return all[i].variable->requires_grad() ? norm_of(all[i].variable->grad()) : 0.0;
                  }));
    sgd.step();
  }
  check_equal(fixture, "losses", losses);
  check_equal(fixture, "norms", in_order([&](size_t i) { return norm_of(all[i].variable->value()); }));
  check_equal(fixture, "changes", in_order([&](size_t i) {
                return norm_of(ops::subtract(all[i].variable->value(), before[i]));
              }));
}

}  // namespace

namespace {

/// Of the fixture's first picture.
DetectionLosses first_losses(Detector& detector, const ObjectBoxes& objects, Device device,
                             DType dtype = DType::f32) {
  const Shape shape{1, 64, 96, 3};
  const Tensor pixels = Tensor::from(numbers_of(10001, shape.numel()), shape, device);
  return detection_losses(detector, ops::cast(pixels, dtype), 64, 96, objects,
                          {.proposals = {.most = 50}, .regions = {.count = 32}}, choose_first);
}

}  // namespace

TEST_CASE("ten steps of training a detector are those of PyTorch" * doctest::test_suite("training")) {
  const SafetensorsFile fixture = read_safetensors("tests/fixtures/detector.safetensors");
  for (const Device device : available_devices()) check_ten_steps(fixture, device);
}

TEST_CASE("a detector computes in bf16 what it computes in f32" * doctest::test_suite("training")) {
  const SafetensorsFile fixture = read_safetensors("tests/fixtures/detector.safetensors");
  for (const Device device : available_devices()) {
    const auto detector = detector_of(fixture, device);
    const ObjectBoxes objects = objects_of(fixture, 0);
    const DetectionLosses exact = first_losses(*detector, objects, device),
                          rounded = first_losses(*detector, objects, device, DType::bf16);
    // The anchors that are chosen do not depend on what the network says; regions do. Eight layers round by 2^-9 each.
    CHECK(rounded.anchor_class.value().item() ==
          doctest::Approx(exact.anchor_class.value().item()).epsilon(8 * 0x1p-9));
    CHECK(std::isfinite(rounded.sum().value().item()));
    backward(rounded.sum());
  }
}

TEST_CASE("a backbone's frozen weights stay as they are, its batch norm learns") {
  Detector detector({.network = {.name = "resnet8-wide", .image_size = 32}, .categories = 2});
  detector.initialize(1);
  detector.fine_tune(false);
  const std::set<std::string> frozen{"network.conv1.weight", "network.layer1.0.conv1.weight",
                                     "network.layer1.0.conv2.weight"};
  auto learnt = detector.parameters();
  std::erase_if(learnt, [](const auto& p) { return !p.variable->requires_grad(); });
  Sgd sgd(learnt, {});
  sgd.set_learning_rate(0.1f);
  const std::vector<Tensor> before = values_of(detector.parameters());
  backward(sum(detector.map(Variable(ops::random_normal({1, 32, 32, 3}, {.seed = 3})))));
  sgd.step();
  const auto after = detector.parameters();
  size_t seen = 0;
  for (size_t i = 0; i < after.size(); ++i) {
    const bool changed = after[i].variable->value().to_vector<float>() != before[i].to_vector<float>();
    if (frozen.contains(after[i].name)) CHECK(!changed);
    if (after[i].name == "network.bn1.weight" || after[i].name == "network.layer2.0.conv1.weight")
      CHECK(changed);
    seen += frozen.contains(after[i].name) || changed;
  }
  CHECK(seen > frozen.size() + 2);
}

namespace {

double clipped(double x, double limit) { return std::min(std::max(x, 0.0), limit); }

/// Greedy suppression of boxes with equal scores: the earlier one is kept. Sides are x2 - x1 + extent.
std::vector<PlainBox> suppressed(const std::vector<PlainBox>& boxes, double threshold, double extent,
                                 size_t most) {
  std::vector<PlainBox> kept;
  for (PlainBox box : boxes) {
    PlainBox wide = box;
    for (size_t axis : {2, 3}) wide[axis] += extent - 1;  // for overlap(), which adds 1
    const bool is_free = std::all_of(kept.begin(), kept.end(), [&](PlainBox other) {
      for (size_t axis : {2, 3}) other[axis] += extent - 1;
      return overlap(wide, other) <= threshold;
    });
    if (is_free && kept.size() < most) kept.push_back(box);
  }
  return kept;
}

}  // namespace

TEST_CASE("what a detector finds is what its heads say of its proposals") {
  // Heads without weights say the same of every region; the proposals are the anchors.
  TrainedDetector d;
  d.options = {.network = {.name = "resnet8-wide", .image_size = 32},
               .categories = 2,
               .rpn_channels = 8,
               .anchor_scales = {4},
               .anchor_ratios = {1}};
  d.module = std::make_unique<Detector>(d.options);
  d.module->initialize(1);
  d.module->set_training(false);
  const std::vector<float> scores{0.5f, 1.0f, 2.0f}, codes{0, 0, 0, 0, 1, -2, 0.5f, 0, 0, 4, 0, -1};
  for (const auto& p : d.module->parameters()) {
    Tensor value = p.variable->value();
    if (p.name == "score.bias")
      value.copy_from_host(scores.data());
    else if (p.name == "box.bias")
      value.copy_from_host(codes.data());
    else if (!p.name.starts_with("network."))
      ops::fill(value, 0.0f);
  }
  d.view.short_side = d.view.long_side = 64;
  d.view.format.stddev = {1, 1, 1};
  const OwnPicture own(40, 40, 3, 6);  // seen as 64 x 64
  const std::vector<Detection> found =
      find_objects(d, own.picture, 7, {.proposals = {.most = 20}, .most = 30});

  constexpr double scale = 64.0 / 40;
  std::vector<PlainBox> boxes = plain(anchors(16, 16, d.module->anchor_options()));
  for (PlainBox& box : boxes)  // decoded corners are a whole width apart, as in py-faster-rcnn, not one less
    for (size_t i = 0; i < 4; ++i) box[i] = clipped(box[i] + (i < 2 ? 0 : 1), 63);
  const std::vector<PlainBox> proposals = suppressed(boxes, 0.7, 0, 20);
  REQUIRE(proposals.size() == 20);
  std::vector<Detection> expected;
  const double sum = std::exp(0.5) + std::exp(1) + std::exp(2);
  for (const int category : {1, 0}) {  // the likelier one first
    std::vector<PlainBox> own_boxes;
    const float* const code = codes.data() + 4 * (category + 1);
    for (const PlainBox& p : proposals) {
      const double width = (p[2] - p[0]) / scale + 1, height = (p[3] - p[1]) / scale + 1;
      const double x = p[0] / scale + width / 2 + code[0] / 10 * width,
                   y = p[1] / scale + height / 2 + code[1] / 10 * height;
      const double w = width * std::exp(code[2] / 5) / 2, h = height * std::exp(code[3] / 5) / 2;
      own_boxes.push_back({clipped(x - w, 39), clipped(y - h, 39), clipped(x + w, 39), clipped(y + h, 39)});
    }
    for (const PlainBox& b : suppressed(own_boxes, 0.3, 1, 30))
      expected.push_back({7,
                          category,
                          static_cast<float>(std::exp(category + 1) / sum),
                          {static_cast<float>(b[0]), static_cast<float>(b[1]), static_cast<float>(b[2] + 1),
                           static_cast<float>(b[3] + 1)}});
  }
  REQUIRE(expected.size() > 4);
  REQUIRE(found.size() == expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    CAPTURE(i);
    CHECK(found[i].picture == 7);
    CHECK(found[i].category == expected[i].category);
    CHECK(found[i].score == doctest::Approx(expected[i].score).epsilon(1e-5));
    for (const auto edge : {&Box::left, &Box::top, &Box::right, &Box::bottom})
      CHECK(std::abs(found[i].box.*edge - expected[i].box.*edge) < 1e-4);
  }
}

TEST_CASE("AlexNet and VGG16 make detectors") {
  for (const auto& [name, size] : {std::pair{"original-alexnet", 95}, {"vgg16", 64}}) {
    CAPTURE(name);
    Detector detector({.network = {.name = name, .image_size = size},
                       .categories = 2,
                       .rpn_channels = 8,
                       .anchor_scales = {2},
                       .anchor_ratios = {1}});
    detector.initialize(1);
    detector.fine_tune(false);
    const OwnPicture own(96, 70, 3, 4);
    DetectorView view;
    view.short_side = view.long_side = 96;
    view.format.stddev = {1, 1, 1};
    const DetectorInput input = make_detector_input(own.picture, view, detector.network().layout());
    const ObjectBoxes objects{Tensor::from(std::vector<float>{10, 20, 50, 60}, {1, 4}), {1}};
    const DetectionLosses losses = detection_losses(detector, input.pixels, input.height, input.width,
                                                    objects, {.regions = {.count = 4}}, choose_first);
    CHECK(std::isfinite(losses.sum().value().item()));
    backward(losses.sum());
    const OwnPicture strip(2, 3000, 3, 5);  // there is a map of a picture without height too
    const DetectorInput narrow = make_detector_input(strip.picture, view, detector.network().layout());
    const NoGrad no_grad;
    CHECK(detector.map(Variable(narrow.pixels)).shape()[1] >= 1);
  }
}

TEST_CASE("an object that no region shows has no loss of boxes" * doctest::test_suite("training")) {
  const SafetensorsFile fixture = read_safetensors("tests/fixtures/detector.safetensors");
  for (const Device device : available_devices()) {
    const auto detector = detector_of(fixture, device);
    const ObjectBoxes speck{Tensor::from(std::vector<float>{90, 60, 91, 60}, {1, 4}), {0}};
    const DetectionLosses losses = first_losses(*detector, speck, device);
    CHECK(losses.region_box.value().item() == 0.0f);
    CHECK(losses.region_class.value().item() > 0.0f);
    backward(losses.sum());
  }
}

TEST_CASE("a detector sees a picture whole, in the size that was asked for") {
  const BackboneLayout plain_layout{.stride = 16}, with_border{.stride = 16, .border = 9};
  const OwnPicture wide(375, 500, 3, 1), long_one(100, 1000, 3, 2);
  DetectorView view;
  view.format.mean = {0.5f, 0.25f, 0.0f};
  view.format.stddev = {0.5f, 0.25f, 1.0f};
  const DetectorInput input = make_detector_input(wide.picture, view, plain_layout);
  CHECK(input.height == 600);
  CHECK(input.width == 800);
  CHECK(input.scale == 1.6f);
  CHECK(input.pixels.shape() == Shape{1, 608, 800, 3});
  const DetectorInput narrow = make_detector_input(long_one.picture, view, with_border);
  CHECK(narrow.height == 100);  // longer side at most 1000
  CHECK(narrow.pixels.shape() == Shape{1, 128, 1024, 3});

  // Whole pixels are as they were, behind the border; the mirror image has them from the other side.
  view.short_side = 100;
  for (const bool flip : {false, true}) {
    const DetectorInput same = make_detector_input(long_one.picture, view, with_border, flip);
    const auto* const pixels = same.pixels.data<float>();
    const auto at = [&](int64_t y, int64_t x, int64_t c) { return pixels[(y * 1024 + x) * 3 + c]; };
    CHECK(at(8, 500, 0) == 0.0f);
    CHECK(at(20, 8, 1) == 0.0f);
    CHECK(at(9 + 100, 500, 2) == 0.0f);
    for (const auto& [y, x] : {std::pair{0, 0}, {99, 999}, {40, 123}})
      for (int c = 0; c < 3; ++c) {
        const float value =
            static_cast<float>(long_one.pixels[static_cast<size_t>((y * 1000 + x) * 3 + c)]) / 255;
        const float expected =
            (value - view.format.mean[static_cast<size_t>(c)]) / view.format.stddev[static_cast<size_t>(c)];
        CHECK(at(9 + y, 9 + (flip ? 999 - x : x), c) == doctest::Approx(expected).epsilon(1e-5));
      }
  }
}

TEST_CASE("objects lie in the input where they lie in the picture") {
  AnnotatedPicture picture{.name = "a", .file = "a.png", .width = 100, .height = 50};
  picture.objects = {{.box = {10, 5, 30, 25}, .category = 3},
                     {.box = {0, 0, 9, 9}, .category = 1, .difficult = true},
                     {.box = {50, 20, 100, 50}, .category = 0}};
  DetectorInput input;
  input.scale = 2;
  const ObjectBoxes objects = objects_in(picture, input);
  CHECK(objects.labels == std::vector<int32_t>{3, 0});
  // Pixels 10 to 29, each two pixels wide: as the original scales them, the last one is not.
  CHECK(objects.boxes.to_vector<float>() == std::vector<float>{20, 10, 58, 48, 100, 40, 198, 98});
  const ObjectBoxes mirrored = objects_in(picture, input, true);
  CHECK(mirrored.boxes.to_vector<float>() == std::vector<float>{140, 10, 178, 48, 0, 40, 98, 98});
}
