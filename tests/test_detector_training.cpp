// Training detectors, on canvases with discs, rings and crosses.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "data/loader.h"
#include "evaluation/detector_trainer.h"
#include "evaluation/stored_detector.h"
#include "layers/networks.h"
#include "tensor/io/files.h"
#include "tests/detection_world.h"
#include "tests/op_case.h"
#include "tests/temporary_folder.h"

using namespace la;

namespace {

constexpr int side = 20;
const std::vector<std::string> shapes{"disc", "ring", "cross"};

/// Whether a shape covers the point, of [-1, 1] x [-1, 1].
bool covers(int shape, float y, float x) {
  const float radius = std::sqrt(y * y + x * x);
  if (shape == 0) return radius < 0.9f;
  if (shape == 1) return radius < 0.9f && radius > 0.5f;
  return std::abs(y) < 0.25f || std::abs(x) < 0.25f;
}

std::unique_ptr<Dataset> pictures_of_shapes() {
  std::vector<uint8_t> pixels;
  for (int shape = 0; shape < 3; ++shape)
    for (int y = 0; y < side; ++y)
      for (int x = 0; x < side; ++x) {
        const auto place = [](int pixel) { return 2.0f * (static_cast<float>(pixel) + 0.5f) / side - 1; };
        pixels.push_back(covers(shape, place(y), place(x)) ? 230 : 0);
      }
  return std::make_unique<PictureArray>(Tensor::from(pixels, {3, side, side, 1}), std::vector<int>{0, 1, 2});
}

/// Where the canvases are, and what is on them.
class World {
 public:
  explicit World(int train = 12, int test = 6) {
    const DataSource pictures{.name = "shapes", .train = pictures_of_shapes(), .test = pictures_of_shapes()};
    write_detection_world(
        path(), pictures, shapes,
        {.train = train, .test = test, .size = 48, .most_objects = 2, .smallest = 0.8f, .largest = 1.2f});
  }
  std::string path() const { return folder_.file("world"); }
  DetectionData read(const std::string& set) const { return read_voc(path(), set); }

 private:
  TemporaryFolder folder_;
};

TrainedDetector new_detector(const DetectionData& data, Device device = {}) {
  Model model;
  model.checkpoint = "untrained";
  model.network = "resnet8-wide";
  model.channels = 1;
  model.view = {.size = 32, .mean = {0.5f}, .stddev = {0.25f}};
  model.module = make_network({.name = "resnet8-wide", .channels = 1, .image_size = 32});
  model.module->initialize(1);
  model.module->to(device);
  DetectorOptions options;
  options.rpn_channels = 32;
  options.anchor_scales = {5};
  options.anchor_ratios = {1};
  TrainedDetector detector = make_detector(model, options, data.categories, false, 1);
  detector.view.short_side = detector.view.long_side = 48;
  return detector;
}

DetectorTraining short_training(int64_t steps) {
  DetectorTraining training;
  training.steps = steps;
  training.learning_rate = 0.01f;
  training.loss.regions.count = 16;
  training.loss.proposals.most = 100;
  training.all_layers = true;
  return training;
}

std::vector<Detection> found_in(TrainedDetector& detector, const DetectionData& data) {
  detector.module->set_training(false);
  const auto bad = [](const std::string& line) { FAIL(line); };
  return find_objects(detector, data, {.proposals = {.most = 50}}, bad);
}

void check_same(const std::vector<NamedTensor>& a, const std::vector<NamedTensor>& b) {
  REQUIRE(a.size() == b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    CAPTURE(a[i].name);
    REQUIRE(a[i].tensor.dtype() == b[i].tensor.dtype());
    if (a[i].tensor.dtype() == DType::f32)
      CHECK(a[i].tensor.to_vector<float>() == b[i].tensor.to_vector<float>());
  }
}

/// A safetensors file in memory.
SafetensorsFile stored(const DetectorTrainer& trainer, const TrainedDetector& detector,
                       const TemporaryFolder& folder) {
  const std::string path = folder.file("detector.safetensors");
  write_safetensors(path, trainer.state(), describe_detector(detector));
  return read_safetensors(path);
}

}  // namespace

TEST_CASE("a detector learns to find shapes, and is the same when it is read again" *
          doctest::test_suite("training")) {
  const World world;
  const DetectionData data = world.read("trainval");
  REQUIRE(data.categories == std::vector<std::string>{"cross", "disc", "ring"});
  for (const Device device : available_devices()) {
    TrainedDetector detector = new_detector(data, device);
    const double before = coco_average_precision(found_in(detector, data), data, 0.5).mean;
    detector.module->set_training(true);
    DetectorTrainer trainer(detector, data, short_training(300));
    trainer.measure_statistics(10);
    while (!trainer.finished()) trainer.train_step();
    const std::vector<Detection> found = found_in(detector, data);
    const double after = coco_average_precision(found, data, 0.5).mean;
    // It has seen each of the twelve canvases a dozen times, and as often its mirror image.
    CHECK(before < 0.1);
    CHECK(after > 0.5);

    const TemporaryFolder folder;
    TrainedDetector again = load_detector(stored(trainer, detector, folder), device);
    CHECK(again.categories == data.categories);
    const std::vector<Detection> found_again = found_in(again, data);
    REQUIRE(found_again.size() == found.size());
    for (size_t i = 0; i < found.size(); ++i) {
      CHECK(found_again[i].score == found[i].score);
      CHECK(found_again[i].box == found[i].box);
    }
  }
}

TEST_CASE("a detector's training goes on to the same bytes" * doctest::test_suite("training")) {
  const World world(5, 1);
  const DetectionData data = world.read("trainval");
  TrainedDetector whole = new_detector(data), half = new_detector(data);
  DetectorTrainer without_stop(whole, data, short_training(6));
  while (!without_stop.finished()) without_stop.train_step();
  DetectorTrainer first_half(half, data, short_training(6));
  for (int i = 0; i < 3; ++i) first_half.train_step();
  const TemporaryFolder folder;
  const SafetensorsFile file = stored(first_half, half, folder);
  TrainedDetector rest = load_detector(file, {});
  DetectorTrainer second_half(rest, data, short_training(6));
  second_half.restore(file);
  CHECK(second_half.step() == 3);
  while (!second_half.finished()) second_half.train_step();
  check_same(without_stop.state(), second_half.state());
}

TEST_CASE("the rate of a detector's training falls after 5/7 of it, or when it is asked to") {
  const World world(3, 1);
  const DetectionData data = world.read("trainval");
  TrainedDetector detector = new_detector(data);
  DetectorTraining training = short_training(7);
  const auto rates = [&] {
    DetectorTrainer trainer(detector, data, training);
    std::vector<float> all;
    for (; !trainer.finished(); trainer.train_step()) all.push_back(trainer.learning_rate());
    return all;
  };
  const auto falls_after = [&](size_t step) {
    const std::vector<float> all = rates();
    for (size_t i = 0; i < all.size(); ++i) CHECK(all[i] == doctest::Approx(i < step ? 0.01f : 0.001f));
  };
  falls_after(5);
  training.drops = {{2, true}};
  falls_after(2);
  training.drops = {{1, false}};  // an epoch: three canvases and their mirror images
  falls_after(6);
}

TEST_CASE("batch norm's statistics are means over pictures, and stay as they are in training") {
  const World world(4, 1);
  const DetectionData data = world.read("trainval");
  TrainedDetector detector = new_detector(data);
  const DetectorTraining training = short_training(2);
  DetectorTrainer trainer(detector, data, training);
  const auto statistics = [&] {
    std::vector<float> all;
    for (const auto& b : detector.module->buffers())
      for (const float value : b.tensor->to_vector<float>()) all.push_back(value);
    return all;
  };
  constexpr int pictures = 3;
  trainer.measure_statistics(pictures);
  const auto measured = statistics();

  // The first batch norm sees what the first convolution makes of the pictures.
  const auto parts = detector.module->descendants();
  const auto stem = std::find_if(parts.begin(), parts.end(),
                                 [](const auto& part) { return part.first == "network.conv1"; });
  REQUIRE(stem != parts.end());
  std::vector<double> means(32);
  const auto order = epoch_order(8, training.seed, 0);
  for (size_t i = 0; i < pictures; ++i) {
    const AnnotatedPicture& annotated = data.pictures[static_cast<size_t>(order[i] % 4)];
    const DetectorInput input =
        make_detector_input(read_annotated(annotated, detector.decode_options()), detector.view,
                            detector.module->network().layout(), order[i] >= 4);
    const NoGrad no_grad;
    const auto map = (*stem->second)(Variable(input.pixels)).value().to_vector<float>();
    for (size_t k = 0; k < map.size(); ++k)
      means[k % 32] += map[k] / static_cast<double>(map.size() / 32) / pictures;
  }
  REQUIRE(detector.module->buffers().front().name == "network.bn1.running_mean");
  for (size_t c = 0; c < 32; ++c) CHECK(measured[c] == doctest::Approx(means[c]).epsilon(1e-4));

  trainer.train_step();
  CHECK(statistics() == measured);
}

TEST_CASE("a picture that is too narrow for any anchor takes no part") {
  const World world(4, 1);
  DetectionData data = world.read("trainval");
  for (size_t i = 0; i < 2; ++i) data.pictures[i].height = 8;  // of 48: 8 pixels are less than an anchor's 20
  TrainedDetector detector = new_detector(data);
  const DetectorTrainer trainer(detector, data, short_training(2));
  CHECK(trainer.too_narrow() == 2);
  CHECK(trainer.pictures() == 2);
  for (AnnotatedPicture& picture : data.pictures) picture.height = 8;
  CHECK_THROWS_WITH_AS(
      DetectorTrainer(detector, data, short_training(2)),
      doctest::Contains("no anchor lies within any of 4 pictures, the first of 48 x 8 pixels"), Error);
}

TEST_CASE("a canvas that cannot be read is passed over, but not all of them") {
  const World world(3, 1);
  const DetectionData data = world.read("trainval");
  TrainedDetector detector = new_detector(data);
  write_bytes(data.pictures[1].file, "no picture");
  DetectorTrainer trainer(detector, data, short_training(6));
  std::vector<std::string> warnings;
  while (!trainer.finished()) {
    trainer.train_step();
    for (const std::string& line : trainer.take_warnings()) warnings.push_back(line);
  }
  CHECK(warnings.size() == 2);  // in six steps, it and its mirror image
  for (const std::string& line : warnings) CHECK(line.find("000002.png") != line.npos);
  for (const AnnotatedPicture& picture : data.pictures) write_bytes(picture.file, "no picture");
  DetectorTrainer without(detector, data, short_training(6));
  CHECK_THROWS_WITH_AS(without.train_step(), doctest::Contains("none of 3 pictures can be read"), Error);
}

TEST_CASE("a detector that diverges says in which step") {
  const World world(3, 1);
  const DetectionData data = world.read("trainval");
  TrainedDetector detector = new_detector(data);
  DetectorTraining training = short_training(50);
  training.learning_rate = 1e6f;
  DetectorTrainer trainer(detector, data, training);
  const auto train = [&] {
    while (!trainer.finished()) trainer.train_step();
  };
  CHECK_THROWS_WITH_AS(train(), doctest::Contains("diverged in step"), Error);
}

TEST_CASE("the detection world is what its annotations say") {
  const World world(20, 5);
  const DetectionData train = world.read("trainval"), test = read_voc(world.path(), "test", train.categories);
  CHECK(train.pictures.size() == 20);
  CHECK(test.pictures.size() == 5);
  std::vector<int> counts(3);
  for (const AnnotatedPicture& annotated : train.pictures) {
    CHECK(annotated.width == 48);
    CHECK(!annotated.objects.empty());
    CHECK(annotated.objects.size() <= 2);
    const Picture picture = read_picture(annotated.file, {.gray = true});
    for (const Object& o : annotated.objects) {
      ++counts[static_cast<size_t>(o.category)];
      CHECK(o.box.left >= 0);
      CHECK(o.box.top >= 0);
      CHECK(o.box.right <= 48);
      CHECK(o.box.bottom <= 48);
      CHECK(o.box.width() >= 12);  // of 20 pixels and more than 0.8 of that, nearly filled
      CHECK(o.box.width() <= 24);
    }
    // The last object lies on top of all others; its shapes are as bright on their middle lines' ends.
    const Box top = annotated.objects.back().box;
    const auto at = [&](float y, float x) {
      return picture.pixels[static_cast<int>(y) * 48 + static_cast<int>(x)];
    };
    CHECK(at((top.top + top.bottom) / 2, top.left + 2) > 150);
    CHECK(at((top.top + top.bottom) / 2, top.right - 3) > 150);
  }
  for (const int count : counts) CHECK(count > 0);
  const World again(20, 5);
  CHECK(read_file(again.read("trainval").pictures[7].file) == read_file(train.pictures[7].file));
}
