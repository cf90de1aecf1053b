// Backbones: networks in two parts are the whole networks, and the map lies where it says.
#include <doctest/doctest.h>

#include <cmath>

#include "autograd/functions.h"
#include "layers/backbone.h"
#include "layers/networks.h"
#include "tensor/ops.h"

using namespace la;

namespace {

std::unique_ptr<Module> network_without_head(const std::string& name, int64_t size, int last_stride = 2) {
  auto network = make_network(
      {.name = name, .image_size = size, .dim = 0, .head = HeadKind::none, .last_stride = last_stride});
  network->initialize(7);
  network->set_training(false);
  return network;
}

Backbone& backbone(Module& network) { return dynamic_cast<Backbone&>(network); }

double largest_difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  const auto x = a.to_vector<float>(), y = b.to_vector<float>();
  double largest = 0;
  for (size_t i = 0; i < x.size(); ++i)
    largest = std::max(largest, std::abs(static_cast<double>(x[i]) - y[i]));
  return largest;
}

}  // namespace

TEST_CASE("a network in two parts is the whole network" * doctest::test_suite("networks")) {
  for (const std::string& name : network_names()) {
    if (name.find("101") != name.npos) continue;  // as those of 50 layers
    CAPTURE(name);
    const bool alexnet = name.find("alexnet") != name.npos, vgg = name.starts_with("vgg");
    const int64_t size = alexnet ? 127 : vgg ? 64 : 48;
    const auto network = network_without_head(name, size);
    const NoGrad no_grad;
    const Variable x(ops::random_normal({2, size, size, 3}, {.seed = 1}));
    Variable map = backbone(*network).map(x);
    const BackboneLayout layout = backbone(*network).layout();
    CHECK(map.shape()[3] == layout.map_channels);
    if (layout.pools) map = max_pool2d(map, {.kernel = alexnet ? 3 : 2, .stride = 2});
    if (layout.pools) CHECK(map.shape()[1] == layout.size);
    const Variable features = backbone(*network).region_features(map);
    CHECK(features.shape() == Shape{2, layout.features});
    CHECK(largest_difference(features.value(), (*network)(x).value()) == 0.0);
  }
}

TEST_CASE("the last stage of a ResNet keeps the size of what it sees, if asked for") {
  for (const char* name : {"resnet18", "preact-resnet18", "original-resnet18", "resnet20-wide"}) {
    CAPTURE(name);
    const auto network = network_without_head(name, 48, 1);
    Shape seen{};
    for (const auto& [stage, module] : network->stages())
      module->observe([&seen](const Variable& y) { seen = y.shape(); });
    const NoGrad no_grad;
    backbone(*network).region_features(
        Variable(ops::random_normal({3, 7, 7, backbone(*network).layout().map_channels}, {})));
    CHECK(seen[1] == 7);
    CHECK(seen[2] == 7);
  }
}

TEST_CASE("a pixel of the map shows what its place says" * doctest::test_suite("networks")) {
  // The squared gradient of one of its pixels lies around the middle of its share of the picture, behind the border: of
  // networks without shortcuts, which have one. A quarter of a share is more than chance moves it, and much less than a
  // wrong border would.
  for (const char* name : {"alexnet", "original-alexnet", "vgg16"}) {
    CAPTURE(name);
    const int64_t size = std::string(name) == "vgg16" ? 224 : 227;
    const auto network = network_without_head(name, size);
    const BackboneLayout layout = backbone(*network).layout();
    const Variable x(ops::random_normal({1, size, size, 3}, {.seed = 2}), true);
    const Variable map = backbone(*network).map(x);
    constexpr int64_t pixel = 6;
    backward(sum(slice(slice(map, 1, pixel, pixel + 1), 2, pixel, pixel + 1)));
    const auto gradient = x.grad().to_vector<float>();
    double all = 0, columns = 0;
    for (size_t i = 0; i < gradient.size(); ++i) {
      const double square = static_cast<double>(gradient[i]) * gradient[i];
      all += square;
      columns += square * static_cast<double>(static_cast<int64_t>(i) / 3 % size);
    }
    const double place = layout.border + layout.stride * (pixel + 0.5) - 0.5;
    CHECK(std::abs(columns / all - place) < layout.stride / 4.0);
  }
}
