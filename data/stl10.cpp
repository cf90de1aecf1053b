// STL-10 in its binary version (Coates, Lee, Ng 2011): 96 x 96 pixels as three planes, each stored column by
// column; labels from 1 to 10 in a file of their own. Training uses the 100,000 pictures without labels and
// the 5,000 with.
#include <algorithm>

#include "data/formats.h"

namespace la {
namespace {

constexpr int64_t side = 96, channels = 3, picture_bytes = side * side * channels;

struct Split {
  std::vector<uint8_t> pixels;
  std::vector<int> labels;
};

void append_pictures(const std::string& path, int64_t limit, Split& split) {
  const int64_t bytes = file_size(path);
  check(bytes > 0 && bytes % picture_bytes == 0, "{}: has {} bytes, expected a multiple of {}", path, bytes,
        picture_bytes);
  const int64_t count = bytes / picture_bytes;
  FileReader file(path);
  std::vector<uint8_t> buffer(static_cast<size_t>(picture_bytes));
  for (int64_t i = 0; i < count; ++i) {
    if (limit > 0 && static_cast<int64_t>(split.pixels.size()) >= limit * picture_bytes) return;
    file.read(buffer.data(), buffer.size());
    split.pixels.resize(split.pixels.size() + picture_bytes);
    interleave(buffer.data(), channels, side, side, true,
               split.pixels.data() + split.pixels.size() - picture_bytes);
  }
}

/// Labels for the pictures appended last, from a file that must have `file_count` of them; without the file,
/// none.
void append_labels(const std::string& path, int64_t file_count, Split& split) {
  const size_t pictures = split.pixels.size() / picture_bytes;
  if (file_exists(path)) {
    const int64_t bytes = file_size(path);
    check(bytes == file_count, "{}: has {} labels for {} pictures", path, bytes, file_count);
    FileReader file(path);
    std::vector<uint8_t> values(static_cast<size_t>(bytes));
    file.read(values.data(), values.size());
    for (size_t i = 0; split.labels.size() < pictures; ++i) {
      check(values[i] >= 1 && values[i] <= 10, "{}: label {} is {}, expected 1 to 10", path, i, values[i]);
      split.labels.push_back(values[i] - 1);
    }
  }
  split.labels.resize(pictures, unlabeled);
}

std::unique_ptr<Dataset> make(Split split) {
  const bool any_label =
      std::any_of(split.labels.begin(), split.labels.end(), [](int label) { return label != unlabeled; });
  if (!any_label) split.labels.clear();
  const auto count = static_cast<int64_t>(split.pixels.size()) / picture_bytes;
  return std::make_unique<PictureArray>(Tensor::from(split.pixels, {count, side, side, channels}),
                                        std::move(split.labels));
}

std::unique_ptr<Dataset> read_labeled(const std::string& folder, const std::string& name, Split split,
                                      int64_t limit) {
  const std::string pictures = fmt::format("{}/{}_X.bin", folder, name);
  append_pictures(pictures, limit, split);
  append_labels(fmt::format("{}/{}_y.bin", folder, name), file_size(pictures) / picture_bytes, split);
  return make(std::move(split));
}

}  // namespace

DataSource open_stl10(const std::string& folder, int64_t limit) {
  Split train;
  append_pictures(folder + "/unlabeled_X.bin", limit, train);
  train.labels.resize(train.pixels.size() / picture_bytes, unlabeled);
  const bool has_train = file_exists(folder + "/train_X.bin"), has_test = file_exists(folder + "/test_X.bin");
  return {"", has_train ? read_labeled(folder, "train", std::move(train), limit) : make(std::move(train)),
          has_test ? read_labeled(folder, "test", {}, 0) : nullptr};
}

}  // namespace la
