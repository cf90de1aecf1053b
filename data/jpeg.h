// JpegFile: decodes JPEG with libjpeg-turbo, only as much of it as is needed.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "tensor/picture.h"

namespace la {

/// A rectangle of pixels.
struct Region {
  int y, x, height, width;
};

/// Memory for u8 RGB pixels, undefined.
inline std::shared_ptr<uint8_t[]> new_pixels(int height, int width) {
  return std::make_shared_for_overwrite<uint8_t[]>(static_cast<size_t>(height) * static_cast<size_t>(width) *
                                                   3);
}

class JpegFile {
 public:
  /// Reads the header of a file in memory, which must outlive this. Every member throws a BadPicture for a
  /// file that is damaged or ends too early.
  explicit JpegFile(std::span<const uint8_t> file);
  ~JpegFile();
  JpegFile(const JpegFile&) = delete;
  JpegFile& operator=(const JpegFile&) = delete;

  /// As the pixels lie in the file.
  int height() const;
  int width() const;
  /// EXIF's orientation, 1 to 8; 1, upright, where the file says nothing sensible.
  int orientation() const;
  /// The region of the picture at 1 / scale of its size (rounded up), as u8 RGB; CMYK is converted without a
  /// color profile. scale: 1, 2, 4 or 8. To be called once.
  Picture decode(int scale, const Region& region);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace la
