// Every network as it is, on small pictures, against PyTorch: tests/make_fixtures.py wrote the embedding and
// the norm of each parameter's gradient, in double precision, and how far its own f32 is from that.
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>

#include "autograd/functions.h"
#include "layers/networks.h"
#include "layers/state_dict.h"
#include "tensor/format.h"
#include "tensor/io/safetensors.h"
#include "tensor/ops.h"
#include "tests/fixture_numbers.h"
#include "tests/op_case.h"
#include "tests/temporary_folder.h"

using namespace la;

namespace {

/// The error of PyTorch's f32 is relative to a value plus a hundredth of the largest; ours may be eight times
/// as much, for the order of a sum is free. A gradient may also change by what one ReLU that falls out
/// differently does, which in PyTorch's runs is up to 1e-3 where it happens.
void check_equal(const SafetensorsFile& fixture, const std::string& name, const std::vector<float>& got) {
  CAPTURE(name);
  const auto expected = fixture.at(name).to_vector<float>();
  const double error =
      std::max(std::stod(fixture.metadata.at("error." + name)), name == "y" ? 0x1p-22 : 1e-3);
  double largest = 0;
  for (float value : expected) largest = std::max<double>(largest, std::abs(value));
  REQUIRE(got.size() == expected.size());
  for (size_t i = 0; i < got.size(); ++i)
    CHECK(std::abs(got[i] - expected[i]) <= 8 * error * (std::abs(expected[i]) + largest / 100));
}

void check_network(const std::string& name, const SafetensorsFile& fixture, Device device) {
  constexpr int64_t batch = 4, dim = 4;
  const int64_t size = std::stoll(fixture.metadata.at("image_size"));
  const auto network = make_network({.name = name, .image_size = size, .dim = dim});
  const std::vector<std::string> names = words_of(fixture.metadata.at("parameters"));
  const auto parameters = network->parameters();
  REQUIRE(parameters.size() == names.size());
  std::map<std::string, uint64_t> number_of;
  for (const std::string& key : names) number_of.emplace(key, number_of.size());
  for (const Module::Parameter& p : parameters) {
    REQUIRE(number_of.contains(p.name));
    const Tensor& own = p.variable->value();
    const Shape shape = to_torch_layout(p, own).shape();
    load_tensor({{p.name, values_of(p.name, number_of[p.name], shape)}}, p.name, p, own);
  }
  network->set_initialized();
  network->to(device);

  const Shape shape{batch, size, size, 3};
  const Variable y = (*network)(Variable(Tensor::from(numbers_of(10001, shape.numel()), shape, device)));
  check_equal(fixture, "y", y.value().to_vector<float>());

  const Variable dy(Tensor::from(numbers_of(10000, batch * dim), {batch, dim}, device));
  backward(scale(mean(multiply(y, dy)), static_cast<float>(batch * dim)));
  std::vector<float> norms(names.size());
  for (const Module::Parameter& p : network->parameters())
    norms[number_of[p.name]] = static_cast<float>(norm_of(p.variable->grad()));
  check_equal(fixture, "gradient_norms", norms);
}

}  // namespace

TEST_CASE("networks agree with PyTorch" * doctest::test_suite("networks")) {
  for (const std::string& name : network_names()) {
    if (name.ends_with("-wide")) continue;  // differ from resnet20 in numbers alone
    size_t checked = 0;
    for (const std::string form : {"", "-large"}) {  // with the stem for large pictures
      const std::string path = formatted("tests/fixtures/network_{}{}.safetensors", name, form);
      if (!std::filesystem::exists(path)) continue;
      CAPTURE(path);
      ++checked;
      const SafetensorsFile fixture = read_safetensors(path);
      for (Device device : available_devices()) check_network(name, fixture, device);
    }
    CHECK_MESSAGE(checked > 0, name);
  }
}

TEST_CASE("networks refuse pictures that are too small" * doctest::test_suite("networks")) {
  CHECK_THROWS_WITH_AS(make_network({.name = "alexnet", .image_size = 62}), doctest::Contains("too small"),
                       Error);
  CHECK_THROWS_WITH_AS(make_network({.name = "vgg16", .image_size = 31}), doctest::Contains("too small"),
                       Error);
  CHECK(make_network({.name = "alexnet", .image_size = 63}) != nullptr);
}

TEST_CASE("networks cost what is known of them") {
  // Parameters of torchvision's with a head of 128 instead of 1000 outputs, and multiply-adds by the
  // layers' formula.
  const auto cost = [](const char* name) { return cost_of(*make_network({.name = name}), {1, 224, 224, 3}); };
  const NetworkCost resnet18 = cost("resnet18"), resnet50 = cost("resnet50");
  CHECK(resnet18.layers == 18);
  CHECK(resnet18.parameters == 11'689'512 - 872 * 513);
  CHECK(resnet18.multiply_adds == 1'814'073'344 - 872 * 512);
  CHECK(resnet50.layers == 50);
  CHECK(resnet50.parameters == 25'557'032 - 872 * 2049);
  CHECK(resnet50.multiply_adds == 4'089'184'256 - 872 * 2048);
}

namespace {

/// Mean, standard deviation and largest size of values.
struct Spread {
  double mean = 0, deviation = 0, largest = 0;
};
Spread spread_of(const Tensor& x) {
  Spread s;
  const auto values = x.to_vector<float>();
  const auto n = static_cast<double>(values.size());
  for (const float v : values) s.mean += v / n;
  for (const float v : values) {
    s.deviation += (v - s.mean) * (v - s.mean) / n;
    s.largest = std::max<double>(s.largest, std::abs(v));
  }
  s.deviation = std::sqrt(s.deviation);
  return s;
}

}  // namespace

TEST_CASE("the original's initial values have the distributions of its TensorFlow") {
  const auto made = [](const char* name, int64_t size) {
    const NetworkOptions options{
        .name = name, .image_size = size, .initialization = Initialization::original};
    auto network = make_network(options);
    initialize(*network, options, 3);
    return network;
  };
  // Of n values the deviation is known to 1 / sqrt(2 n); six times that is less likely than 1e-8.
  const auto check_deviation = [](const Module::Parameter& p, double deviation, double largest) {
    const Spread s = spread_of(p.variable->value());
    const double n = static_cast<double>(p.variable->value().numel());
    CAPTURE(p.name);
    CHECK(s.deviation == doctest::Approx(deviation).epsilon(6 / std::sqrt(2 * n)));
    CHECK(std::abs(s.mean) < 6 * deviation / std::sqrt(n));
    CHECK(s.largest <= largest * (1 + 1e-6));
    CHECK(s.largest > largest * 0.9);
  };
  const double left_by_two =
      0.8796256610342398;  // deviation of a normal variable known to be below two of its own
  const auto resnet = made("original-resnet18", 72);
  for (const auto& p : resnet->parameters()) {
    const Shape& shape = p.variable->shape();
    const double fan_in = static_cast<double>(shape.numel() / shape[0]);
    if (shape.rank() == 4)
      check_deviation(p, left_by_two / std::sqrt(fan_in), 2 / std::sqrt(fan_in));
    else if (p.name == "fc.weight")
      check_deviation(p, std::sqrt(2.0 / (512 + 128)), std::sqrt(6.0 / (512 + 128)));
    else
      CHECK(spread_of(p.variable->value()).largest == (p.name.ends_with("weight") ? 1 : 0));
  }
  const auto alexnet = made("original-alexnet", 99);
  for (const auto& p : alexnet->parameters()) {
    const Shape& shape = p.variable->shape();
    const bool convolution = shape.rank() == 4;
    const double window = convolution ? static_cast<double>(shape[1] * shape[2]) : 1;
    const double fans =
        static_cast<double>(shape.numel() / shape[0]) + window * static_cast<double>(shape[0]);
    if (convolution) check_deviation(p, std::sqrt(2 / fans), std::sqrt(6 / fans));
    if (shape.rank() == 2) check_deviation(p, left_by_two * 0.005, 0.01);
  }
}

TEST_CASE("batch norm keeps the share of its running statistics that it is told to") {
  const NetworkOptions options{.name = "resnet20", .image_size = 8, .norm_momentum = 0.003f};
  const auto network = make_network(options);
  initialize(*network, options, 1);
  (*network)(Variable(ops::random_normal({4, 8, 8, 3}, {.seed = 5})));
  for (const auto& b : network->buffers()) {
    if (!b.name.ends_with("running_var")) continue;
    for (const float v : b.tensor->to_vector<float>()) CHECK(v >= 0.997f * (1 - 0x1p-23f));
    CHECK(spread_of(*b.tensor).largest != 1);
  }
}

TEST_CASE("a module is written to a file and read back") {
  const TemporaryFolder folder;
  struct Pair : Module {
    Linear a{3, 4};
    LayerNorm b{4};
    Pair() {
      add("a", a);
      add("b", b);
    }
    Variable forward(const Variable& x) override { return b(a(x)); }
  } from, to;
  from.initialize(1);
  to.initialize(2);
  save_module(from, folder.file("pair.safetensors"));
  load_module(to, folder.file("pair.safetensors"));
  const Variable x(ops::random_normal({2, 3}, {.seed = 3}));
  CHECK(from(x).value().to_vector<float>() == to(x).value().to_vector<float>());
  Linear other(3, 4);
  CHECK_THROWS_WITH_AS(load_module(other, folder.file("pair.safetensors")),
                       doctest::Contains("pair.safetensors: the state has no tensor \"weight\""), Error);
}

TEST_CASE("two parts of a module cannot have one name") {
  struct Twice : Module {
    Linear a{3, 4}, b{3, 4};
    Twice() {
      add("fc", a);
      add("fc", b);
    }
    Variable forward(const Variable& x) override { return a(x); }
  };
  CHECK_THROWS_WITH_AS(Twice(), "a module has two parts of the name \"fc\"", Error);
  CHECK_THROWS_WITH_AS(make_network({.name = "resnet18", .dim = 0}), doctest::Contains("0 dimensions"),
                       Error);
}

TEST_CASE("a network takes from a state what fits, and says what does not") {
  const NetworkOptions options{.name = "resnet20", .channels = 1, .image_size = 28, .dim = 8};
  const auto from = make_network(options), to = make_network(options);
  from->initialize(1);
  to->initialize(2);
  StateDict state;
  for (const auto& [name, tensor] : state_dict(*from)) state.emplace(name, tensor);
  CHECK(load_matching_state(*to, state).missing.empty());
  CHECK(state_dict(*to)[0].tensor.to_vector<float>() == state_dict(*from)[0].tensor.to_vector<float>());

  state.erase("layer1.0.bn1.running_mean");
  state.emplace("classifier.weight", Tensor({3}));
  const StateDifference difference = load_matching_state(*to, state, {"fc.", "conv1"});
  CHECK(difference.missing ==
        std::vector<std::string>{"conv1.weight", "fc.weight", "fc.bias", "layer1.0.bn1.running_mean"});
  CHECK(difference.unexpected == std::vector<std::string>{"classifier.weight"});

  state["fc.weight"] = Tensor({1000, 64});
  CHECK_THROWS_WITH_AS(load_matching_state(*to, state), doctest::Contains("\"fc.weight\""), Error);
  CHECK_NOTHROW(load_matching_state(*to, state, {"fc."}));
}
