// IDX, the format of MNIST and its relatives: a magic number (two zeros, type, dimensions), the extents as
// big-endian 32-bit numbers, then the values. http://yann.lecun.com/exdb/mnist
#include "data/formats.h"

namespace la {
namespace {

constexpr uint32_t magic_images = 0x803, magic_labels = 0x801;  // u8; three dimensions, one
constexpr int64_t largest_side = 1 << 15, largest_count = 1 << 30;

/// The file, or the same with .gz; empty if there is neither.
std::string find_file(const std::string& folder, const std::string& name) {
  const std::string path = folder + "/" + name;
  if (file_exists(path)) return path;
  return file_exists(path + ".gz") ? path + ".gz" : "";
}

int64_t read_extent(FileReader& file, const char* what, int64_t largest) {
  const int64_t extent = file.read_big_endian_u32();
  check(extent >= 1 && extent <= largest, "{}: {} is {}, expected 1 to {}", file.path(), what, extent,
        largest);
  return extent;
}

void expect_magic(FileReader& file, uint32_t magic) {
  const uint32_t found = file.read_big_endian_u32();
  check(found == magic, "{}: begins with {:#010x}, expected {:#010x}; is it an IDX file?", file.path(), found,
        magic);
}

/// The values, read in pieces so that a header that promises too much is found out before memory
/// is taken for it.
std::vector<uint8_t> read_values(FileReader& file, int64_t count) {
  constexpr int64_t piece = 1 << 24;
  std::vector<uint8_t> values;
  while (static_cast<int64_t>(values.size()) < count) {
    const size_t at = values.size();
    values.resize(at + static_cast<size_t>(std::min(piece, count - static_cast<int64_t>(at))));
    file.read(values.data() + at, values.size() - at);
  }
  file.expect_end();
  return values;
}

std::unique_ptr<Dataset> read_split(const std::string& folder, const std::string& prefix, int64_t limit) {
  const std::string images_path = find_file(folder, prefix + "-images-idx3-ubyte");
  if (images_path.empty()) return nullptr;
  FileReader images(images_path);
  expect_magic(images, magic_images);
  int64_t count = read_extent(images, "the number of pictures", largest_count);
  const int64_t height = read_extent(images, "the height", largest_side);
  const int64_t width = read_extent(images, "the width", largest_side);
  std::vector<uint8_t> pixels = read_values(images, count * height * width);

  std::vector<int> labels;
  if (const std::string path = find_file(folder, prefix + "-labels-idx1-ubyte"); !path.empty()) {
    FileReader file(path);
    expect_magic(file, magic_labels);
    const int64_t label_count = read_extent(file, "the number of labels", largest_count);
    check(label_count == count, "{}: has {} labels, but {} has {} pictures", path, label_count, images_path,
          count);
    const std::vector<uint8_t> values = read_values(file, label_count);
    labels.assign(values.begin(), values.end());
  }
  if (limit > 0 && limit < count) {
    count = limit;
    pixels.resize(static_cast<size_t>(count * height * width));
    if (!labels.empty()) labels.resize(static_cast<size_t>(count));
  }
  return std::make_unique<PictureArray>(Tensor::from(pixels, {count, height, width, 1}), std::move(labels));
}

}  // namespace

DataSource open_idx(const DataOptions& options) {
  const std::string& folder = options.path;
  DataSource source{"", read_split(folder, "train", options.limit), read_split(folder, "t10k", 0)};
  check(source.train != nullptr, "{}: has no train-images-idx3-ubyte, nor one with .gz", folder);
  return source;
}

}  // namespace la
