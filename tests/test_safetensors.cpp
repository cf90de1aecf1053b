#include "tensor/io/safetensors.h"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "tensor/io/files.h"
#include "tests/temporary_folder.h"

namespace la {
namespace {

std::string message_of(const std::string& path, Checksum checksum = Checksum::optional) {
  try {
    read_safetensors(path, checksum);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

std::vector<NamedTensor> one_of_each() {
  return {{"labels", Tensor::from(std::vector<uint8_t>{1, 2, 255}, {3})},
          {"conv1.weight", Tensor::from(std::vector<float>{1.5f, -0.0f, 3e38f, 1e-45f}, {2, 1, 2})},
          {"step", Tensor::from(std::vector<int64_t>{INT64_MIN, INT64_MAX}, {2})},
          {"counts", Tensor::from(std::vector<int32_t>{-7}, Shape{})},
          {"half", Tensor::from(std::vector<bf16>{bf16(1.0f), bf16(-2.5f)}, {1, 2})},
          {"none", Tensor::from(std::vector<float>{}, {0, 5})}};
}

/// A file with this header and this many bytes of data.
std::string file_bytes(const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof length);
  return bytes + header + std::string(data_bytes, '\1');
}

}  // namespace

TEST_CASE("safetensors: what is written is read back bit for bit") {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.safetensors");
  const Metadata metadata = {{"epoch", "12"}, {"note", "\"quoted\" \\ \n caf\xc3\xa9"}};
  write_safetensors(path, one_of_each(), metadata);

  const SafetensorsFile file = read_safetensors(path, Checksum::required);
  CHECK(file.metadata == metadata);
  CHECK(file.tensors.size() == one_of_each().size());
  for (const NamedTensor& expected : one_of_each()) {
    CAPTURE(expected.name);
    const Tensor& read = file.at(expected.name);
    CHECK(read.shape() == expected.tensor.shape());
    REQUIRE(read.dtype() == expected.tensor.dtype());
    CHECK(std::memcmp(read.raw(), expected.tensor.raw(), read.bytes()) == 0);
  }
  CHECK_FALSE(file.contains("absent"));
  CHECK_THROWS_WITH_AS(file.at("absent"), doctest::Contains(path.c_str()), Error);
  CHECK(folder.list() == std::vector<std::string>{"a.safetensors"});
}

TEST_CASE("safetensors: the bytes are those of the format") {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.safetensors");
  write_safetensors(path, one_of_each());
  const std::string bytes = read_file(path);

  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  CHECK(length % 8 == 0);
  const auto header = nlohmann::json::parse(bytes.substr(8, length));
  const auto& weight = header["conv1.weight"];
  CHECK(weight["dtype"] == "F32");
  CHECK(weight["shape"] == std::vector<int>{2, 1, 2});
  float values[4];
  const size_t begin = weight["data_offsets"][0];
  REQUIRE(weight["data_offsets"][1] == begin + sizeof values);
  std::memcpy(values, bytes.data() + 8 + length + begin, sizeof values);
  CHECK(values[0] == 1.5f);
  CHECK(values[2] == 3e38f);
  CHECK(header["half"]["dtype"] == "BF16");
  CHECK(header["step"]["dtype"] == "I64");
  CHECK(header["counts"]["dtype"] == "I32");
  CHECK(header["counts"]["shape"].empty());
  CHECK(header["labels"]["dtype"] == "U8");
  // Every tensor begins at a multiple of its element, so that other programs can map it.
  CHECK(header["step"]["data_offsets"][0].get<size_t>() % 8 == 0);
  CHECK(begin % 4 == 0);
}

TEST_CASE("safetensors: the order of the tensors does not change the bytes") {
  const TemporaryFolder folder;
  std::vector<NamedTensor> tensors = one_of_each();
  write_safetensors(folder.file("a"), tensors, {{"k", "v"}});
  std::reverse(tensors.begin(), tensors.end());
  write_safetensors(folder.file("b"), tensors, {{"k", "v"}});
  CHECK(read_file(folder.file("a")) == read_file(folder.file("b")));
}

TEST_CASE("safetensors: a file that is cut off anywhere is an Error") {
  const TemporaryFolder folder;
  write_safetensors(folder.file("whole"), one_of_each(), {{"epoch", "3"}});
  const std::string bytes = read_file(folder.file("whole"));
  const std::string path = folder.file("cut");
  for (size_t size = 0; size < bytes.size(); ++size) {
    write_bytes(path, bytes.substr(0, size));
    CAPTURE(size);
    CHECK(message_of(path).find(path) != std::string::npos);
  }
  write_bytes(path, bytes + '\0');
  CHECK(message_of(path) != "");
}

TEST_CASE("safetensors: a file with any bit flipped is an Error") {
  const TemporaryFolder folder;
  write_safetensors(
      folder.file("whole"),
      {{"w", Tensor::from(std::vector<float>{1, 2}, {2})}, {"u", Tensor::zeros({1}, DType::u8)}},
      {{"epoch", "3"}});
  const std::string bytes = read_file(folder.file("whole"));
  const std::string path = folder.file("flipped");
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    std::string flipped = bytes;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    write_bytes(path, flipped);
    CAPTURE(bit);
    CHECK(message_of(path, Checksum::required).find(path) != std::string::npos);
  }
}

TEST_CASE("safetensors: files of other programs need no checksum, unless it is asked for") {
  const TemporaryFolder folder;
  const std::string path = folder.file("a");
  write_bytes(path, file_bytes(R"({"w":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", 2));
  CHECK(read_safetensors(path).at("w").to_vector<uint8_t>() == std::vector<uint8_t>{1, 1});
  CHECK(message_of(path, Checksum::required).find("no checksum") != std::string::npos);
}

TEST_CASE("safetensors: halves and doubles become f32") {
  const TemporaryFolder folder;
  const std::string path = folder.file("w");
  // Halves 1.5, -2, the smallest above 0, infinity; doubles 1/3 and -1e-300, which f32 rounds.
  const std::string halves("\0\x3e\0\xc0\1\0\0\x7c", 8);
  const double doubles[] = {1.0 / 3, -1e-300};
  const std::string header =
      R"({"h":{"dtype":"F16","shape":[4],"data_offsets":[0,8]},"d":{"dtype":"F64","shape":[2,1],"data_offsets":[8,24]}})";
  const uint64_t length = header.size();
  write_bytes(path, std::string(reinterpret_cast<const char*>(&length), 8) + header + halves +
                        std::string(reinterpret_cast<const char*>(doubles), 16));
  const SafetensorsFile file = read_safetensors(path);
  CHECK(file.at("h").to_vector<float>() ==
        std::vector<float>{1.5f, -2.0f, std::ldexp(1.0f, -24), std::numeric_limits<float>::infinity()});
  CHECK(file.at("d").shape() == Shape{2, 1});
  CHECK(file.at("d").to_vector<float>() == std::vector<float>{1.0f / 3, -0.0f});
}

TEST_CASE("safetensors: an impossible header is an Error that says why") {
  struct Case {
    const char* header;
    const char* message;
  };
  const Case cases[] = {
      {"", "JSON"},
      {"[]", "JSON"},
      {"{", "JSON"},
      {"{\"\xff\":1}", "JSON"},
      {R"({"w":1})", "'w' does not consist"},
      {R"({"w":{"dtype":"U8","shape":[8]}})", "'w' does not consist"},
      {R"({"w":{"dtype":"C64","shape":[1],"data_offsets":[0,8]}})", "C64"},
      {R"({"w":{"dtype":7,"shape":[1],"data_offsets":[0,8]}})", "dtype"},
      {R"({"w":{"dtype":"U8","shape":[-8],"data_offsets":[0,8]}})", "extent"},
      {R"({"w":{"dtype":"U8","shape":[8.0],"data_offsets":[0,8]}})", "extent"},
      {R"({"w":{"dtype":"U8","shape":[2,2],"data_offsets":[0,8]}})", "needs 4 bytes"},
      {R"({"w":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}})", "impossibly large"},
      {R"({"w":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]}})", "impossibly large"},
      {R"({"w":{"dtype":"U8","shape":[1,1,1,1,1,1,8],"data_offsets":[0,8]}})", "shape"},
      {R"({"w":{"dtype":"U8","shape":[16],"data_offsets":[0,16]}})", "outside"},
      {R"({"w":{"dtype":"U8","shape":[8],"data_offsets":[8,0]}})", "outside"},
      {R"({"w":{"dtype":"U8","shape":[8],"data_offsets":[0]}})", "data_offsets"},
      {R"({"w":{"dtype":"U8","shape":[8],"data_offsets":[0,1e1]}})", "offset"},
      {R"({"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", "cover 4 of the 8"},
      {R"({"w":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})", "begin at byte 4"},
      {R"({"a":{"dtype":"U8","shape":[6],"data_offsets":[0,6]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
       "begin at byte 4"},
      {R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
       "stands twice"},
      {R"({"a":{"dtype":"U8","dtype":"U8","shape":[8],"data_offsets":[0,8]}})", "stands twice"},
      {R"({"__metadata__":{"k":1},"w":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})", "metadata"},
      {R"({"__metadata__":3,"w":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})", "metadata"},
      {R"({"w":[[[[[[[[1]]]]]]]]})", "nested"},
  };
  const TemporaryFolder folder;
  const std::string path = folder.file("bad");
  for (const Case& c : cases) {
    write_bytes(path, file_bytes(c.header, 8));
    CAPTURE(c.header);
    const std::string message = message_of(path);
    CHECK(message.find(path) != std::string::npos);
    CHECK_MESSAGE(message.find(c.message) != std::string::npos, message);
  }
  write_bytes(path, std::string("PK\x03\x04\0\0\x08\x08\0\0archive/data.pkl", 26));
  CHECK(message_of(path).find("PyTorch pickle") != std::string::npos);
  CHECK(message_of(folder.path()).find("not a regular file") != std::string::npos);
  CHECK(message_of(folder.file("absent")).find("No such file") != std::string::npos);
}

TEST_CASE("safetensors: what cannot be written is refused") {
  const TemporaryFolder folder;
  const std::string path = folder.file("a");
  const Tensor t = Tensor::zeros({1});
  CHECK_THROWS_WITH_AS(write_safetensors(path, {{"w", t}, {"w", t}}), doctest::Contains("two tensors"),
                       Error);
  CHECK_THROWS_WITH_AS(write_safetensors(path, {{"w", Tensor()}}), doctest::Contains("undefined"), Error);
  CHECK_THROWS_WITH_AS(write_safetensors(path, {{"__metadata__", t}}), doctest::Contains("must not"), Error);
  CHECK_THROWS_WITH_AS(write_safetensors(path, {}, {{"la_crc32", ""}}), doctest::Contains("reserved"), Error);
  CHECK_THROWS_WITH_AS(write_safetensors(path, {{"\xff", t}}), doctest::Contains("UTF-8"), Error);
  CHECK_THROWS_WITH_AS(write_safetensors(folder.file("no/a"), {}), doctest::Contains("No such file"), Error);
  CHECK(folder.list().empty());
}

TEST_CASE("safetensors: a full disk is an Error, and leaves the older file and nothing else") {
  const TemporaryFolder folder;
  const std::string path = folder.file("a");
  write_safetensors(path, {{"old", Tensor::zeros({1})}});

  // A limit on the size of files stands in for the full disk.
  rlimit usual;
  REQUIRE(getrlimit(RLIMIT_FSIZE, &usual) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small = {4096, usual.rlim_max};
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  std::string message;
  try {
    write_safetensors(path, {{"new", Tensor::zeros({10000})}});
  } catch (const Error& error) {
    message = error.what();
  }
  setrlimit(RLIMIT_FSIZE, &usual);
  std::signal(SIGXFSZ, handler);

  CHECK(message.find(path) != std::string::npos);
  CHECK(message.find("File too large") != std::string::npos);
  CHECK(folder.list() == std::vector<std::string>{"a"});
  CHECK(read_safetensors(path).contains("old"));
}

}  // namespace la
