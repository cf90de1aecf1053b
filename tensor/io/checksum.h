// CRC-32, with which files show that they are whole.
#pragma once

#include <zlib.h>

#include <cstddef>
#include <cstdint>

namespace la {

/// Of these bytes, or of those before, whose checksum is given, and these.
inline uint32_t crc32_of(const void* bytes, size_t count, uint32_t before = 0) {
  return static_cast<uint32_t>(crc32_z(before, static_cast<const Bytef*>(bytes), count));
}

}  // namespace la
