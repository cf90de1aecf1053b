// EXIF: how an upright picture lies in its file.
#pragma once

#include <cstdint>
#include <span>

namespace la {

/// The orientation, 1 to 8, in EXIF data, which are a TIFF file, with or without "Exif\0\0" before it; 1,
/// upright, where they say nothing sensible.
int exif_orientation(std::span<const uint8_t> exif);

/// Whether these bytes begin with "Exif\0\0".
bool has_exif_mark(std::span<const uint8_t> bytes);

}  // namespace la
