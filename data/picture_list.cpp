#include "data/picture_list.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <optional>
#include <set>

#include "data/decode.h"
#include "data/formats.h"
#include "tensor/format.h"
#include "tensor/random.h"

namespace la {
namespace {

namespace fs = std::filesystem;

/// Identifies a folder, however one came to it.
using FolderId = std::pair<dev_t, ino_t>;

class Walk {
 public:
  /// Ends when the list has `most` pictures.
  explicit Walk(PictureList& list, int64_t most = INT64_MAX) : list_(list), most_(most) {}

  /// Appends the pictures of the folder `path` below the root (empty: the root itself) and of all below it.
  void visit(const std::string& path, int label, bool by_link = false) {
    const std::string folder = path.empty() ? list_.root : list_.root + "/" + path;
    const FolderId id = id_of(folder);
    if ((by_link && reached_without_links().contains(id)) || !read_.insert(id).second) {
      list_.left_out.add_link();
      return;
    }

    std::vector<Entry> entries = read(folder);
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.name < b.name; });
    for (const Entry& entry : entries) {
      if (list_.size() >= most_) break;
      const std::string below = path.empty() ? entry.name : path + "/" + entry.name;
      if (!entry.folder) {
        if (is_picture(entry)) list_.add(below, label);
        continue;
      }
      const bool names_class = path.empty();
      const int64_t before = list_.size();
      visit(below, names_class ? static_cast<int>(list_.classes.size()) : label, entry.link);
      if (names_class && list_.size() > before) list_.classes.push_back(entry.name);
    }
  }

 private:
  struct Entry {
    std::string name;
    bool folder, link, special;  // special: a pipe, a socket or a device
  };

  static FolderId id_of(const std::string& folder) {
    struct stat status {};
    check(stat(folder.c_str(), &status) == 0, "{}: cannot be read: {}", folder, std::strerror(errno));
    return {status.st_dev, status.st_ino};
  }

  /// The folders below the root, and the root, that are read whatever links lead to them.
  const std::set<FolderId>& reached_without_links() {
    if (without_links_.empty()) reach_without_links(list_.root);
    return without_links_;
  }
  void reach_without_links(const std::string& folder) {
    without_links_.insert(id_of(folder));
    for (const Entry& entry : read(folder))
      if (entry.folder && !entry.link) reach_without_links(folder + "/" + entry.name);
  }

  /// Whether it is to be listed; if not, it is counted as left out.
  bool is_picture(const Entry& entry) {
    const NameSays kind = what_name_says(entry.name);
    const bool of_a_system = entry.name == "Thumbs.db" || entry.name == "desktop.ini";
    if (entry.special)
      list_.left_out.add_special();
    else if (kind != NameSays::picture && !of_a_system)
      list_.left_out.add_name(entry.name, kind == NameSays::unreadable_picture);
    return !entry.special && kind == NameSays::picture;
  }

  static std::vector<Entry> read(const std::string& folder) {
    std::vector<Entry> entries;
    std::error_code error;
    for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
      std::string name = at->path().filename();
      if (name.starts_with('.')) continue;
      std::error_code vanished;  // or a link to nothing
      const bool below = at->is_directory(vanished), known = below || at->is_regular_file(vanished);
      entries.push_back({.name = std::move(name),
                         .folder = below,
                         .link = at->is_symlink(vanished),
                         .special = !known && fs::exists(at->path(), vanished)});
    }
    check(!error, "{}: cannot be read: {}", folder, error.message());
    return entries;
  }

  PictureList& list_;
  int64_t most_;
  std::set<FolderId> read_;
  std::set<FolderId> without_links_;  // empty until a link to a folder is met
};

/// Calls f(line, number) for each line of a text, without its end.
template <class F>
void for_each_line(std::string_view text, F f) {
  for (int64_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    f(line, number);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

/// A number from 0, or -1, which is `unlabeled`; nothing for any other text.
std::optional<int> parse_label(std::string_view text) {
  int label = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), label);
  if (error != std::errc() || stop != text.data() + text.size() || label < unlabeled) return {};
  return label;
}

constexpr std::string_view root_key = "root ", class_key = "class ";

}  // namespace

void LeftOut::add_name(std::string_view name, bool unreadable_picture) {
  ++(unreadable_picture ? unreadable_ : no_pictures_)[ending_of(name)];
}

std::string LeftOut::describe(const Counts& counts, const char* why) {
  constexpr size_t most_named = 8;
  std::vector<std::pair<int64_t, std::string>> endings;  // the most frequent first
  for (const auto& [ending, count] : counts) endings.emplace_back(-count, ending);
  std::sort(endings.begin(), endings.end());
  int64_t total = 0, unnamed = 0;
  std::string names;
  for (size_t i = 0; i < endings.size(); ++i) {
    const int64_t count = -endings[i].first;
    total += count;
    if (i >= most_named) {
      unnamed += count;
      continue;
    }
    const std::string& ending = endings[i].second;
    names += formatted("{}{} {}", i > 0 ? ", " : "", count, ending.empty() ? "without ending" : "." + ending);
  }
  if (unnamed > 0) names += formatted(", {} with {} other endings", unnamed, endings.size() - most_named);
  return formatted("{} {}: {} ({})", total, total == 1 ? "file" : "files", names, why);
}

std::string LeftOut::text() const {
  std::vector<std::string> parts;
  if (!unreadable_.empty()) parts.push_back(describe(unreadable_, "this build cannot read them"));
  if (!no_pictures_.empty()) parts.push_back(describe(no_pictures_, "no names of pictures"));
  if (special_ > 0)
    parts.push_back(
        formatted("{} {}", special_, special_ == 1 ? "pipe, socket or device" : "pipes, sockets or devices"));
  if (links_ > 0)
    parts.push_back(formatted("{} {}", links_,
                              links_ == 1 ? "link to a folder that is read without it"
                                          : "links to folders that are read without them"));
  return joined(parts, "; ");
}

void PictureList::add(std::string_view path, int label) {
  paths_ += path;
  ends_.push_back(paths_.size());
  labels.push_back(label);
}

std::string_view PictureList::path(int64_t i) const {
  const auto at = static_cast<size_t>(i);
  const uint64_t begin = at == 0 ? 0 : ends_[at - 1];
  return std::string_view(paths_).substr(begin, ends_[at] - begin);
}

void PictureList::thin_out(int64_t count) {
  if (count >= size()) return;
  PictureList kept;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t from = i * size() / count;
    kept.add(path(from), labels[static_cast<size_t>(from)]);
  }
  labels = std::move(kept.labels);
  paths_ = std::move(kept.paths_);
  ends_ = std::move(kept.ends_);
}

PictureList PictureList::split_off(double share, uint64_t seed) {
  std::map<int32_t, std::vector<int64_t>> of_class;
  for (int64_t i = 0; i < size(); ++i) of_class[labels[static_cast<size_t>(i)]].push_back(i);
  std::set<int64_t> taken;
  for (auto& [label, members] : of_class) {
    RandomGenerator random({seed, RandomStream::split, static_cast<uint64_t>(label + 1)});
    const auto n = static_cast<int64_t>(members.size());
    const int64_t least = n > 1 ? 1 : 0;
    const auto wanted = std::clamp<int64_t>(std::llround(share * static_cast<double>(n)), least, n - 1);
    for (int64_t i = 0; i < wanted; ++i) {
      const int64_t other = i + random.below(static_cast<uint32_t>(n - i));
      std::swap(members[static_cast<size_t>(i)], members[static_cast<size_t>(other)]);
      taken.insert(members[static_cast<size_t>(i)]);
    }
  }
  PictureList rest, apart;
  for (int64_t i = 0; i < size(); ++i)
    (taken.contains(i) ? apart : rest).add(path(i), labels[static_cast<size_t>(i)]);
  for (PictureList* list : {&rest, &apart}) {
    list->root = root;
    list->classes = classes;
  }
  rest.left_out = std::move(left_out);
  *this = std::move(rest);
  return apart;
}

bool PictureList::has_labels() const {
  return std::any_of(labels.begin(), labels.end(), [](int32_t label) { return label != unlabeled; });
}

PictureList list_pictures(const std::string& root) {
  PictureList list;
  list.root = root;
  std::error_code ignored;
  if (fs::is_regular_file(root, ignored)) {
    const fs::path file(root);
    check(what_name_says(root) == NameSays::picture, "{}: is neither a folder nor a picture by its name",
          root);
    list.root = file.has_parent_path() ? file.parent_path().string() : ".";
    list.add(file.filename().string(), unlabeled);
    return list;
  }
  Walk(list).visit("", unlabeled);
  return list;
}

void drop_single_class(PictureList& list, const std::vector<std::string>& others) {
  if (list.classes.size() != 1 || std::find(others.begin(), others.end(), list.classes[0]) != others.end())
    return;
  list.classes.clear();
  std::fill(list.labels.begin(), list.labels.end(), unlabeled);
}

PictureList read_labeled_list(const std::string& file, const std::string& root) {
  PictureList list;
  list.root = root;
  int most = unlabeled;
  const std::string text = read_file(file);
  for_each_line(text, [&](std::string_view line, int64_t number) {
    if (line.empty()) return;
    const size_t separator = line.find_last_of(" ,\t");
    const int label = separator == std::string_view::npos
                          ? unlabeled
                          : parse_label(line.substr(separator + 1)).value_or(unlabeled);
    check(label != unlabeled, "{}: line {}: expected a path and a label, got '{}'", file, number, line);
    constexpr int largest = 9'999'999;
    check(label <= largest, "{}: line {}: label {}, expected at most {}", file, number, label, largest);
    list.add(line.substr(0, separator), label);
    most = std::max(most, label);
  });
  for (int label = 0; label <= most; ++label) list.classes.push_back(formatted("{:05}", label));
  return list;
}

int64_t count_pictures(const std::string& root, int64_t most) {
  PictureList list;
  list.root = root;
  try {
    Walk(list, most).visit("", unlabeled);
  } catch (const Error&) {
    // It is told of when the pictures are listed.
  }
  return list.size();
}

void share_classes(PictureList& a, PictureList& b) {
  std::vector<std::string> all = a.classes;
  all.insert(all.end(), b.classes.begin(), b.classes.end());
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  for (PictureList* list : {&a, &b}) {
    std::vector<int32_t> number;  // of each of its classes
    for (const std::string& name : list->classes)
      number.push_back(static_cast<int32_t>(std::lower_bound(all.begin(), all.end(), name) - all.begin()));
    for (int32_t& label : list->labels)
      if (label != unlabeled) label = number[static_cast<size_t>(label)];
    list->classes = all;
  }
}

std::string to_text(const PictureList& list) {
  std::string text = formatted("{}{}\n", root_key, escaped(list.root));
  for (const std::string& name : list.classes) text += formatted("{}{}\n", class_key, escaped(name));
  for (int64_t i = 0; i < list.size(); ++i)
    text += formatted("{} {}\n", list.labels[static_cast<size_t>(i)], escaped(list.path(i)));
  return text;
}

PictureList parse_picture_list(const std::string& text, const std::string& name) {
  PictureList list;
  check(text.starts_with(root_key) && text.ends_with('\n'), "{}: is no whole list of pictures", name);
  for_each_line(text, [&](std::string_view line, int64_t number) {
    if (number == 1) {
      list.root = unescaped(line.substr(root_key.size()));
    } else if (line.starts_with(class_key)) {
      list.classes.push_back(unescaped(line.substr(class_key.size())));
    } else {
      const size_t space = line.find(' ');
      const std::optional<int> label = parse_label(line.substr(0, space));
      check(space != std::string_view::npos && label, "{}: line {}: expected a label and a path, got '{}'",
            name, number, line);
      check(*label < static_cast<int>(list.classes.size()), "{}: line {}: label {} is not among {} classes",
            name, number, *label, list.classes.size());
      list.add(unescaped(line.substr(space + 1)), *label);
    }
  });
  return list;
}

}  // namespace la
