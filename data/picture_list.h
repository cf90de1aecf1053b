// PictureList: the files of a picture folder with their labels, as compact as a million of them ask for, and
// how to find them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace la {

struct PictureList {
  /// Appends a file; `path` is relative to the root.
  void add(std::string_view path, int label);
  int64_t size() const { return static_cast<int64_t>(labels.size()); }
  std::string_view path(int64_t i) const;
  /// Leaves `count` files, evenly spread over the list.
  void thin_out(int64_t count);
  bool has_labels() const;

  std::string root;                  // folder
  std::vector<std::string> classes;  // names of the labels
  std::vector<int32_t> labels;       // of each file; -1 without one

 private:
  std::string paths_;           // one after the other
  std::vector<uint64_t> ends_;  // of each in paths_
};

/// All pictures below a folder, by their names (data/decode.h), folder by folder in the order of their names;
/// hidden files and folders, whose names begin with a dot, are left out. Links are followed, but no folder is
/// entered twice on the way from the root. Where two or more folders in the root hold pictures, each is a
/// class; a picture in none of them has no label. An Error if a folder cannot be read.
PictureList list_pictures(const std::string& root);

/// Pictures that a text file lists, a line "path label" or "path,label" for each, the paths relative to
/// `root`; an Error that names file and line for anything else.
PictureList read_labeled_list(const std::string& file, const std::string& root);

/// Numbers the labels of both lists by the names of their classes, in alphabetical order.
void share_classes(PictureList& a, PictureList& b);

/// The list as text, and back: `name`, the file of the text, is for messages.
std::string to_text(const PictureList& list);
PictureList parse_picture_list(const std::string& text, const std::string& name);

}  // namespace la
