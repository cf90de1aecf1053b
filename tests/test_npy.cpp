// .npy files against a plain reading of the format, and damaged ones.
#include <doctest/doctest.h>

#include <cstring>

#include "tensor/io/npy.h"
#include "tensor/random.h"
#include "tests/temporary_folder.h"

using namespace la;

namespace {

void write_rows(const std::string& path, const Shape& row, const std::vector<int64_t>& parts) {
  NpyWriter writer(path, row);
  float value = 0;
  for (const int64_t rows : parts) {
    Shape shape{rows};
    for (const int64_t extent : row) shape.append(extent);
    const Tensor part(shape);
    for (int64_t i = 0; i < part.numel(); ++i) part.data<float>()[i] = value++;
    writer.append(part);
  }
  CHECK_FALSE(std::filesystem::exists(path));  // only when it is finished
  writer.finish();
}

}  // namespace

TEST_CASE("an array is written as numpy's format says") {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.npy");
  write_rows(path, {3}, {2, 1});
  const std::string bytes = read_file(path);
  // Magic, version 1.0, the length of the header in two bytes, low first; all of it a multiple of 64.
  CHECK(bytes.substr(0, 8) == std::string("\x93NUMPY\x01\0", 8));
  const size_t length = static_cast<unsigned char>(bytes[8]) + 256u * static_cast<unsigned char>(bytes[9]);
  CHECK((10 + length) % 64 == 0);
  const std::string header = bytes.substr(10, length);
  CHECK(header.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 3), }"));
  CHECK(header.ends_with(" \n"));
  REQUIRE(bytes.size() == 10 + length + 9 * 4);
  for (size_t i = 0; i < 9; ++i) {
    float value = -1;
    std::memcpy(&value, bytes.data() + 10 + length + 4 * i, 4);
    CHECK(value == static_cast<float>(i));
  }
}

TEST_CASE("arrays of any shape come back") {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.npy");
  for (const Shape& row : {Shape{}, Shape{1}, Shape{2, 3, 4}}) {
    write_rows(path, row, {5, 0, 2});
    const Tensor back = read_npy(path);
    CHECK(back.size(0) == 7);
    CHECK(back.rank() == row.rank() + 1);
    CHECK(back.numel() == 7 * row.numel());
    CHECK(back.data<float>()[back.numel() - 1] == static_cast<float>(back.numel() - 1));
    std::filesystem::remove(path);
  }
}

TEST_CASE("damaged arrays are an error that names the file") {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.npy"), broken = folder.file("b.npy");
  write_rows(path, {2}, {3});
  const std::string bytes = read_file(path);
  const auto refused = [&](const std::string& contents) {
    write_bytes(broken, contents);
    CHECK_THROWS_WITH_AS(read_npy(broken), doctest::Contains(broken.c_str()), Error);
  };
  for (const size_t size : {0, 5, 9, 40, 127, 128, 151}) refused(bytes.substr(0, size));
  refused(bytes + "x");
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = bytes;
    return text.replace(text.find(from), from.size(), to);
  };
  refused(with("<f4", "<f8"));
  refused(with("False", "True "));
  refused(with("(3, 2)", "(3,-2)"));
  refused(with("(3, 2), }                    ", "(3000000000, 2000000000), }   "));
  refused(with("(3, 2), }          ", "(3,1,1,1,1,1,2), }"));

  RandomGenerator random({.seed = 8});
  for (int i = 0; i < 500; ++i) {
    std::string text = bytes;
    for (int b = 0; b < 2; ++b) text[random.below(140)] = static_cast<char>(random.below(256));
    write_bytes(broken, text);
    try {
      const Tensor read = read_npy(broken);
      CHECK(read.numel() == 6);
    } catch (const Error& error) {
      CHECK(std::string(error.what()).find(broken) != std::string::npos);
    }
  }
}
