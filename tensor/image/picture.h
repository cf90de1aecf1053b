// A picture in host memory.
#pragma once

#include <cstdint>
#include <memory>

namespace la {

/// One picture: rows of pixels from top to bottom, channels interleaved. The pixels live as long as `owner`,
/// which has those that were decoded for this picture, or the data set if there is no owner.
struct Picture {
  const uint8_t* pixels = nullptr;
  int height = 0, width = 0, channels = 0;
  std::shared_ptr<const void> owner;
};

}  // namespace la
