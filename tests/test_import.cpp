// Files of torch.save, and which network their tensors are.
#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <map>

#include "autograd/functions.h"
#include "layers/import.h"
#include "layers/import_tensorflow.h"
#include "layers/state_dict.h"
#include "tensor/io/files.h"
#include "tensor/io/pickle.h"
#include "tensor/io/tensorflow_checkpoint.h"
#include "tensor/io/torch_file.h"
#include "tensor/ops.h"
#include "tests/temporary_folder.h"

using namespace la;
using namespace std::string_literals;
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
  CHECK(message("\x80\2(.") == "the pickle ends with 0 values on its stack");
  CHECK(message("\x80\2]" + std::string((1 << 22) + 1, 'N') + ".") ==
        "the pickle has more than 4194304 values");
}

TEST_CASE("a tensor that is named again and again takes no more memory than its names may") {
  const TemporaryFolder folder;
  const std::string path = folder.file("names.pth");
  const auto text = [](const std::string& s) {
    const auto count = static_cast<uint32_t>(s.size());
    return "X" + std::string(reinterpret_cast<const char*>(&count), sizeof count) + s;
  };
  std::string again;  // the tensor at place 1 of the memo: 70 MB of names
  for (int i = 0; i < 700; ++i) again += "h\1"sv;
  const std::string tensor = "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") +
                             "ctorch\nFloatStorage\n" + text("0") + text("cpu") + "K\1tQK\0K\1\x85K\1\x85tR"s;
  // A magic number, the version 1001, facts of the machine, and the object, {"kkk...": [tensor, tensor, ...]}.
  write_bytes(path, "\x80\2\x8a\1\0.\x80\2M\xe9\3.\x80\2}.\x80\2}"s + text(std::string(100'000, 'k')) + "](" +
                        tensor + "q\1" + again + "es.");
  CHECK_THROWS_WITH_AS(TorchFile{path}, doctest::Contains("names of its tensors have more than"), Error);
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

namespace {

std::map<std::string, Tensor> variables_of(const std::string& path) {
  const TensorflowCheckpoint checkpoint(path);
  std::map<std::string, Tensor> variables;
  for (const auto& entry : checkpoint.entries()) variables.emplace(entry.name, checkpoint.read(entry));
  return variables;
}

}  // namespace

TEST_CASE("variables of a TensorFlow checkpoint are read from all of its data files") {
  const auto variables = variables_of("tests/fixtures/tensorflow.index");
  CHECK(variables.size() == 47);
  std::vector<int> all(24);
  for (int i = 0; i < 24; ++i) all[static_cast<size_t>(i)] = i;
  CHECK(variables.at("a/kernel").shape() == Shape{2, 3, 4});
  CHECK(variables.at("a/kernel").to_vector<float>() == quarters(all));
  CHECK(variables.at("count").to_vector<int64_t>() == std::vector<int64_t>{12345678901});
  CHECK(variables.at("empty").shape() == Shape{0, 5});
  CHECK(variables.at("half").to_vector<float>() == std::vector<float>{0.5f, -2.0f, 65504.0f});
  CHECK(variables.at("double").to_vector<float>() == std::vector<float>{1e-3f, 0.1f});
  CHECK(variables.at("int").to_vector<int32_t>() == std::vector<int32_t>{-3, 7});
  for (int i = 0; i < 40; ++i)
    CHECK(variables.at(formatted("layer_with_a_long_name_{:02}/bias", i)).to_vector<float>() ==
          std::vector<float>(3, static_cast<float>(i)));
}

TEST_CASE("a TensorFlow index that has one block again and again is an Error") {
  std::string table;
  const auto put = [&](const auto number) {
    table.append(reinterpret_cast<const char*>(&number), sizeof number);
  };
  const auto add_block = [&](const std::string& content) {
    table += content + '\0';  // not compressed
    uint32_t crc = ~0u;
    for (const char c : content + '\0') {
      crc ^= static_cast<uint8_t>(c);
      for (int bit = 0; bit < 8; ++bit) crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
    }
    put(std::rotr(~crc, 15) + 0xa282ead8u);
  };
  const std::string no_restarts(4, '\0');
  add_block(no_restarts);  // at byte 0, of 4 bytes, 9 with its checksum
  add_block(no_restarts);  // at byte 9: about the table
  const std::string entry = "\0\0\2\0\4"s;
  add_block(entry + entry + no_restarts);  // at byte 18, of 14 bytes: the first block, twice
  table += "\x9\x4\x12\xe"s + std::string(36, '\0');
  put(uint64_t{0xdb4775248b80fb57});
  const TemporaryFolder folder;
  const std::string path = folder.file("x.index");
  write_bytes(path, table);
  CHECK_THROWS_WITH_AS(TensorflowCheckpoint{path},
                       doctest::Contains("a block at byte 0, within the one before"), Error);
}

TEST_CASE("a damaged TensorFlow checkpoint is an Error that names a file of it, wherever a bit has changed") {
  const TemporaryFolder folder;
  const std::string index = read_file("tests/fixtures/tensorflow.index");
  std::map<std::string, std::string> data;
  for (const char* part : {".data-00000-of-00002", ".data-00001-of-00002"}) {
    data[part] = read_file(std::string("tests/fixtures/tensorflow") + part);
    write_bytes(folder.file(std::string("x") + part), data[part]);
  }
  const auto read = [&] {
    try {
      variables_of(folder.file("x.index"));
    } catch (const Error& error) {
      CHECK(std::string(error.what()).find(folder.file("x.")) != std::string::npos);
      return false;
    }
    return true;
  };
  write_bytes(folder.file("x.index"), index);
  CHECK(read());
  constexpr size_t footer = 48;  // has no checksum, and room that is not used
  for (size_t at = 0; at < index.size(); at += 3) {
    std::string changed = index;
    changed[at] = static_cast<char>(changed[at] ^ (1 << at % 8));
    write_bytes(folder.file("x.index"), changed);
    const bool still = read();
    CHECK((!still || at >= index.size() - footer));
    write_bytes(folder.file("x.index"), index.substr(0, at));
    CHECK_FALSE(read());
  }
  write_bytes(folder.file("x.index"), index);
  for (const auto& [part, bytes] : data) {
    const std::string path = folder.file("x" + part);
    for (size_t at = 0; at < bytes.size(); at += 5) {
      std::string changed = bytes;
      changed[at] = static_cast<char>(changed[at] ^ (1 << at % 8));
      write_bytes(path, changed);
      CHECK_FALSE(read());
    }
    write_bytes(path, bytes.substr(0, bytes.size() / 2));
    CHECK_FALSE(read());
    write_bytes(path, bytes);
  }
}
