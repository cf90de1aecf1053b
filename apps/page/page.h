// The page of a report: one HTML file that needs nothing else.
#pragma once

#include <string>
#include <vector>

#include "apps/page/learnt_pictures.h"
#include "apps/page/run_record.h"

namespace la {

/// What a page has of the pictures: made once, for all pages until there are others.
struct PicturePart {
  nlohmann::ordered_json described;
  std::string blocks;  // elements that hold the data
};
PicturePart part_of(const LearntPictures& pictures);

struct Page {
  std::vector<RunRecord> runs;
  const PicturePart* pictures = nullptr;  // may be missing
  int refresh_seconds = 0;                // after which a browser reads it again; 0: never
};

std::string html_of(const Page& page);

}  // namespace la
