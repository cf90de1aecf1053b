// CIFAR-10 and CIFAR-100 in their binary version (Krizhevsky 2009): records of one label (CIFAR-100: a coarse
// and a fine one, of which the fine one counts) and 32 x 32 pixels as three planes.
#include <algorithm>

#include "data/formats.h"
#include "tensor/format.h"

namespace la {
namespace {

constexpr int64_t side = 32, channels = 3, picture_bytes = side * side * channels;

struct Records {
  int label_bytes;  // the last one is the label
  int largest_label;
};

int64_t record_bytes(const Records& format) { return format.label_bytes + picture_bytes; }

int64_t count_records(const std::string& path, const Records& format) {
  const int64_t record = record_bytes(format), bytes = file_size(path);
  check(bytes > 0 && bytes % record == 0, "{}: has {} bytes, expected a multiple of {}", path, bytes, record);
  return bytes / record;
}

/// The first `count` records of a file: writes their pixels to `pixels` and appends their labels.
void read_records(const std::string& path, const Records& format, int64_t count, uint8_t* pixels,
                  std::vector<int>& labels) {
  FileReader file(path);
  std::vector<uint8_t> record(static_cast<size_t>(record_bytes(format)));
  for (int64_t i = 0; i < count; ++i) {
    file.read(record.data(), record.size());
    const int label = record[static_cast<size_t>(format.label_bytes - 1)];
    check(label <= format.largest_label, "{}: record {} has label {}, expected 0 to {}", path, i, label,
          format.largest_label);
    labels.push_back(label);
    interleave(record.data() + format.label_bytes, channels, side, side, false, pixels + i * picture_bytes);
  }
}

std::unique_ptr<Dataset> read_split(const std::vector<std::string>& paths, const Records& format,
                                    int64_t limit) {
  int64_t total = 0;
  for (const std::string& path : paths) total += count_records(path, format);
  if (limit > 0) total = std::min(total, limit);
  const Tensor pixels({total, side, side, channels}, DType::u8);
  std::vector<int> labels;
  for (const std::string& path : paths) {
    const auto done = static_cast<int64_t>(labels.size());
    const int64_t count = std::min(count_records(path, format), total - done);
    read_records(path, format, count, pixels.data<uint8_t>() + done * picture_bytes, labels);
  }
  return std::make_unique<PictureArray>(pixels, std::move(labels));
}

/// The test split is optional.
DataSource open_splits(const std::vector<std::string>& train, const std::string& test, const Records& format,
                       int64_t limit) {
  return {"", read_split(train, format, limit), file_exists(test) ? read_split({test}, format, 0) : nullptr};
}

}  // namespace

DataSource open_cifar10(const DataOptions& options) {
  const std::string& folder = options.path;
  std::vector<std::string> train;
  for (int i = 1; i <= 5; ++i) train.push_back(formatted("{}/data_batch_{}.bin", folder, i));
  return open_splits(train, folder + "/test_batch.bin", {.label_bytes = 1, .largest_label = 9},
                     options.limit);
}

DataSource open_cifar100(const DataOptions& options) {
  const std::string& folder = options.path;
  return open_splits({folder + "/train.bin"}, folder + "/test.bin", {.label_bytes = 2, .largest_label = 99},
                     options.limit);
}

}  // namespace la
