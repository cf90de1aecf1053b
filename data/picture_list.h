// PictureList: the files of a picture folder with their labels, as compact as a million of them ask for, and
// how to find them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace la {

/// Files and links of a folder that were passed over.
class LeftOut {
 public:
  /// By their names no pictures, or pictures that this build cannot read.
  void add_name(std::string_view name, bool unreadable_picture);
  /// Pipes, sockets and devices.
  void add_special() { ++special_; }
  /// Links to folders that are read by another way.
  void add_link() { ++links_; }
  /// "18 files: 12 .txt, 6 without ending (no names of pictures); ..."; empty if there are none.
  std::string text() const;

 private:
  using Counts = std::map<std::string, int64_t>;  // of each ending
  static std::string describe(const Counts& counts, const char* why);

  Counts no_pictures_, unreadable_;
  int64_t special_ = 0, links_ = 0;
};

struct PictureList {
  /// Appends a file; `path` is relative to the root.
  void add(std::string_view path, int label);
  int64_t size() const { return static_cast<int64_t>(labels.size()); }
  std::string_view path(int64_t i) const;
  /// Takes a share of the files of each class, chosen by chance but at least one where there are two, out of
  /// the list, and returns them.
  PictureList split_off(double share, uint64_t seed);
  /// Leaves `count` files, evenly spread over the list.
  void thin_out(int64_t count);
  bool has_labels() const;

  std::string root;                  // folder
  std::vector<std::string> classes;  // names of the labels
  std::vector<int32_t> labels;       // of each file; -1 without one
  LeftOut left_out;

 private:
  std::string paths_;           // one after the other
  std::vector<uint64_t> ends_;  // of each in paths_
};

/// All pictures below a folder, by their names (data/decode.h), folder by folder in the order of their names;
/// hidden files and folders, whose names begin with a dot, are passed over, other files that are no pictures
/// counted in `left_out`. Links are followed, but each folder is read once: by the way without links where
/// there is one, else by the first; the other links are counted in `left_out`. The folders in the root that
/// hold pictures are classes; a picture in none of them has no label. An Error if a folder cannot be read.
PictureList list_pictures(const std::string& root);
/// How many that would list, counted only up to `most`, or up to a folder that cannot be read.
int64_t count_pictures(const std::string& root, int64_t most);
/// One folder alone is a class only if `others` has one of that name: else the labels are dropped.
void drop_single_class(PictureList& list, const std::vector<std::string>& others);

/// Pictures that a text file lists, a line "path label" or "path,label" for each, the paths relative to
/// `root`; an Error that names file and line for anything else.
PictureList read_labeled_list(const std::string& file, const std::string& root);

/// Numbers the labels of both lists by the names of their classes, in alphabetical order.
void share_classes(PictureList& a, PictureList& b);

/// The list as text, and back: `name`, the file of the text, is for the messages of Errors, which name a line
/// that holds neither a class nor a label with a path. A label is a number of a class, or -1.
std::string to_text(const PictureList& list);
PictureList parse_picture_list(const std::string& text, const std::string& name);

}  // namespace la
