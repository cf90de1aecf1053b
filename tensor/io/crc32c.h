// CRC-32C (Castagnoli; RFC 3720, section 12.1), with which files of LevelDB and TensorFlow show that they are whole.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace la {

inline constexpr std::array<uint32_t, 256> crc32c_table = [] {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t c = i;
    for (int bit = 0; bit < 8; ++bit) c = c & 1 ? c >> 1 ^ 0x82f63b78u : c >> 1;
    table[i] = c;
  }
  return table;
}();

inline uint32_t crc32c_of(const void* bytes, size_t count) {
  uint32_t crc = ~0u;
  const auto* at = static_cast<const uint8_t*>(bytes);
  for (size_t i = 0; i < count; ++i) crc = crc >> 8 ^ crc32c_table[(crc ^ at[i]) & 0xff];
  return ~crc;
}

/// As these files store it: turned, with a constant added, for a checksum of bytes that end with their own is always the same.
inline uint32_t masked_crc32c(const void* bytes, size_t count) {
  return std::rotr(crc32c_of(bytes, count), 15) + 0xa282ead8u;
}

}  // namespace la
