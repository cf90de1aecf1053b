// ONNX files, read back with a reader of Protocol Buffers of our own. Whether other programs compute the same
// from them is what check_exports.py finds out.
#include <doctest/doctest.h>

#include <cstring>
#include <map>
#include <set>

#include "layers/layers.h"
#include "layers/networks.h"
#include "layers/onnx/onnx.h"

using namespace la;

namespace {

/// A message as its fields: numbers as they are, texts and messages as bytes.
struct Fields {
  std::multimap<int, uint64_t> numbers;
  std::multimap<int, std::string> bytes;

  explicit Fields(const std::string& message) {
    size_t at = 0;
    const auto varint = [&] {
      uint64_t value = 0;
      for (int shift = 0;; shift += 7) {
        REQUIRE(at < message.size());
        const auto byte = static_cast<unsigned char>(message[at++]);
        value |= uint64_t{byte & 127u} << shift;
        if (byte < 128) return value;
      }
    };
    while (at < message.size()) {
      const uint64_t key = varint();
      const int field = static_cast<int>(key >> 3), type = static_cast<int>(key & 7);
      REQUIRE((type == 0 || type == 2 || type == 5));
      if (type == 0) numbers.emplace(field, varint());
      if (type == 2) {
        const uint64_t size = varint();
        REQUIRE(at + size <= message.size());
        bytes.emplace(field, message.substr(at, size));
        at += size;
      }
      if (type == 5) {
        uint32_t word = 0;
        std::memcpy(&word, message.data() + at, 4);
        numbers.emplace(field, word);
        at += 4;
      }
    }
  }
  std::vector<std::string> all(int field) const {
    std::vector<std::string> values;
    for (auto [at, end] = bytes.equal_range(field); at != end; ++at) values.push_back(at->second);
    return values;
  }
  std::string one(int field) const {
    REQUIRE(bytes.count(field) == 1);
    return bytes.find(field)->second;
  }
};

struct Exported {
  std::unique_ptr<Module> module;
  InputFormat input;
};

Exported make_model(const std::string& network, int size) {
  Exported model;
  model.module = make_network({.name = network, .image_size = size, .dim = 16});
  model.module->initialize(1);
  model.input = {.size = size, .mean = {0.1f, 0.2f, 0.3f}, .stddev = {0.5f, 0.6f, 0.7f}};
  return model;
}

struct Constant {
  std::vector<int64_t> dims;
  std::vector<float> values;  // of f32 ones
};

std::map<std::string, Constant> initializers_of(const Fields& graph) {
  std::map<std::string, Constant> result;
  for (const std::string& bytes : graph.all(5)) {
    const Fields tensor(bytes);
    Constant initializer;
    int64_t elements = 1;
    for (auto [at, end] = tensor.numbers.equal_range(1); at != end; ++at) {
      initializer.dims.push_back(static_cast<int64_t>(at->second));
      elements *= initializer.dims.back();
    }
    const std::string data = tensor.one(9);
    const bool is_f32 = tensor.numbers.find(2)->second == 1;
    REQUIRE(data.size() == static_cast<size_t>(elements) * (is_f32 ? 4 : 8));
    if (is_f32) {
      initializer.values.resize(static_cast<size_t>(elements));
      std::memcpy(initializer.values.data(), data.data(), data.size());
    }
    result.emplace(tensor.one(8), initializer);
  }
  return result;
}

}  // namespace

TEST_CASE("an ONNX model is whole: every value is made before it is used, and all weights are there") {
  for (const char* name : {"resnet20", "preact-resnet18", "alexnet"}) {
    CAPTURE(name);
    Exported model = make_model(name, 64);
    const Fields file(to_onnx(*model.module, model.input));
    CHECK(file.numbers.find(1)->second == 8);  // version of the format
    const Fields opset(file.one(8)), graph(file.one(7));
    CHECK(opset.numbers.find(2)->second == 17);

    const auto initializers = initializers_of(graph);
    std::set<std::string> known;
    size_t elements = 0;
    for (const auto& [constant, initializer] : initializers) {
      known.insert(constant);
      elements += initializer.values.size();
    }
    size_t expected = 2 * 3;  // mean and stddev
    for (const auto& p : model.module->parameters())
      expected += static_cast<size_t>(p.variable->value().numel());
    for (const auto& b : model.module->buffers()) expected += static_cast<size_t>(b.tensor->numel());
    CHECK(elements == expected);

    for (const std::string& input : graph.all(11)) known.insert(Fields(input).one(1));
    CHECK(known.contains("images"));
    std::map<std::string, int> ops;
    for (const std::string& bytes : graph.all(1)) {
      const Fields node(bytes);
      for (const std::string& input : node.all(1)) CHECK(known.contains(input));
      CHECK(known.insert(node.one(2)).second);  // each value is made once
      ++ops[node.one(4)];
    }
    CHECK(known.contains(Fields(graph.one(12)).one(1)));
    CHECK(Fields(graph.one(12)).one(1) == "embedding");
    CHECK(ops["Conv"] == (std::string(name) == "alexnet" ? 5 : std::string(name) == "resnet20" ? 21 : 20));
    CHECK(ops["LpNormalization"] == 1);
  }
}

TEST_CASE("an ONNX model may have layers as outputs") {
  for (const char* name : {"resnet20", "preact-resnet18", "vgg16"}) {
    CAPTURE(name);
    Exported model = make_model(name, 64);
    const NamedLayers layers = model.module->stages();
    const Fields graph(Fields(to_onnx(*model.module, model.input, layers)).one(7));
    const std::vector<std::string> outputs = graph.all(12);
    REQUIRE(outputs.size() == 1 + layers.size());
    std::map<std::string, std::string> made_from;  // of Identity nodes
    std::set<std::string> made;
    for (const std::string& bytes : graph.all(1)) {
      const Fields node(bytes);
      made.insert(node.one(2));
      if (node.one(4) == "Identity") made_from[node.one(2)] = node.one(1);
    }
    for (size_t i = 0; i < layers.size(); ++i) {
      const Fields output(outputs[i + 1]);
      CHECK(output.one(1) == layers[i].first);
      CHECK(made.contains(made_from.at(layers[i].first)));
      CHECK(Fields(Fields(Fields(output.one(2)).one(1)).one(2)).all(1).size() == 4);  // N, C, H, W
    }
  }
  Exported model = make_model("resnet20", 32);
  Linear other(3, 4);
  CHECK_THROWS_WITH_AS(to_onnx(*model.module, model.input, {{"other", &other}}),
                       doctest::Contains("layer other gives no output of its own"), Error);
}

TEST_CASE("an ONNX model has convolution weights as [O, I, H, W]") {
  Exported model = make_model("resnet20", 32);
  const Tensor& weight =
      model.module->parameters().front().variable->value();  // [16, 3, 3, 3] as [O, H, W, I]
  REQUIRE(weight.shape() == Shape{16, 3, 3, 3});
  const Fields graph(Fields(to_onnx(*model.module, model.input)).one(7));
  std::string name;
  for (const std::string& bytes : graph.all(1))
    if (const Fields node(bytes); name.empty() && node.one(4) == "Conv") name = node.all(1).at(1);
  const Constant initializer = initializers_of(graph).at(name);
  REQUIRE(initializer.dims == std::vector<int64_t>{16, 3, 3, 3});
  for (size_t o = 0; o < 16; ++o)
    for (size_t i = 0; i < 3; ++i)
      for (size_t p = 0; p < 9; ++p)
        CHECK(initializer.values[(o * 3 + i) * 9 + p] == weight.data<float>()[(o * 9 + p) * 3 + i]);
}

namespace {

struct Unknown : Module {
  Linear fc{12, 16};
  Unknown() { add("fc", fc); }
  Variable forward(const Variable& x) override {
    return fc(dropout(reshape(x, {x.shape()[0], -1}), 0.5f, {}));
  }
};

}  // namespace

TEST_CASE("what ONNX has no form for is an error that names it") {
  Exported model = make_model("resnet20", 32);
  model.module = std::make_unique<Unknown>();
  model.module->initialize(1);
  model.input.size = 2;
  CHECK_THROWS_WITH_AS(to_onnx(*model.module, model.input), doctest::Contains("dropout"), Error);
}
