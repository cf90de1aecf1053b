// Pictures as files, decoded when they are asked for: a folder of them, with sub-folders as labels;
// ImageNet's train/ and val/; the lists of Places205.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <mutex>
#include <new>
#include <set>
#include <type_traits>
#include <utility>

#include "data/decode.h"
#include "data/formats.h"
#include "data/leakage.h"
#include "data/picture_list.h"
#include "tensor/format.h"
#include "tensor/io/seal.h"
#include "tensor/text.h"

namespace la {
namespace {

namespace fs = std::filesystem;

struct Closer {
  void operator()(const int* file) const { close(*file); }
};

/// Reads `bytes` to the end. A BadPicture if the file has less.
void read_on(int file, std::span<uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t got = read(file, bytes.data(), bytes.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw BadPicture(formatted("it cannot be read: {}", std::strerror(errno)));
    if (got == 0) throw BadPicture("it became shorter while it was read");
    bytes = bytes.subspan(static_cast<size_t>(got));
  }
}

/// Reads a file into memory of this thread, valid until its next file. A BadPicture if it cannot be read, or
/// by its first bytes is no picture, however long it is.
Bytes read_bytes(const std::string& path, const DecodeOptions& options) {
  thread_local std::vector<uint8_t> bytes;
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe must not be waited for
  struct stat status {};
  const std::unique_ptr<const int, Closer> closer(file >= 0 ? &file : nullptr);
  if (file < 0 || fstat(file, &status) != 0)
    throw BadPicture(formatted("it cannot be read: {}", std::strerror(errno)));
  if (!S_ISREG(status.st_mode)) throw BadPicture("it is no regular file");
  if (status.st_size == 0) throw BadPicture("it is empty");
  constexpr int64_t head_bytes = 1 << 16, other_bytes = 1 << 26,
                    bytes_of_pixel = 8;  // at most, of what is in a file
  const int64_t size = status.st_size, most = options.max_pixels * bytes_of_pixel + other_bytes;
  constexpr size_t kept = size_t{1} << 26;  // of the memory for the file before
  if (bytes.capacity() > kept) bytes = {};
  bytes.resize(static_cast<size_t>(std::min(size, head_bytes)));
  read_on(file, bytes);
  find_codec(bytes);
  if (size <= head_bytes) return bytes;
  if (size > most)
    throw BadPicture(formatted("it has {} bytes, more than a picture of {} pixels (`max_pixels`)", size,
                               options.max_pixels));
  bytes.resize(static_cast<size_t>(size));
  read_on(file, std::span(bytes).subspan(static_cast<size_t>(head_bytes)));
  return bytes;
}

class PictureFiles final : public Dataset {
 public:
  PictureFiles(PictureList list, const DataOptions& options)
      : list_(std::move(list)),
        has_labels_(list_.has_labels()),
        max_bad_(options.max_bad),
        decode_(options.decode) {}

  int64_t size() const override { return list_.size(); }
  int channels() const override { return decode_.gray ? 1 : 3; }
  Picture picture(int64_t i) const override {
    return read(i, [&](Bytes file) { return decode_picture(file, decode_); });
  }
  Excerpt excerpt(int64_t i, int size, const ChooseCrop& choose) const override {
    return read(i, [&](Bytes file) { return decode_excerpt(file, size, choose, decode_); });
  }
  bool has_labels() const override { return has_labels_; }
  int label(int64_t i) const override { return list_.labels.at(static_cast<size_t>(i)); }
  std::string name(int64_t i) const override { return list_.root + "/" + std::string(list_.path(i)); }
  std::string file(int64_t i) const override { return name(i); }
  std::string description() const override {
    return formatted(
        "{}, {}", counted(size(), "picture file"),
        has_labels_ ? counted(static_cast<int64_t>(list_.classes.size()), "class", "classes") : "no labels");
  }
  size_t memory_bytes() const override { return 0; }
  std::string listing() const override { return to_text(list_); }

  bool is_bad(int64_t i) const override {
    const std::lock_guard lock(mutex_);
    return bad_.contains(i);
  }
  std::vector<std::string> take_warnings() const override {
    const std::lock_guard lock(mutex_);
    return std::exchange(warnings_, {});
  }

 private:
  /// What `decode` makes of file i; counts the bad ones.
  template <class F>
  std::invoke_result_t<F, Bytes> read(int64_t i, F decode) const {
    const auto refuse = [&](const char* why) {
      const std::string path = name(i);
      count_bad(i, path, why);
      throw BadPicture(formatted("{}: {}", path, why));
    };
    try {
      return decode(read_bytes(name(i), decode_));
    } catch (const BadPicture& bad) {
      refuse(bad.what());
    } catch (const std::bad_alloc&) {
      refuse("it takes more memory than there is");
    }
    std::abort();  // never here: refuse has thrown
  }

  void count_bad(int64_t i, const std::string& path, const char* why) const {
    const std::lock_guard lock(mutex_);
    if (!bad_.insert(i).second) return;
    if (too_many_.empty()) judge_bad(path, why);
    check(too_many_.empty(), "{}", too_many_);
  }

  /// Sets too_many_ if it was one too many.
  void judge_bad(const std::string& path, const char* why) const {
    warnings_.push_back(printable(formatted("{}: {}", path, why)));
    constexpr size_t few = 5;  // that may be bad in a small folder
    const auto share = static_cast<size_t>(max_bad_ * static_cast<double>(size()));
    if (max_bad_ == 0)
      too_many_ = formatted("{}: {}; no picture may be bad (`max_bad` 0)", path, why);
    else if (bad_.size() > std::max(share, few))
      too_many_ = formatted(
          "{}: {}; with it, {} of {} pictures cannot be read, more than {} and more than {} % (`max_bad`)",
          path, why, bad_.size(), size(), few, 100 * max_bad_);
  }

  PictureList list_;
  bool has_labels_;
  double max_bad_;
  DecodeOptions decode_;

  mutable std::mutex mutex_;  // guards what follows
  mutable std::set<int64_t> bad_;
  mutable std::vector<std::string> warnings_;
  mutable std::string too_many_;  // what is wrong once too many are bad: the same in all threads
};

bool is_folder(const std::string& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

/// The list that an earlier run has kept; nothing if there is none.
bool load_listing(const DataOptions& options, const char* part, PictureList& list) {
  if (options.listings.empty()) return false;
  const std::string path = formatted("{}/pictures-{}.txt", options.listings, part);
  if (!file_exists(path)) return false;
  const std::string file = read_file(path);
  const Unsealed list_text = unsealed(file);
  check(list_text.intact, "{}: is not as the run has written it: damaged, cut off or changed", path);
  list = parse_picture_list(std::string(list_text.text), path);
  return true;
}

struct Split {
  PictureList train, test;         // test is empty if there is none
  std::vector<std::string> notes;  // for the user
};

/// Refuses test pictures that are copies of training pictures; where only some are, `notes` says so.
void check_content(const PictureList& train, const PictureList& test, std::vector<std::string>& notes) {
  const SameContent same = find_same_content(train, test);
  if (same.found == 0) return;
  const std::string what =
      formatted("{} of {} test pictures have the same content as a training picture, such as {} and {}",
                same.found, same.looked_at, same.test, same.train);
  check(2 * same.found <= same.looked_at, "{}: they would be recognized, not classified", what);
  notes.push_back(what + ": accuracy is better than it would be on new pictures");
}

DataSource make_source(Split split, const DataOptions& options) {
  if (options.limit > 0) split.train.thin_out(options.limit);
  DataSource source;
  source.notes = std::move(split.notes);
  for (const PictureList* list : {&split.train, &split.test})
    if (const std::string left_out = list->left_out.text(); !left_out.empty())
      source.notes.push_back(formatted("left out of {}: {}", list->root, left_out));
  const bool has_test = split.test.size() > 0;
  if (has_test) check_apart(split.train, split.test);
  if (has_test && options.listings.empty()) check_content(split.train, split.test, source.notes);
  if (has_test) source.test = std::make_unique<PictureFiles>(std::move(split.test), options);
  source.train = std::make_unique<PictureFiles>(std::move(split.train), options);
  return source;
}

/// How a folder is divided into pictures for training and for testing.
struct Splits {
  std::string train, test;          // folders; test may be empty
  std::vector<std::string> unused;  // what else stands beside them: names of folders, "3 pictures"
};

std::string lower_case(std::string text) {
  for (char& c : text) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  return text;
}

/// By the names that are usual for the parts of a data set.
Splits find_splits(const std::string& root) {
  const std::string names_of_train[] = {"train", "training"},
                    names_of_test[] = {"val", "valid", "validation", "test", "testing"};
  std::map<std::string, std::string> folders;  // by their names in lower case
  int64_t pictures = 0;
  std::error_code ignored;
  for (fs::directory_iterator at(root, ignored), end; !ignored && at != end; at.increment(ignored)) {
    const std::string name = at->path().filename();
    if (name.starts_with('.')) continue;
    std::error_code vanished;
    if (at->is_directory(vanished))
      folders.emplace(lower_case(name), name);
    else
      pictures += what_name_says(name) == NameSays::picture ? 1 : 0;
  }
  const auto take = [&](std::span<const std::string> names) {
    for (const std::string& name : names)
      if (folders.contains(name)) return folders.extract(name).mapped();
    return std::string();
  };
  const std::string train = take(names_of_train), test = take(names_of_test);
  std::vector<std::string> others;
  for (const auto& [lower, name] : folders) others.push_back(name);
  if (train.empty() && !test.empty() && pictures == 0) {
    while (!take(names_of_test).empty()) continue;
    check(!folders.empty(),
          "{}: {} looks like the test pictures of a data set; expected a folder train beside it; to take "
          "these, name {}/{}",
          root, test, root, test);
  }
  const bool divided = !train.empty() && (!test.empty() || (others.empty() && pictures == 0));
  if (pictures > 0) others.push_back(formatted("{} {}", pictures, pictures == 1 ? "picture" : "pictures"));
  if (!divided) return {.train = root, .test = "", .unused = {}};
  return {.train = root + "/" + train, .test = test.empty() ? "" : root + "/" + test, .unused = others};
}

/// Where pictures of a part may be: in the folder itself, in that of the part, or where the user says.
std::vector<std::string> folders_of(const DataOptions& options, std::string Splits::*part) {
  std::vector<std::string> folders{options.path};
  const std::string inside = find_splits(options.path).*part;
  if (!inside.empty() && inside != options.path) folders.push_back(inside);
  if (part == &Splits::test && !options.val.empty()) folders.push_back(options.val);
  return folders;
}

/// Sees to it that the list's files are below one of the folders, where they may have moved to.
void relocate(PictureList& list, const std::vector<std::string>& folders) {
  for (const std::string& folder : folders)
    if (list.root == folder || list.root.starts_with(folder + "/")) return;
  constexpr int64_t most = 100;
  const int64_t looked_for = std::min(most, list.size());
  int64_t best = 0;
  std::string root;
  for (const std::string& folder : folders) {
    int64_t found = 0;
    for (int64_t i = 0; i < looked_for; ++i)
      found += file_exists(folder + "/" + std::string(list.path(i * list.size() / looked_for))) ? 1 : 0;
    if (found > best) root = folder;
    best = std::max(best, found);
  }
  check(best > 0, "{}: has none of the pictures of the run, such as {}", joined(folders, ", "),
        list.size() > 0 ? list.path(0) : "");
  list.root = root;
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

Picture read_picture(const std::string& path, const DecodeOptions& options) {
  try {
    return decode_picture(read_bytes(path, options), options);
  } catch (const BadPicture& bad) {
    fail("{}: {}", path, bad.what());
  }
}

DataSource open_folder(const DataOptions& options) {
  Split split;
  if (load_listing(options, "train", split.train)) {
    const bool moved = split.train.root != options.path && !split.train.root.starts_with(options.path + "/");
    if (load_listing(options, "test", split.test) && (moved || !options.val.empty()))
      relocate(split.test, folders_of(options, &Splits::test));
    if (moved) relocate(split.train, folders_of(options, &Splits::train));
    return make_source(std::move(split), options);
  }
  const Splits splits = find_splits(options.path);
  const std::string test = options.val.empty() ? splits.test : options.val;
  if (!splits.unused.empty())
    split.notes.push_back(formatted("not used of {}, for they stand beside {}: {}", options.path,
                                    fs::path(splits.train).filename().string(), joined(splits.unused, ", ")));
  split.train = list_pictures(splits.train);
  drop_single_class(split.train, {});
  if (!test.empty()) {
    split.test = list_pictures(test);
    check(split.test.size() > 0, "{}: there are no pictures below this folder", test);
    drop_single_class(split.test, split.train.classes);
    share_classes(split.train, split.test);
  }
  check(options.val_split == 0 || test.empty(), "there are test pictures in {}: `val_split` sets none apart",
        test);
  constexpr uint64_t seed = 0;  // so that la_train and la_eval set the same ones apart
  if (options.val_split > 0) split.test = split.train.split_off(options.val_split, seed);
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
