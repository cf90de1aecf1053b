// Files of torch.save, and which network their tensors are.
#include <doctest/doctest.h>

#include <cmath>
#include <map>

#include "autograd/functions.h"
#include "layers/import.h"
#include "layers/state_dict.h"
#include "tensor/io/files.h"
#include "tensor/io/pickle.h"
#include "tensor/io/torch_file.h"
#include "tensor/ops.h"
#include "tests/temporary_folder.h"

using namespace la;
using namespace std::string_view_literals;

namespace {

std::map<std::string, Tensor> tensors_of(const std::string& path) {
  const TorchFile file(path);
  std::map<std::string, Tensor> tensors;
  for (const TorchFile::Entry& entry : file.entries()) tensors.emplace(entry.name, file.read(entry));
  return tensors;
}

std::vector<float> quarters(const std::vector<int>& numbers) {
  std::vector<float> values;
  for (const int n : numbers) values.push_back(static_cast<float>(n) / 4);
  return values;
}

}  // namespace

TEST_CASE("tensors of torch.save are read from both of its formats") {
  for (const char* path : {"tests/fixtures/torch_zip.pth", "tests/fixtures/torch_old.pth"}) {
    CAPTURE(path);
    const auto tensors = tensors_of(path);
    CHECK(tensors.size() == 15);
    const auto at = [&](const std::string& name) { return tensors.at("state_dict/module." + name); };
    std::vector<int> all(24);
    for (int i = 0; i < 24; ++i) all[static_cast<size_t>(i)] = i;
    CHECK(at("float").shape() == Shape{2, 3, 4});
    CHECK(at("float").to_vector<float>() == quarters(all));
    std::vector<int> turned;
    for (int k = 0; k < 4; ++k)
      for (int i = 0; i < 6; ++i) turned.push_back(i * 4 + k);
    CHECK(at("turned").shape() == Shape{4, 2, 3});
    CHECK(at("turned").to_vector<float>() == quarters(turned));
    CHECK(at("part").shape() == Shape{2, 2, 2});
    CHECK(at("part").to_vector<float>() == quarters({4, 6, 8, 10, 16, 18, 20, 22}));
    CHECK(at("half").to_vector<float>() == std::vector<float>{0.5f, -2.0f, 65504.0f, 0x1p-24f, INFINITY});
    CHECK(at("bfloat16").to_vector<float>() == std::vector<float>{1.0f, -0.15625f, 0x1.c4p127f});
    CHECK(at("double").to_vector<float>() == std::vector<float>{1e-3f, 0.1f});
    CHECK(at("count").to_vector<int64_t>() == std::vector<int64_t>{12345678901});
    CHECK(at("int").to_vector<int32_t>() == std::vector<int32_t>{-3, 7});
    CHECK(at("mask").to_vector<uint8_t>() == std::vector<uint8_t>{1, 0});
    CHECK(at("empty").shape() == Shape{0, 5});
    CHECK(at("parameter").to_vector<float>() == std::vector<float>{2.5f});
    // Of an object of an unknown class, and in lists and dictionaries within one another.
    CHECK(tensors.at("memory_bank/_bank").shape() == Shape{3, 2});
    CHECK(tensors.at("optimizer/state/0/momentum_buffer").to_vector<float>() == std::vector<float>{1, 1});
    CHECK(tensors.at("list/0").to_vector<float>() == std::vector<float>{3, 3});
    CHECK(tensors.at("list/1/inner").to_vector<float>() == std::vector<float>{4});
  }
}

TEST_CASE("a damaged file of torch.save gives tensors or an Error that names it") {
  const TemporaryFolder folder;
  const std::string path = folder.file("x.pth");
  const auto read = [&](const std::string& bytes) {
    write_bytes(path, bytes);
    try {
      tensors_of(path);
    } catch (const Error& error) {
      CHECK(std::string(error.what()).find("x.pth") != std::string::npos);
      CHECK(std::string(error.what()).find('\n') == std::string::npos);
      return false;
    }
    return true;
  };
  for (const char* fixture : {"tests/fixtures/torch_zip.pth", "tests/fixtures/torch_old.pth"}) {
    const std::string whole = read_file(fixture);
    CHECK(read(whole));
    for (size_t length = 0; length < whole.size(); length += 7) CHECK_FALSE(read(whole.substr(0, length)));
    for (size_t at = 0; at < whole.size(); at += 5) {
      std::string changed = whole;
      changed[at] = static_cast<char>(changed[at] ^ (1 << at % 8));
      read(changed);  // values may have changed; nothing else may happen
    }
  }
}

TEST_CASE("pickles call nothing, and other operations are errors") {
  // cos.system('x') as a call: what Python would do is only told.
  const Pickle call("\x80\2cposix\nsystem\nX\1\0\0\0x\x85R."sv);
  CHECK(call.is_call_of(call.root(), "posix.system"));
  CHECK(call.size() == 25);
  const Pickle numbers("\x80\2]q\0(J\xff\xff\xff\xffK\5M\0\1\x8a\2\0\x80G?\xe0\0\0\0\0\0\0e."sv);
  REQUIRE(numbers.root().items.size() == 5);
  CHECK(numbers[numbers.root().items[0]].integer == -1);
  CHECK(numbers[numbers.root().items[2]].integer == 256);
  CHECK(numbers[numbers.root().items[3]].integer == -32768);
  CHECK(numbers[numbers.root().items[4]].real == 0.5);
  const auto message = [](std::string_view bytes) {
    try {
      Pickle pickle(bytes);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(message("\x80\2I1\n."sv) == "the pickle has the operation 0x49 at byte 2, which no tensors need");
  CHECK(message("\x80\2}"sv).find("cut off") != std::string::npos);
  CHECK(message("\x80\2e."sv).find("lacks a mark") != std::string::npos);
  CHECK(message("\x80\2R."sv).find("empty stack") != std::string::npos);
  CHECK(message("\x80\2h\7."sv).find("nothing at place 7") != std::string::npos);
  CHECK(message("\x80\7.").find("protocol 7") != std::string::npos);
}

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
