// Which network the tensors of another program are.
#include <doctest/doctest.h>

#include <cmath>
#include <map>

#include "autograd/functions.h"
#include "layers/import.h"
#include "layers/import_tensorflow.h"
#include "layers/state_dict.h"
#include "tensor/ops.h"

using namespace la;

namespace {

/// The state of a network with random values, under other names.
struct Foreign {
  std::vector<AvailableTensor> available;
  StateDict state;

  void add(const std::string& name, const Tensor& tensor) {
    available.push_back({name, tensor.shape()});
    state.emplace(name, tensor);
  }
  ImportedNetwork import(const ImportOptions& options = {}) const {
    return import_network(
        available, [this](const std::string& name) { return state.at(name); }, options);
  }
};

std::unique_ptr<Module> random_network(const NetworkOptions& options) {
  auto network = make_network(options);
  network->initialize(5);
  for (const auto& b : network->buffers())
    ops::copy_into(*b.tensor, ops::random_uniform(b.tensor->shape(), 0.5f, 1.5f, {.seed = 9}));
  network->set_training(false);
  return network;
}

Foreign renamed(Module& network, const std::function<std::string(const std::string&)>& rename) {
  Foreign foreign;
  for (const auto& [name, tensor] : state_dict(network)) foreign.add(rename(name), tensor);
  return foreign;
}

std::vector<float> output_of(Module& network, int64_t size) {
  network.set_training(false);
  return network(Variable(ops::random_normal({2, size, size, 3}, {.seed = 3}))).value().to_vector<float>();
}

}  // namespace

TEST_CASE("networks are recognized behind prefixes, and by the names of LA's PyTorch port") {
  for (const std::string name : {"resnet20", "resnet18", "resnet34", "resnet50", "resnet101",
                                 "preact-resnet18", "preact-resnet50", "original-resnet18"}) {
    CAPTURE(name);
    const NetworkOptions options{.name = name, .image_size = 32, .dim = 8};
    const auto network = random_network(options);
    const Foreign foreign =
        renamed(*network, [](const std::string& own) { return "state_dict/module." + own; });
    const ImportedNetwork imported = foreign.import();
    CHECK(imported.options.name == name);
    CHECK(imported.options.dim == 8);
    CHECK(imported.options.image_size == 32);  // by its 3 x 3 stem
    CHECK(imported.notes[0] == "names     behind \"state_dict/module.\"");
    CHECK(output_of(*imported.network, 32) == output_of(*network, 32));
  }
  const auto network = random_network({.name = "original-resnet18", .image_size = 72, .dim = 8});
  const Foreign port = renamed(*network, [](const std::string& own) {
    if (own.starts_with("fc")) return "model_state_dict/linear" + own.substr(2);
    if (own.starts_with("bn1")) return "model_state_dict/bn" + own.substr(3);
    const size_t at = own.find("downsample.");
    return "model_state_dict/" +
           (at == own.npos ? own : own.substr(0, at) + "shortcut.0." + own.substr(at + 11));
  });
  const ImportedNetwork imported = port.import({.image_size = 72});
  CHECK(imported.options.name == "original-resnet18");
  CHECK(output_of(*imported.network, 72) == output_of(*network, 72));
}

TEST_CASE(
    "of a network and its slow twin the network is taken; a head of many layers or labels is left out") {
  const auto network =
      random_network({.name = "resnet18", .image_size = 32, .dim = 512, .head = HeadKind::none});
  Foreign moco =
      renamed(*network, [](const std::string& own) { return "state_dict/module.encoder_q." + own; });
  for (const auto& [name, tensor] : state_dict(*network))
    moco.add("state_dict/module.encoder_k." + name, ops::scale(tensor, 0));
  moco.add("state_dict/module.encoder_q.fc.0.weight", Tensor({512, 512}));
  moco.add("state_dict/module.encoder_q.fc.2.weight", Tensor({128, 512}));
  const ImportedNetwork imported = moco.import();
  CHECK(imported.options.head == HeadKind::none);
  CHECK(imported.options.dim == 512);
  CHECK(output_of(*imported.network, 32) == output_of(*network, 32));

  const auto labels = random_network({.name = "resnet18", .image_size = 32, .dim = 1000});
  const Foreign classifier = renamed(*labels, [](const std::string& own) { return own; });
  CHECK(classifier.import().options.head == HeadKind::none);
  CHECK(output_of(*classifier.import({.head = ImportHead::keep}).network, 32) == output_of(*labels, 32));
  CHECK_THROWS_WITH_AS(moco.import({.head = ImportHead::keep}),
                       doctest::Contains("no head of one linear map"), Error);
}

TEST_CASE("numbered layers and biases before batch norm are understood") {
  const auto network =
      random_network({.name = "resnet18", .image_size = 32, .dim = 512, .head = HeadKind::none});
  const std::map<std::string, std::string> numbers{{"conv1", "0"},  {"bn1", "1"},    {"layer1", "4"},
                                                   {"layer2", "5"}, {"layer3", "6"}, {"layer4", "7"}};
  const Foreign row = renamed(*network, [&](const std::string& own) {
    const size_t dot = own.find('.');
    return "backbone." + numbers.at(own.substr(0, dot)) + own.substr(dot);
  });
  CHECK(output_of(*row.import().network, 32) == output_of(*network, 32));

  const auto alexnet = random_network({.name = "alexnet", .image_size = 63, .dim = 4});
  Foreign biased = renamed(*alexnet, [](const std::string& own) { return own; });
  const Tensor bias = ops::random_normal({64}, {.seed = 8});
  biased.add("features.0.bias", bias);
  biased.state.at("features.1.running_mean") = ops::add(biased.state.at("features.1.running_mean"), bias);
  const ImportedNetwork imported = biased.import({.image_size = 63});
  CHECK(imported.options.name == "alexnet");
  const auto got = output_of(*imported.network, 63), expected = output_of(*alexnet, 63);
  for (size_t i = 0; i < got.size(); ++i) CHECK(got[i] == doctest::Approx(expected[i]).epsilon(1e-4));
}

TEST_CASE("names that no program would give are left out like others") {
  const auto network = random_network({.name = "resnet20", .image_size = 32, .dim = 8});
  Foreign foreign = renamed(*network, [](const std::string& own) { return own; });
  foreign.add("layer" + std::string(1'000'000, '1') + ".0.shortcut.0.weight", Tensor({1}));
  foreign.add("features.99999999999999999999.bias", Tensor({1}));
  foreign.add("features.-3.bias", Tensor({1}));
  CHECK(output_of(*foreign.import().network, 32) == output_of(*network, 32));
}

TEST_CASE("what fits no network says what it has") {
  Foreign foreign;
  foreign.add("weight", Tensor({3}));
  CHECK_THROWS_WITH_AS(
      foreign.import(),
      doctest::Contains("expected a conv1.weight or features.0.weight among its 1 tensor, which are weight"),
      Error);
  foreign.add("conv1.weight", Tensor({64, 3, 7, 7}));
  foreign.add("layer1.0.conv1.weight", Tensor({64, 64, 3, 3}));
  CHECK_THROWS_WITH_AS(foreign.import(), doctest::Contains("its stages have 1, 0, 0 and 0 blocks"), Error);
  CHECK_THROWS_WITH_AS(foreign.import({.network = "resnet18"}),
                       doctest::Contains("tensors that resnet18 has, such as"), Error);
}

namespace {

/// Makes variables in the order and under the names of the original program, with the values of our network.
struct OriginalProgram {
  std::map<std::string, Tensor> ours;
  std::vector<NamedTensor> variables;
  int convolutions = 0, norms = 0;

  explicit OriginalProgram(Module& network) {
    for (const auto& [name, tensor] : state_dict(network)) ours.emplace(name, tensor);
  }

  /// [O, I, H, W] -> [H, W, I, O], as shape says.
  Tensor kernel(const Tensor& weight, const Shape& shape) const {
    Tensor k(shape);
    const int64_t out = shape[shape.rank() - 1], in = shape[shape.rank() - 2],
                  positions = shape.numel() / (in * out);
    for (int64_t o = 0; o < out; ++o)
      for (int64_t i = 0; i < in; ++i)
        for (int64_t p = 0; p < positions; ++p)
          k.data<float>()[(p * in + i) * out + o] = weight.data<float>()[(o * in + i) * positions + p];
    return k;
  }
  void put(const std::string& name, const Tensor& tensor) {
    variables.push_back({name, tensor});
    variables.push_back({name + "/Momentum", ops::scale(tensor, 0)});
  }
  void conv2d(const std::string& own) {
    const Tensor& w = ours.at(own + ".weight");
    const std::string number = convolutions++ == 0 ? "" : formatted("_{}", convolutions - 1);
    put("resnet_model/conv2d" + number + "/kernel", kernel(w, {w.size(2), w.size(3), w.size(1), w.size(0)}));
  }
  void norm_in(const std::string& scope, const std::string& own) {
    for (const auto& [theirs, ending] : {std::pair{"gamma", "weight"},
                                         {"beta", "bias"},
                                         {"moving_mean", "running_mean"},
                                         {"moving_variance", "running_var"}})
      put(formatted("{}/{}", scope, theirs), ours.at(formatted("{}.{}", own, ending)));
  }
  void batch_norm(const std::string& own) {
    norm_in("resnet_model/batch_normalization" + (norms++ == 0 ? "" : formatted("_{}", norms - 1)), own);
  }
};

ImportedNetwork imported_from(const std::vector<NamedTensor>& variables, int64_t size) {
  const auto renamed = from_original_program(variables);
  REQUIRE(renamed.has_value());
  Foreign foreign;
  for (const auto& [name, tensor] : renamed->tensors) foreign.add(name, tensor);
  return foreign.import({.network = renamed->network, .image_size = size});
}

}  // namespace

TEST_CASE("ResNets of the original program are renamed by the order in which it makes them") {
  for (const bool deep : {false, true}) {
    const NetworkOptions options{
        .name = deep ? "original-resnet50" : "original-resnet18", .image_size = 72, .dim = 6};
    const auto network = random_network(options);
    OriginalProgram program(*network);
    program.conv2d("conv1");
    const std::vector<int> blocks = deep ? std::vector{3, 4, 6, 3} : std::vector{2, 2, 2, 2};
    for (int s = 1; s <= 4; ++s)
      for (int b = 0; b < blocks[static_cast<size_t>(s - 1)]; ++b) {
        const std::string block = formatted("layer{}.{}.", s, b);
        program.batch_norm(block + "bn1");  // block_fn: batch norm, then the shortcut
        if (b == 0) program.conv2d(block + "downsample");
        program.conv2d(block + "conv1");
        program.batch_norm(block + "bn2");
        program.conv2d(block + "conv2");
        if (!deep) continue;
        program.batch_norm(block + "bn3");
        program.conv2d(block + "conv3");
      }
    program.batch_norm("bn1");
    program.put("resnet_model/dense/kernel",
                program.kernel(program.ours.at("fc.weight"), {deep ? 2048 : 512, 6}));
    program.put("resnet_model/dense/bias", program.ours.at("fc.bias"));
    program.put("instance/memory_bank", Tensor::zeros({9, 6}));
    const ImportedNetwork imported = imported_from(program.variables, 72);
    CHECK(imported.options.name == options.name);
    CHECK(output_of(*imported.network, 72) == output_of(*network, 72));
    program.variables.erase(program.variables.begin() + 10);
    CHECK_THROWS_WITH_AS(from_original_program(program.variables),
                         doctest::Contains("has no variable resnet_model/"), Error);
  }
}

TEST_CASE("AlexNet and VGG16 of the original program are renamed, with biases before batch norm") {
  const auto check_plain = [](const char* name, int64_t size, const std::string& scope,
                              const std::vector<std::pair<std::string, std::string>>& layers,
                              const char* norm_ending) {
    const auto network = random_network({.name = name, .image_size = size, .dim = 6});
    OriginalProgram program(*network);
    std::vector<std::string> weights, norms;
    std::map<std::string, int64_t> positions;
    for (const auto& p : network->parameters()) {
      const std::string own = p.name.substr(0, p.name.rfind('.'));
      if (p.role == Module::Role::weight) weights.push_back(own);
      if (p.role == Module::Role::norm && p.name.ends_with("weight")) norms.push_back(own);
      positions[own] = p.positions;
    }
    REQUIRE(weights.size() == layers.size());
    size_t norm = 0;
    for (size_t i = 0; i < layers.size(); ++i) {
      const auto& [layer, kind] = layers[i];
      const Tensor& w = program.ours.at(weights[i] + ".weight");
      const int64_t side =
          w.rank() == 4 ? w.size(2) : static_cast<int64_t>(std::lround(std::sqrt(positions[weights[i]])));
      program.put(scope + layer + "/weights",
                  program.kernel(w, {side, side, w.numel() / (w.size(0) * side * side), w.size(0)}));
      Tensor bias = ops::random_normal({w.size(0)}, {.seed = i});
      if (kind == "normalized") {
        const std::string& own = norms[norm++];
        Tensor& mean = program.ours.at(own + ".running_mean");
        mean = ops::add(mean, bias);  // the bias is part of what was averaged
        program.norm_in(scope + layer + norm_ending, own);
      } else {
        bias = program.ours.at(weights[i] + ".bias");
      }
      program.put(scope + layer + "/biases", bias);
    }
    const ImportedNetwork imported = imported_from(program.variables, size);
    const auto got = output_of(*imported.network, size), expected = output_of(*network, size);
    double largest = 0;
    for (const float v : expected) largest = std::max<double>(largest, std::abs(v));
    for (size_t i = 0; i < got.size(); ++i) CHECK(std::abs(got[i] - expected[i]) < 1e-4 * largest);
  };
  std::vector<std::pair<std::string, std::string>> alexnet;
  for (const char* layer : {"conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"})
    alexnet.emplace_back(layer, "normalized");
  alexnet.emplace_back("fc8", "plain");
  check_plain("original-alexnet", 99, "alexnet_v2/", alexnet, "");
  check_plain("original-alexnet", 99, "alexnet_v2/", alexnet, "_1");
  std::vector<std::pair<std::string, std::string>> vgg;
  for (int b = 1; b <= 5; ++b) {
    for (int i = 1; i <= (b <= 2 ? 1 : 2); ++i)
      vgg.emplace_back(formatted("conv{0}/conv{0}_{1}", b, i), "plain");
    vgg.emplace_back(formatted("conv{0}_final/conv{0}_final_1", b), "normalized");
  }
  vgg.emplace_back("fc6", "normalized");
  vgg.emplace_back("fc7", "normalized");
  vgg.emplace_back("fc8", "plain");
  check_plain("vgg16", 64, "vgg_16/", vgg, "/batch_normalization");
}
