// STL-10 in its binary version (Coates, Lee, Ng 2011): 96 x 96 pixels as three planes, each stored column by
// column; labels from 1 to 10 in a file of their own. Training uses the 100,000 pictures without labels and
// the 5,000 with.
#include <algorithm>

#include "data/formats.h"
#include "tensor/format.h"

namespace la {
namespace {

constexpr int64_t side = 96, channels = 3, picture_bytes = side * side * channels;

/// One file of pictures, with the labels that stand in a file of their own.
struct Part {
  std::string path;
  int64_t count;
  std::vector<int> labels;  // `count`, perhaps `unlabeled`
};

std::vector<int> read_labels(const std::string& path, int64_t pictures) {
  const int64_t bytes = file_size(path);
  check(bytes == pictures, "{}: has {} labels for {} pictures", path, bytes, pictures);
  std::vector<uint8_t> values(static_cast<size_t>(bytes));
  FileReader(path).read(values.data(), values.size());
  std::vector<int> labels;
  for (const uint8_t value : values) {
    check(value >= 1 && value <= 10, "{}: label {} is {}, expected 1 to 10", path, labels.size(), value);
    labels.push_back(value - 1);
  }
  return labels;
}

Part find_part(const std::string& folder, const std::string& name) {
  const std::string pictures = formatted("{}/{}_X.bin", folder, name);
  const std::string labels = formatted("{}/{}_y.bin", folder, name);
  const int64_t bytes = file_size(pictures), count = bytes / picture_bytes;
  check(bytes > 0 && bytes % picture_bytes == 0, "{}: has {} bytes, expected a multiple of {}", pictures,
        bytes, picture_bytes);
  return {pictures, count,
          file_exists(labels) ? read_labels(labels, count)
                              : std::vector<int>(static_cast<size_t>(count), unlabeled)};
}

void read_pictures(const std::string& path, int64_t count, uint8_t* to) {
  FileReader file(path);
  std::vector<uint8_t> planes(static_cast<size_t>(picture_bytes));
  for (int64_t i = 0; i < count; ++i, to += picture_bytes) {
    file.read(planes.data(), planes.size());
    interleave(planes.data(), channels, side, side, true, to);
  }
}

std::unique_ptr<Dataset> read_split(const std::vector<Part>& parts, int64_t limit) {
  int64_t total = 0;
  for (const Part& part : parts) total += part.count;
  if (limit > 0) total = std::min(total, limit);
  const Tensor pixels({total, side, side, channels}, DType::u8);
  std::vector<int> labels;
  for (const Part& part : parts) {
    const auto done = static_cast<int64_t>(labels.size());
    const int64_t count = std::min(part.count, total - done);
    read_pictures(part.path, count, pixels.data<uint8_t>() + done * picture_bytes);
    labels.insert(labels.end(), part.labels.begin(), part.labels.begin() + count);
  }
  if (std::all_of(labels.begin(), labels.end(), [](int label) { return label == unlabeled; })) labels.clear();
  return std::make_unique<PictureArray>(pixels, std::move(labels));
}

}  // namespace

DataSource open_stl10(const DataOptions& options) {
  const std::string& folder = options.path;
  std::vector<Part> train{find_part(folder, "unlabeled")};
  if (file_exists(folder + "/train_X.bin")) train.push_back(find_part(folder, "train"));
  const bool has_test = file_exists(folder + "/test_X.bin");
  return {"", read_split(train, options.limit),
          has_test ? read_split({find_part(folder, "test")}, 0) : nullptr};
}

}  // namespace la
