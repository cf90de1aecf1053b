// What writing and reading safetensors share: the layout of a file, and the checksum that ours carry.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "tensor/dtype.h"

namespace la::safetensors {

constexpr size_t length_bytes = 8;            // before the header
constexpr uint64_t max_header = 100'000'000;  // the format's own limit

// The checksum is the CRC-32 of the whole file, taken with zeros in place of its own 8 digits.
constexpr std::string_view checksum_key = "la_crc32";
constexpr std::string_view checksum_zeros = "00000000";

/// Where the checksum's digits stand in a header; npos if it has no checksum. Quotes inside a JSON text are
/// escaped, so that nothing else can look like this.
size_t checksum_position(std::string_view header);
/// The checksum up to the end of the header.
uint32_t header_crc(uint64_t length, std::string header);

/// The format's name of a type.
std::string_view text_of(DType dtype);

}  // namespace la::safetensors
