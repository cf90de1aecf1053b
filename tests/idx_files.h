// IDX files, the format of MNIST, for tests to read.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "tests/temporary_folder.h"

namespace la {

/// A magic number and extents, then values.
inline std::string idx_bytes(uint32_t magic, std::initializer_list<uint32_t> extents,
                             const std::vector<uint8_t>& values) {
  std::string bytes;
  const auto put_big_endian = [&](uint32_t number) {
    for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(number >> shift & 255));
  };
  put_big_endian(magic);
  for (const uint32_t extent : extents) put_big_endian(extent);
  return bytes.append(values.begin(), values.end());
}

/// Pictures, one after the other, and a label for each, as two files named as MNIST's are: prefix
/// "train" or "t10k".
inline void write_idx(const std::string& folder, const std::string& prefix, uint32_t height, uint32_t width,
                      const std::vector<uint8_t>& pixels, const std::vector<uint8_t>& labels) {
  const auto count = static_cast<uint32_t>(labels.size());
  write_bytes(folder + "/" + prefix + "-images-idx3-ubyte", idx_bytes(0x803, {count, height, width}, pixels));
  write_bytes(folder + "/" + prefix + "-labels-idx1-ubyte", idx_bytes(0x801, {count}, labels));
}

}  // namespace la
