// Data sets: what is written in a format comes back, and a file that is damaged in any way is an Error that
// names it.
#include <doctest/doctest.h>
#include <zlib.h>

#include <functional>

#include "data/dataset.h"
#include "tensor/format.h"
#include "tests/idx_files.h"
#include "tests/temporary_folder.h"

using namespace la;

namespace {

/// Some number for a pixel, different for every picture, channel, row and column nearby.
uint8_t pixel_value(int64_t picture, int64_t channel, int64_t y, int64_t x) {
  return static_cast<uint8_t>(picture * 101 + channel * 67 + y * 7 + x * 3 + y * x + 1);
}

void check_picture(const Dataset& data, int64_t i, int64_t pattern, int height, int width, int channels) {
  const Picture picture = data.picture(i);
  REQUIRE(picture.height == height);
  REQUIRE(picture.width == width);
  REQUIRE(picture.channels == channels);
  int wrong = 0;
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int c = 0; c < channels; ++c)
        wrong += picture.pixels[(y * width + x) * channels + c] != pixel_value(pattern, c, y, x);
  CHECK(wrong == 0);
}

/// Whether `action` throws an Error whose message contains `words`.
void check_error(const std::string& words, const std::function<void()>& action) {
  try {
    action();
    FAIL_CHECK("no error, expected one that says ", words);
  } catch (const Error& error) {
    CHECK_MESSAGE(std::string(error.what()).find(words) != std::string::npos, error.what(), " lacks ", words);
  }
}

void check_damaged(const TemporaryFolder& folder, const std::string& format, const std::string& file) {
  check_error(folder.file(file), [&] { open_data({.path = folder.path(), .format = format, .limit = 0}); });
}

void write_gz(const std::string& path, const std::string& bytes) {
  const gzFile file = gzopen(path.c_str(), "wb");
  REQUIRE(file != nullptr);
  CHECK(gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size())) == static_cast<int>(bytes.size()));
  CHECK(gzclose(file) == Z_OK);
}

std::string read_bytes(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

// ---- IDX: pictures of 3 rows and 4 columns --------------------------------------------------------------

const std::string train_images = "train-images-idx3-ubyte", train_labels = "train-labels-idx1-ubyte";

std::vector<uint8_t> grey_pixels(int count) {
  std::vector<uint8_t> pixels;
  for (int i = 0; i < count; ++i)
    for (int y = 0; y < 3; ++y)
      for (int x = 0; x < 4; ++x) pixels.push_back(pixel_value(i, 0, y, x));
  return pixels;
}

std::string idx_images(uint32_t count) {
  return idx_bytes(0x803, {count, 3, 4}, grey_pixels(static_cast<int>(count)));
}

// ---- CIFAR and STL-10 -----------------------------------------------------------------------------------

/// The planes of the picture number `pattern`.
std::string planes(int64_t pattern, int side, bool columns_first) {
  std::string bytes;
  for (int c = 0; c < 3; ++c)
    for (int a = 0; a < side; ++a)
      for (int b = 0; b < side; ++b)
        bytes.push_back(
            static_cast<char>(columns_first ? pixel_value(pattern, c, b, a) : pixel_value(pattern, c, a, b)));
  return bytes;
}

std::string cifar_record(const std::string& labels, int64_t pattern) {
  return labels + planes(pattern, 32, false);
}

std::string batch_name(int i) { return formatted("data_batch_{}.bin", i); }

/// Five batches of two records; picture i has the label i.
void write_cifar10(const TemporaryFolder& folder) {
  for (char b = 0; b < 5; ++b)
    write_bytes(folder.file(batch_name(b + 1)), cifar_record({static_cast<char>(2 * b)}, 2 * b) +
                                                    cifar_record({static_cast<char>(2 * b + 1)}, 2 * b + 1));
}

/// 2 pictures without labels, 2 with the labels 5 and 10 in the file.
void write_stl10(const TemporaryFolder& folder) {
  write_bytes(folder.file("unlabeled_X.bin"), planes(0, 96, true) + planes(1, 96, true));
  write_bytes(folder.file("train_X.bin"), planes(2, 96, true) + planes(3, 96, true));
  write_bytes(folder.file("train_y.bin"), "\5\12");
}

}  // namespace

TEST_CASE("IDX: pixels and labels come back, from plain and compressed files") {
  const TemporaryFolder folder;
  write_idx(folder.path(), "train", 3, 4, grey_pixels(5), {9, 0, 255, 3, 1});
  write_gz(folder.file("t10k-images-idx3-ubyte.gz"), idx_images(2));
  write_gz(folder.file("t10k-labels-idx1-ubyte.gz"), idx_bytes(0x801, {2}, {4, 6}));
  for (const std::string format : {"idx", "auto"}) {
    const DataSource data = open_data({.path = folder.path() + "/", .format = format, .limit = 0});
    CHECK(data.name == std::filesystem::path(folder.path()).filename().string());
    REQUIRE(data.train->size() == 5);
    CHECK(data.train->channels() == 1);
    CHECK(data.train->has_labels());
    CHECK(data.train->memory_bytes() == 60);
    CHECK(data.train->description() == "5 pictures, 3x4x1");
    for (int i = 0; i < 5; ++i) check_picture(*data.train, i, i, 3, 4, 1);
    CHECK(data.train->label(0) == 9);
    CHECK(data.train->label(2) == 255);
    CHECK_THROWS_AS(data.train->picture(5), Error);
    CHECK_THROWS_AS(data.train->picture(-1), Error);
    CHECK_THROWS_AS(data.train->label(5), Error);
    REQUIRE(data.test != nullptr);
    REQUIRE(data.test->size() == 2);
    check_picture(*data.test, 1, 1, 3, 4, 1);
    CHECK(data.test->label(1) == 6);
  }
}

TEST_CASE("IDX: labels and test pictures may be missing, and a limit holds for training") {
  const TemporaryFolder folder;
  write_bytes(folder.file(train_images), idx_images(4));
  const DataSource unlabeled_data = open_data({.path = folder.path(), .format = "auto", .limit = 3});
  CHECK(unlabeled_data.test == nullptr);
  CHECK(unlabeled_data.train->size() == 3);
  CHECK_FALSE(unlabeled_data.train->has_labels());
  CHECK(unlabeled_data.train->label(1) == unlabeled);
  CHECK(unlabeled_data.train->description() == "3 pictures, 3x4x1, no labels");

  write_idx(folder.path(), "train", 3, 4, grey_pixels(4), {1, 2, 3, 4});
  write_idx(folder.path(), "t10k", 3, 4, grey_pixels(3), {1, 2, 3});
  const DataSource limited = open_data({.path = folder.path(), .format = "auto", .limit = 2});
  CHECK(limited.train->size() == 2);
  check_picture(*limited.train, 1, 1, 3, 4, 1);
  CHECK(limited.train->label(1) == 2);
  CHECK(limited.test->size() == 3);
  CHECK(open_data({.path = folder.path(), .format = "auto", .limit = 100}).train->size() == 4);
}

TEST_CASE("IDX: a file cut anywhere, too long or with a wrong header is an Error that names it") {
  const TemporaryFolder folder;
  const std::string images = idx_images(2), labels = idx_bytes(0x801, {2}, {1, 2});
  write_bytes(folder.file(train_labels), labels);
  for (size_t length = 0; length < images.size(); ++length) {
    write_bytes(folder.file(train_images), images.substr(0, length));
    check_damaged(folder, "idx", train_images);
  }
  const std::vector<uint8_t> pixels = grey_pixels(2);
  const uint32_t many = 1u << 30, wide = 1u << 15;
  for (const std::string& damaged :
       {images + '\0', idx_bytes(0x801, {2, 3, 4}, pixels), idx_bytes(0x903, {2, 3, 4}, pixels),
        idx_bytes(0x803, {0, 3, 4}, {}), idx_bytes(0x803, {2, 0, 4}, {}),
        idx_bytes(0x803, {2, 3, 0xffffffff}, pixels),
        // An exabyte, of which 24 bytes are there: found out without asking for the memory.
        idx_bytes(0x803, {many, wide, wide}, pixels)}) {
    write_bytes(folder.file(train_images), damaged);
    check_damaged(folder, "idx", train_images);
  }
  write_bytes(folder.file(train_images), images);
  for (size_t length = 0; length < labels.size(); ++length) {
    write_bytes(folder.file(train_labels), labels.substr(0, length));
    check_damaged(folder, "idx", train_labels);
  }
  for (const std::string& damaged : {labels + '\0', idx_bytes(0x803, {2}, {1, 2}), idx_bytes(0x801, {1}, {1}),
                                     idx_bytes(0x801, {3}, {1, 2, 3})}) {
    write_bytes(folder.file(train_labels), damaged);
    check_damaged(folder, "idx", train_labels);
  }
}

TEST_CASE("IDX: a .gz cut anywhere is an Error, and with any byte damaged it is one or gives the same") {
  const TemporaryFolder folder;
  const std::string name = train_images + ".gz", path = folder.file(name);
  write_gz(path, idx_images(6));
  const std::string bytes = read_bytes(path);
  for (size_t length = 0; length < bytes.size(); ++length) {  // into the checksum at the end, too
    write_bytes(path, bytes.substr(0, length));
    check_damaged(folder, "idx", name);
  }
  int unharmed = 0;
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    write_bytes(path, damaged);
    try {
      const DataSource data = open_data({.path = folder.path(), .format = "idx", .limit = 0});
      REQUIRE(data.train->size() == 6);
      for (int i = 0; i < 6; ++i) check_picture(*data.train, i, i, 3, 4, 1);
      ++unharmed;
    } catch (const Error& error) {
      CHECK(std::string(error.what()).find(path) != std::string::npos);
    }
  }
  CHECK(unharmed <= 6);  // gzip's header has a time, the effort of the compression and the system: 6 bytes
  write_gz(path, idx_images(6) + "more");
  check_damaged(folder, "idx", name);
  write_bytes(path, "not compressed at all");
  check_damaged(folder, "idx", name);
}

TEST_CASE("CIFAR-10: five batches in order, planes become interleaved") {
  const TemporaryFolder folder;
  write_cifar10(folder);
  CHECK(open_data({.path = folder.path(), .format = "auto", .limit = 0}).test == nullptr);
  write_bytes(folder.file("test_batch.bin"), cifar_record("\7", 20));
  for (const std::string format : {"cifar10", "auto"}) {
    const DataSource data = open_data({.path = folder.path(), .format = format, .limit = 0});
    REQUIRE(data.train->size() == 10);
    CHECK(data.train->channels() == 3);
    for (int i = 0; i < 10; ++i) {
      check_picture(*data.train, i, i, 32, 32, 3);
      CHECK(data.train->label(i) == i);
    }
    REQUIRE(data.test->size() == 1);
    check_picture(*data.test, 0, 20, 32, 32, 3);
    CHECK(data.test->label(0) == 7);
  }
  const DataSource limited = open_data({.path = folder.path(), .format = "auto", .limit = 3});
  REQUIRE(limited.train->size() == 3);
  check_picture(*limited.train, 2, 2, 32, 32, 3);
  CHECK(limited.train->label(2) == 2);
}

TEST_CASE("CIFAR-10: damaged and missing batches are Errors that name them") {
  const std::string record = cifar_record("\3", 1);
  for (const std::string& damaged :
       {std::string(), record.substr(1), record.substr(0, 1000), record + 'x', cifar_record("\12", 1)}) {
    const TemporaryFolder folder;
    write_cifar10(folder);
    write_bytes(folder.file(batch_name(3)), damaged);
    check_damaged(folder, "auto", batch_name(3));
  }
  const TemporaryFolder folder;
  write_cifar10(folder);
  std::filesystem::remove(folder.file(batch_name(4)));
  check_damaged(folder, "auto", batch_name(4));
}

TEST_CASE("CIFAR-100: the fine label counts") {
  const TemporaryFolder folder;
  write_bytes(folder.file("train.bin"),
              cifar_record("\23\143", 0) + cifar_record({'\0', '\0'}, 1) + cifar_record("\1\52", 2));
  write_bytes(folder.file("test.bin"), cifar_record("\2\3", 3));
  for (const std::string format : {"cifar100", "auto"}) {
    const DataSource data = open_data({.path = folder.path(), .format = format, .limit = 0});
    REQUIRE(data.train->size() == 3);
    for (int i = 0; i < 3; ++i) check_picture(*data.train, i, i, 32, 32, 3);
    CHECK(data.train->label(0) == 99);
    CHECK(data.train->label(1) == 0);
    CHECK(data.train->label(2) == 42);
    check_picture(*data.test, 0, 3, 32, 32, 3);
    CHECK(data.test->label(0) == 3);
  }
  CHECK(open_data({.path = folder.path(), .format = "auto", .limit = 2}).train->size() == 2);
  write_bytes(folder.file("test.bin"), cifar_record("\2\144", 3));
  check_damaged(folder, "auto", "test.bin");
  write_bytes(folder.file("train.bin"), cifar_record("\2", 3));  // one label, as in CIFAR-10
  check_damaged(folder, "auto", "train.bin");
}

TEST_CASE("STL-10: planes by columns, pictures with and without labels") {
  const TemporaryFolder folder;
  write_stl10(folder);
  write_bytes(folder.file("test_X.bin"), planes(4, 96, true));
  write_bytes(folder.file("test_y.bin"), "\1");
  for (const std::string format : {"stl10", "auto"}) {
    const DataSource data = open_data({.path = folder.path(), .format = format, .limit = 0});
    REQUIRE(data.train->size() == 4);
    for (int i = 0; i < 4; ++i) check_picture(*data.train, i, i, 96, 96, 3);
    CHECK(data.train->has_labels());
    const int labels[] = {unlabeled, unlabeled, 4, 9};
    for (int i = 0; i < 4; ++i) CHECK(data.train->label(i) == labels[i]);
    REQUIRE(data.test->size() == 1);
    check_picture(*data.test, 0, 4, 96, 96, 3);
    CHECK(data.test->label(0) == 0);
  }
  const DataSource three = open_data({.path = folder.path(), .format = "auto", .limit = 3});
  REQUIRE(three.train->size() == 3);
  check_picture(*three.train, 2, 2, 96, 96, 3);
  CHECK(three.train->label(2) == 4);
  const DataSource one = open_data({.path = folder.path(), .format = "auto", .limit = 1});
  CHECK(one.train->size() == 1);
  CHECK_FALSE(one.train->has_labels());
}

TEST_CASE("STL-10: training goes without the labeled pictures, or without their labels") {
  const TemporaryFolder folder;
  write_stl10(folder);
  std::filesystem::remove(folder.file("train_y.bin"));
  const DataSource data = open_data({.path = folder.path(), .format = "auto", .limit = 0});
  CHECK(data.train->size() == 4);
  CHECK_FALSE(data.train->has_labels());
  CHECK(data.test == nullptr);
  std::filesystem::remove(folder.file("train_X.bin"));
  CHECK(open_data({.path = folder.path(), .format = "auto", .limit = 0}).train->size() == 2);
}

TEST_CASE("STL-10: damaged files are Errors that name them") {
  const TemporaryFolder folder;
  write_stl10(folder);
  using std::string_literals::operator""s;
  for (const std::string& labels : {"\5"s, "\5\1\1"s, ""s, "\5\0"s, "\13\5"s}) {
    write_bytes(folder.file("train_y.bin"), labels);
    check_damaged(folder, "auto", "train_y.bin");
  }
  write_stl10(folder);
  for (const std::string name : {"train_X.bin", "unlabeled_X.bin"}) {
    const std::string bytes = read_bytes(folder.file(name));
    for (const size_t length : {size_t{0}, size_t{1}, bytes.size() / 2 - 1, bytes.size() - 1}) {
      write_bytes(folder.file(name), bytes.substr(0, length));
      check_damaged(folder, "stl10", name);
    }
    write_bytes(folder.file(name), bytes);
  }
}

TEST_CASE("pixels that look like the beginning of a .gz stay pixels") {
  const TemporaryFolder folder;
  std::string bytes = planes(0, 96, true);
  bytes[0] = '\x1f';
  bytes[1] = '\x8b';
  write_bytes(folder.file("unlabeled_X.bin"), bytes);
  const DataSource data = open_data({.path = folder.path(), .format = "auto", .limit = 0});
  CHECK(data.train->picture(0).pixels[0] == 0x1f);
  CHECK(data.train->picture(0).pixels[96 * 3] == 0x8b);  // the second pixel of the first column
}

TEST_CASE("a folder without data, and a format that is unknown, are Errors that say so") {
  const TemporaryFolder folder;
  check_error(folder.path(), [&] { open_data({.path = folder.path(), .format = "auto", .limit = 0}); });
  check_error(folder.path(), [&] { open_data({.path = folder.path(), .format = "idx", .limit = 0}); });
  check_damaged(folder, "cifar10", batch_name(1));
  check_damaged(folder, "cifar100", "train.bin");
  check_damaged(folder, "stl10", "unlabeled_X.bin");
  check_error("\"jpeg2000\"", [&] { open_data({.path = folder.path(), .format = "jpeg2000", .limit = 0}); });
  check_error("unlabeled_X.bin", [&] {
    open_data({.path = folder.path(), .format = "auto", .limit = 0});
  });  // what it looks for
  check_error(folder.file("none"),
              [&] { open_data({.path = folder.file("none"), .format = "auto", .limit = 0}); });
  write_bytes(folder.file("file"), "");
  check_error(folder.file("file"),
              [&] { open_data({.path = folder.file("file"), .format = "idx", .limit = 0}); });
}
