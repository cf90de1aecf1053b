// Thumbnails: pictures as small squares, side by side on sheets that are JPEG files.
#pragma once

#include <string>
#include <vector>

#include "data/dataset.h"
#include "tensor/progress_callback.h"

namespace la {

struct Thumbnails {
  int cell = 0;  // height and width in pixels
  int64_t columns = 0, per_sheet = 0;
  std::vector<std::string> sheets = {};  // the bytes of their files; one by one, row by row
};

/// Of all pictures, each whole, on gray where it is not square; in so many bytes at most, so that they are smaller the more there
/// are. One that cannot be read becomes a gray square.
Thumbnails make_thumbnails(const Dataset& pictures, int64_t most_bytes,
                           const ProgressCallback& progress = {});

}  // namespace la
