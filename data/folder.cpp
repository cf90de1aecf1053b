// Pictures as files, decoded when they are asked for: a folder of them, with sub-folders as labels;
// ImageNet's train/ and val/; the lists of Places205.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <set>
#include <type_traits>
#include <utility>

#include "data/decode.h"
#include "data/formats.h"
#include "data/picture_list.h"

namespace la {
namespace {

namespace fs = std::filesystem;

/// Reads a file into memory of this thread, valid until its next file. A BadPicture if it cannot be read.
std::span<const uint8_t> read_bytes(const std::string& path) {
  thread_local std::vector<uint8_t> bytes;
  const auto refuse = [&] { throw BadPicture(fmt::format("it cannot be read: {}", std::strerror(errno))); };
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) refuse();
  const std::unique_ptr<const int, void (*)(const int*)> closer(&file, [](const int* f) { close(*f); });
  struct stat status {};
  if (fstat(file, &status) != 0) refuse();
  bytes.resize(static_cast<size_t>(status.st_size));
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t got = read(file, bytes.data() + done, bytes.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) refuse();
    if (got == 0) throw BadPicture("it became shorter while it was read");
    done += static_cast<size_t>(got);
  }
  if (bytes.empty()) throw BadPicture("it is empty");
  return bytes;
}

class PictureFiles final : public Dataset {
 public:
  PictureFiles(PictureList list, double max_bad)
      : list_(std::move(list)), has_labels_(list_.has_labels()), max_bad_(max_bad) {}

  int64_t size() const override { return list_.size(); }
  int channels() const override { return 3; }
  Picture picture(int64_t i) const override {
    return read(i, [](std::span<const uint8_t> file) { return decode_picture(file); });
  }
  Excerpt excerpt(int64_t i, int size, const ChooseCrop& choose) const override {
    return read(i, [&](std::span<const uint8_t> file) { return decode_excerpt(file, size, choose); });
  }
  bool has_labels() const override { return has_labels_; }
  int label(int64_t i) const override { return list_.labels.at(static_cast<size_t>(i)); }
  std::string name(int64_t i) const override { return list_.root + "/" + std::string(list_.path(i)); }
  std::string description() const override {
    return fmt::format("{} picture files, {}", size(),
                       has_labels_ ? fmt::format("{} classes", list_.classes.size()) : "no labels");
  }
  size_t memory_bytes() const override { return 0; }
  std::string listing() const override { return to_text(list_); }

  bool is_bad(int64_t i) const override {
    const std::lock_guard lock(mutex_);
    return bad_.contains(i);
  }
  std::vector<std::string> take_complaints() const override {
    const std::lock_guard lock(mutex_);
    return std::exchange(complaints_, {});
  }

 private:
  /// What `decode` makes of file i; counts the bad ones.
  template <class F>
  std::invoke_result_t<F, std::span<const uint8_t>> read(int64_t i, F decode) const {
    const std::string path = name(i);
    try {
      return decode(read_bytes(path));
    } catch (const BadPicture& bad) {
      count_bad(i, path, bad.what());
      throw BadPicture(fmt::format("{}: {}", path, bad.what()));
    }
  }

  void count_bad(int64_t i, const std::string& path, const char* why) const {
    const std::lock_guard lock(mutex_);
    if (!bad_.insert(i).second) return;
    complaints_.push_back(fmt::format("{}: {}", path, why));
    check(static_cast<double>(bad_.size()) <= max_bad_ * static_cast<double>(size()),
          "{}: {}; with it, {} of {} pictures cannot be read, more than {} % (--max-bad)", path, why,
          bad_.size(), size(), 100 * max_bad_);
  }

  PictureList list_;
  bool has_labels_;
  double max_bad_;

  mutable std::mutex mutex_;  // guards what follows
  mutable std::set<int64_t> bad_;
  mutable std::vector<std::string> complaints_;
};

bool is_folder(const std::string& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

/// The list that an earlier run has kept; nothing if there is none.
bool load_listing(const DataOptions& options, const char* part, PictureList& list) {
  if (options.listings.empty()) return false;
  const std::string path = fmt::format("{}/pictures-{}.txt", options.listings, part);
  if (!file_exists(path)) return false;
  list = parse_picture_list(read_file(path), path);
  return true;
}

struct Split {
  PictureList train, test;  // test is empty if there is none
};

DataSource make_source(Split split, const DataOptions& options) {
  if (options.limit > 0) split.train.thin_out(options.limit);
  DataSource source;
  const bool has_test = split.test.size() > 0;
  if (has_test) source.test = std::make_unique<PictureFiles>(std::move(split.test), options.max_bad);
  source.train = std::make_unique<PictureFiles>(std::move(split.train), options.max_bad);
  return source;
}

/// The folder of the pictures of Places205, which its lists name by path.
std::string places_root(const std::string& folder) {
  for (const char* inside : {"/data/vision/torralba/deeplearning/images256", "/images256"})
    if (is_folder(folder + inside)) return folder + inside;
  return folder;
}

std::string find_places_list(const std::string& folder, const std::string& name) {
  const std::string inside = folder + "/trainvalsplit_places205/" + name;
  return file_exists(inside) ? inside : folder + "/" + name;
}

}  // namespace

Picture read_picture(const std::string& path) {
  try {
    return decode_picture(read_bytes(path));
  } catch (const BadPicture& bad) {
    fail("{}: {}", path, bad.what());
  }
}

DataSource open_folder(const DataOptions& options) {
  Split split;
  if (load_listing(options, "train", split.train)) {
    load_listing(options, "test", split.test);
    return make_source(std::move(split), options);
  }
  const bool imagenet = is_folder(options.path + "/train") && is_folder(options.path + "/val");
  const std::string test = !options.val.empty() ? options.val : imagenet ? options.path + "/val" : "";
  split.train = list_pictures(imagenet ? options.path + "/train" : options.path);
  if (!test.empty()) {
    split.test = list_pictures(test);
    check(split.test.size() > 0, "{}: there are no pictures below this folder", test);
    share_classes(split.train, split.test);
  }
  return make_source(std::move(split), options);
}

DataSource open_places205(const DataOptions& options) {
  Split split;
  const std::string root = places_root(options.path);
  split.train = read_labeled_list(find_places_list(options.path, "train_places205.csv"), root);
  const std::string test = find_places_list(options.path, "val_places205.csv");
  if (file_exists(test)) {
    split.test = read_labeled_list(test, root);
    share_classes(split.train, split.test);
  }
  return make_source(std::move(split), options);
}

}  // namespace la
