// What coded pictures say themselves of their size, which may differ from what the boxes around them say.
#pragma once

#include <algorithm>

#include "data/codecs/codec.h"

namespace la {

/// The sizes of pictures, in pixels, that the headers in some data allow. Without a header no picture can be
/// decoded: then the least are larger than the largest.
struct CodedSizes {
  int64_t least_height = INT64_MAX, least_width = INT64_MAX, largest_height = 0, largest_width = 0;

  void include(const CodedSizes& more) {
    least_height = std::min(least_height, more.least_height);
    least_width = std::min(least_width, more.least_width);
    largest_height = std::max(largest_height, more.largest_height);
    largest_width = std::max(largest_width, more.largest_width);
  }
};

/// Of AV1's open bitstream units (its specification, 5.3). A BadPicture if they are cut off, or if a sequence
/// header allows a picture beyond the limit.
CodedSizes av1_sizes(Bytes units, const PixelLimit& limit);

/// Of HEVC's units (H.265, 7.3), each behind its length in 4 bytes. A BadPicture if they are cut off, or if a
/// sequence parameter set is of pictures beyond the limit, of which padding to whole blocks does not count.
CodedSizes hevc_sizes(Bytes units, const PixelLimit& limit);
/// The same of the units in a box "hvcC" (ISO/IEC 14496-15, 8.3.3.1).
CodedSizes hevc_configuration_sizes(Bytes box, const PixelLimit& limit);

}  // namespace la
