// What la_duplicates writes: a table and a page of the pictures that are copies of one another; and which of
// them it keeps.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "evaluation/duplicates.h"
#include "tensor/progress_callback.h"

namespace la {

struct DuplicateFile {
  int64_t picture = 0;  // in the data set
  int64_t bytes = 0;    // of its file; 0: it has none of its own
  int height = 0, width = 0;
  bool exif = false;   // its file has EXIF data, as cameras write them
  bool link = false;   // its file is a symbolic link, perhaps to another one of its group
  float likeness = 1;  // to the first of the group
  bool kept = true;    // the first; and those that are like it only by way of others
};

/// Pictures that are copies of one another, each of at least one other.
using DuplicateGroup = std::vector<DuplicateFile>;

/// Whether a file holds EXIF data; false where it cannot be read.
bool holds_exif(const std::string& file);

/// The first of a group is no link, if there is any such; of these the one with EXIF data, if it has half of the pixels of the
/// largest; of several or none that with the largest file, then that with the most pixels, then the first. `least`: what
/// copies have in common. What cannot be read any more is left out.
std::vector<DuplicateGroup> describe_groups(const Dataset& data, const ComparedPictures& pictures,
                                            const std::vector<std::vector<int32_t>>& groups,
                                            const Likeness& least, const ProgressCallback& progress);

inline constexpr const char *duplicates_table = "duplicates.csv", *duplicates_page = "duplicates.html";

/// A line for each: group, file, keep (yes or no), likeness, bytes, width, height, exif (yes or no).
void write_duplicate_table(const std::string& path, const Dataset& data,
                           const std::vector<DuplicateGroup>& groups);

/// One HTML file that needs nothing else; the groups whose members are least alike first. `about`: paragraphs.
std::string duplicates_html(const Dataset& data, const std::vector<DuplicateGroup>& groups,
                            const std::vector<std::string>& about, const ProgressCallback& progress);

/// What became of the files that are not kept.
struct MovedFiles {
  int64_t files = 0, bytes = 0;
  std::vector<std::string> left = {};  // why a file was left where it is, a line for each
};

/// Moves them from the folder of the pictures to another one, where they have the same names. Left where they are: files that
/// are elsewhere, links, files that have changed since they were described, and all of a group whose first file has.
MovedFiles move_copies(const Dataset& data, const std::vector<DuplicateGroup>& groups,
                       const std::string& pictures, const std::string& to, const ProgressCallback& progress);

}  // namespace la
