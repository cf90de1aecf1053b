// CIFAR-10 and CIFAR-100 in their binary version (Krizhevsky 2009): records of one label (CIFAR-100: a coarse
// and a fine one, of which the fine one counts) and 32 x 32 pixels as three planes.
#include "data/formats.h"

namespace la {
namespace {

constexpr int64_t side = 32, channels = 3, picture_bytes = side * side * channels;

struct Records {
  int label_bytes;  // the last one is the label
  int largest_label;
};

/// Appends the records of a file.
void read_records(const std::string& path, const Records& format, std::vector<uint8_t>& pixels,
                  std::vector<int>& labels) {
  const int64_t record = format.label_bytes + picture_bytes, bytes = file_size(path);
  check(bytes > 0 && bytes % record == 0, "{}: has {} bytes, expected a multiple of {}", path, bytes, record);
  FileReader file(path);
  std::vector<uint8_t> buffer(static_cast<size_t>(record));
  for (int64_t i = 0; i < bytes / record; ++i) {
    file.read(buffer.data(), buffer.size());
    const int label = buffer[static_cast<size_t>(format.label_bytes - 1)];
    check(label <= format.largest_label, "{}: record {} has label {}, expected 0 to {}", path, i, label,
          format.largest_label);
    labels.push_back(label);
    pixels.resize(pixels.size() + picture_bytes);
    interleave(buffer.data() + format.label_bytes, channels, side, side, false,
               pixels.data() + pixels.size() - picture_bytes);
  }
}

std::unique_ptr<Dataset> read_split(const std::vector<std::string>& paths, const Records& format,
                                    int64_t limit) {
  std::vector<uint8_t> pixels;
  std::vector<int> labels;
  for (const std::string& path : paths) read_records(path, format, pixels, labels);
  auto count = static_cast<int64_t>(labels.size());
  if (limit > 0 && limit < count) {
    count = limit;
    labels.resize(static_cast<size_t>(count));
    pixels.resize(static_cast<size_t>(count * picture_bytes));
  }
  return std::make_unique<PictureArray>(Tensor::from(pixels, {count, side, side, channels}),
                                        std::move(labels));
}

/// The test split is optional.
DataSource open_splits(const std::vector<std::string>& train, const std::string& test, const Records& format,
                       int64_t limit) {
  return {"", read_split(train, format, limit), file_exists(test) ? read_split({test}, format, 0) : nullptr};
}

}  // namespace

DataSource open_cifar10(const std::string& folder, int64_t limit) {
  std::vector<std::string> train;
  for (int i = 1; i <= 5; ++i) train.push_back(fmt::format("{}/data_batch_{}.bin", folder, i));
  return open_splits(train, folder + "/test_batch.bin", {.label_bytes = 1, .largest_label = 9}, limit);
}

DataSource open_cifar100(const std::string& folder, int64_t limit) {
  return open_splits({folder + "/train.bin"}, folder + "/test.bin", {.label_bytes = 2, .largest_label = 99},
                     limit);
}

}  // namespace la
