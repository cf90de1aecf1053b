#include "data/codecs/exif.h"

#include <algorithm>
#include <cstring>

namespace la {

bool has_exif_mark(std::span<const uint8_t> bytes) {
  return bytes.size() >= 6 && std::memcmp(bytes.data(), "Exif\0\0", 6) == 0;
}

// The first directory of a TIFF file has an entry of 12 bytes a tag: tag, type, how many
// values, and the value.
int exif_orientation(std::span<const uint8_t> exif) {
  const std::span<const uint8_t> tiff = has_exif_mark(exif) ? exif.subspan(6) : exif;
  if (tiff.size() < 8) return 1;
  const bool little_endian = tiff[0] == 'I';
  // A number of so many bytes; beyond the end 0, which no valid field has.
  const auto number = [&](size_t at, size_t bytes) {
    size_t value = 0;
    for (size_t i = 0; i < bytes; ++i) {
      const size_t place = at + (little_endian ? bytes - 1 - i : i);
      value = value << 8 | (place < tiff.size() ? tiff[place] : 0);
    }
    return value;
  };
  constexpr size_t entry_bytes = 12, orientation_tag = 0x112, type_byte = 1, type_long = 4;
  const size_t directory = number(4, 4), entries = number(directory, 2);
  for (size_t entry = directory + 2; entry < directory + 2 + entries * entry_bytes; entry += entry_bytes) {
    if (entry + entry_bytes > tiff.size()) return 1;
    if (number(entry, 2) != orientation_tag) continue;
    const size_t type = number(entry + 2, 2);
    const size_t value = number(entry + 8, type == type_byte ? 1 : type == type_long ? 4 : 2);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

}  // namespace la
