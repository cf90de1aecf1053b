// Test pictures that are training pictures too: the network would recognize them, and accuracy say nothing of
// new ones.
#pragma once

#include <cstdint>
#include <string>

#include "data/picture_list.h"

namespace la {

/// An Error if files of the one list are files of the other.
void check_apart(const PictureList& train, const PictureList& test);

struct SameContent {
  int64_t looked_at = 0;    // test pictures
  int64_t found = 0;        // those of them whose bytes a training picture has too
  std::string test, train;  // the files of the first pair
};

/// Compares the bytes of the files, whatever their names; of more than 1,000 test pictures so many, evenly
/// spread. Files that cannot be read are passed over.
SameContent find_same_content(const PictureList& train, const PictureList& test);

}  // namespace la
