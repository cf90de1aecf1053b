// Features of a network's layers, and linear readout from them.
#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <set>

#include "data/subset.h"
#include "evaluation/features.h"
#include "evaluation/readout.h"
#include "layers/layers.h"
#include "layers/networks.h"
#include "tensor/ops.h"
#include "tests/temporary_folder.h"

using namespace la;

namespace {

/// A network with one stage, whose features are the pictures themselves.
class Pixels : public Module {
 public:
  Pixels() { add("identity", identity_), add("fc", fc_); }
  Variable forward(const Variable& x) override { return fc_(reshape(identity_(x), {x.shape()[0], -1})); }
  std::vector<std::pair<std::string, Module*>> stages() override { return {{"all", &identity_}}; }

 private:
  Cast identity_{DType::f32};
  Linear fc_{4, 2};
};

Model pixel_model() {
  Model model;
  model.module = std::make_unique<Pixels>();
  model.module->set_initialized();
  model.channels = 1;
  model.view = {.size = 2, .mean = {0.5f}, .stddev = {0.25f}};
  return model;
}

/// Pictures of one color each.
PictureArray plain_pictures(const std::vector<int>& colors, const std::vector<int>& labels) {
  std::vector<uint8_t> pixels;
  for (const int color : colors) pixels.insert(pixels.end(), 9, static_cast<uint8_t>(color));
  return {Tensor::from(pixels, {static_cast<int64_t>(colors.size()), 3, 3, 1}), labels};
}

struct Watched {
  std::vector<double> losses;
  int64_t stop_after = INT64_MAX;
  ReadoutObserver observer() {
    return {.wants_loss = [] { return true; },
            .step =
                [this](const ReadoutProgress& p) {
                  losses.push_back(p.loss);
                  return static_cast<int64_t>(losses.size()) < stop_after;
                }};
  }
};

}  // namespace

TEST_CASE("linear readout finds classes that a plane separates") {
  const PictureArray data =
      plain_pictures({10, 30, 60, 20, 200, 240, 180, 220, 50, 190}, {0, 0, 0, 0, 1, 1, 1, 1, 0, 1});
  Model model = pixel_model();
  Watched watched;
  const auto results =
      linear_readout(model, data, data, {.epochs = 40, .batch = 5, .ten_crop = true}, watched.observer());
  REQUIRE(results.size() == 3);
  CHECK(results[0].stage == "pixels");
  CHECK(results[1].stage == "all");
  CHECK(results[2].stage == "embedding");
  for (const StageReadout& result : {results[0], results[1]}) {  // of the same numbers
    CHECK(result.features == Shape{4});
    CHECK(result.one_crop.top1 == 1.0);
    CHECK(result.ten_crop.top1 == 1.0);
    CHECK(result.one_crop.top5 == 1.0);  // of two classes
  }
  CHECK(results[2].features == Shape{2});
  CHECK(watched.losses.size() == 80);
}

TEST_CASE("linear readout reaches the entropy of labels that nothing can tell apart") {
  // All pictures alike: the best that a linear map can do is to give each label its frequency.
  std::vector<int> labels(64);
  for (size_t i = 0; i < labels.size(); ++i) labels[i] = i % 4 == 0 ? 1 : i % 16 == 1 ? 2 : 0;
  const std::map<int, double> frequency{{0, 11.0 / 16}, {1, 4.0 / 16}, {2, 1.0 / 16}};
  double entropy = 0;
  for (const auto& [label, p] : frequency) entropy -= p * std::log(p);
  const PictureArray data = plain_pictures(std::vector<int>(64, 128), labels);
  Model model = pixel_model();
  Watched watched;
  const auto results = linear_readout(
      model, data, data,
      {.stages = {"all"}, .epochs = 700, .batch = 64, .learning_rate = 0.1f, .weight_decay = 0},
      watched.observer());
  CHECK(results[0].one_crop.top1 == frequency.at(0));
  // The loss is convex; gradient descent with that rate closes the gap by far more than this.
  CHECK(watched.losses.back() == doctest::Approx(entropy).epsilon(1e-3));
  CHECK(watched.losses.back() >= entropy - 1e-6);
}

TEST_CASE("a readout goes on from where it was stopped") {
  const PictureArray data = plain_pictures({10, 90, 60, 120, 200, 140, 180, 220}, {0, 0, 1, 0, 1, 1, 0, 1});
  const TemporaryFolder folder;
  Model model = pixel_model();
  ReadoutOptions options{.epochs = 6, .batch = 4};
  Watched whole;
  linear_readout(model, data, data, options, whole.observer());
  options.state = folder.file("state.safetensors");
  Watched first{.losses = {}, .stop_after = 7}, second, other;
  CHECK(linear_readout(model, data, data, options, first.observer()).empty());
  linear_readout(model, data, data, options, second.observer());  // from the end of the third epoch
  CHECK(second.losses == std::vector(whole.losses.begin() + 6, whole.losses.end()));
  options.learning_rate = 0.02f;  // another readout begins anew
  linear_readout(model, data, data, options, other.observer());
  CHECK(other.losses.size() == whole.losses.size());
}

TEST_CASE("a readout ends and drops its rate after so many steps, if asked") {
  const PictureArray data = plain_pictures({10, 90, 60, 120, 200, 140, 180, 220}, {0, 0, 1, 0, 1, 1, 0, 1});
  Model model = pixel_model();
  std::vector<float> rates;
  const ReadoutObserver observer{.wants_loss = [] { return false; },
                                 .step =
                                     [&](const ReadoutProgress& p) {
                                       CHECK(p.done == std::ssize(rates));
                                       CHECK(p.steps == 7);
                                       rates.push_back(p.learning_rate);
                                       return true;
                                     }};
  linear_readout(model, data, data,
                 {.drops = {{3, true}, {3, false}}, .steps = 7, .batch = 4, .learning_rate = 1}, observer);
  CHECK(rates == std::vector<float>{1, 1, 1, 0.1f, 0.1f, 0.1f, std::pow(0.1f, 2.0f)});
}

TEST_CASE("large features are averaged before they are read") {
  CHECK(readout_features(Tensor::zeros({2, 55, 55, 64})).shape() == Shape{2, 55 * 55 * 64});
  CHECK(readout_features(Tensor::zeros({2, 56, 56, 64})).shape() == Shape{2, 28 * 28 * 64});
  CHECK(readout_features(Tensor::zeros({1, 112, 112, 64})).shape() == Shape{1, 28 * 28 * 64});
  CHECK(readout_features(Tensor::zeros({3, 10})).shape() == Shape{3, 10});
}

TEST_CASE("the stages of pre-activation networks are read out after batch norm and ReLU") {
  for (const auto& [name, expansion] : {std::pair("preact-resnet18", 1), std::pair("preact-resnet50", 4)}) {
    CAPTURE(name);
    const auto network = make_network({.name = name, .image_size = 64, .dim = 8});
    network->initialize(1);
    network->set_training(false);
    std::vector<Module*> modules;
    for (const auto& [stage, module] : network->stages()) modules.push_back(module);
    NoGrad no_grad;
    const auto outputs =
        outputs_of(*network, modules, Variable(ops::random_normal({1, 64, 64, 3}, {.seed = 2})));
    const std::vector<int64_t> channels{64, 64 * expansion, 128 * expansion, 256 * expansion,
                                        512 * expansion};
    REQUIRE(outputs.size() == channels.size());
    for (size_t i = 0; i < outputs.size(); ++i) {
      CHECK(outputs[i].size(3) == channels[i]);
      const std::vector<float> values = outputs[i].to_vector<float>();
      CHECK(*std::min_element(values.begin(), values.end()) == 0);
    }
  }
}

TEST_CASE("every network has stages, whose outputs shrink and can be had by name") {
  for (const std::string& name : network_names()) {
    CAPTURE(name);
    const int64_t size =
        std::min<int64_t>(usual_image_size(name), 67);  // the least for AlexNet without padding
    const auto network = make_network({.name = name, .image_size = size, .dim = 8});
    network->initialize(1);
    network->set_training(false);
    std::vector<Module*> modules;
    for (const auto& [stage, module] : network->stages()) {
      CHECK(&find_module(*network, stage) == module);
      modules.push_back(module);
    }
    CHECK(modules.size() == (size == 32 ? 4 : 5));
    NoGrad no_grad;
    const auto outputs = outputs_of(*network, modules, Variable(Tensor::zeros({1, size, size, 3})));
    for (size_t i = 0; i < outputs.size(); ++i) {
      CHECK(outputs[i].rank() == 4);
      if (i > 0) CHECK(outputs[i].size(1) <= outputs[i - 1].size(1));
    }
  }
  const auto network = make_network({.name = "resnet18"});
  CHECK_NOTHROW(find_module(*network, "layer2.0.conv1"));
  CHECK_THROWS_WITH_AS(find_module(*network, "layer5"), doctest::Contains("stem, layer1"), Error);
}

TEST_CASE("a share of the labels is drawn from every class, and by the seed alone") {
  std::vector<int> labels;
  for (int i = 0; i < 300; ++i)
    labels.push_back(i % 3 == 0 ? 0 : i % 30 == 1 ? 1 : i % 3 == 2 ? 2 : unlabeled);
  const PictureArray data = plain_pictures(std::vector<int>(300, 1), labels);
  const auto chosen = share_of_labels(data, 0.1, 1);
  std::map<int, int> counts;
  std::set<std::string> names;
  for (int64_t i = 0; i < chosen->size(); ++i) {
    ++counts[chosen->label(i)];
    names.insert(chosen->name(i));
  }
  CHECK(counts == std::map<int, int>{{0, 10}, {1, 1}, {2, 10}});
  CHECK(names.size() == 21);
  const auto names_of = [&](uint64_t seed) {
    const auto part = share_of_labels(data, 0.1, seed);
    std::set<std::string> result;
    for (int64_t i = 0; i < part->size(); ++i) result.insert(part->name(i));
    return result;
  };
  CHECK(names_of(1) == names);
  CHECK(names_of(2) != names);
  CHECK(labeled_pictures(data)->size() == 210);
}
