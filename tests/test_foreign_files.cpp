// Files of other programs: torch.save's and TensorFlow's, whole and damaged.
#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <map>

#include "tensor/io/files.h"
#include "tensor/io/pickle.h"
#include "tensor/io/tensorflow_checkpoint.h"
#include "tensor/io/torch_file.h"
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
