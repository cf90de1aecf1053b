// The boxes of ISO/IEC 14496-12, of which HEIC and AVIF are made.
#pragma once

#include "data/codecs/codec.h"

namespace la {

/// Reads numbers, most significant byte first, and boxes; a BadPicture beyond the end.
class BoxReader {
 public:
  explicit BoxReader(Bytes bytes) : rest_(bytes) {}

  bool done() const { return rest_.empty(); }
  Bytes take(uint64_t count) {
    if (count > rest_.size()) throw BadPicture("it cannot be decoded: a box goes beyond its end");
    const Bytes taken = rest_.first(static_cast<size_t>(count));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }
  Bytes take_all() { return take(rest_.size()); }
  uint64_t number(size_t bytes) {
    uint64_t value = 0;
    for (const uint8_t byte : take(bytes)) value = value << 8 | byte;
    return value;
  }
  std::string text(size_t bytes) {
    const Bytes taken = take(bytes);
    return {taken.begin(), taken.end()};
  }

  /// Whether a box could begin here: behind the last one, some cameras append what is none.
  bool has_box() const {
    if (rest_.size() < 8) return false;
    const uint64_t size = BoxReader(rest_).number(4);
    return size <= 1 || (size >= 8 && size <= rest_.size());
  }

  struct Box {
    std::string type;
    Bytes content;
  };
  Box box() {
    uint64_t size = number(4), header = 8;
    const std::string type = text(4);
    if (size == 1) {
      size = number(8);
      header = 16;
    }
    if (size == 0) return {type, take_all()};
    if (size < header) throw BadPicture("it cannot be decoded: a box is smaller than its header");
    return {type, take(size - header)};
  }

 private:
  Bytes rest_;
};

}  // namespace la
