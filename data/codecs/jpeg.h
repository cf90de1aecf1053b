// JpegFile: decodes JPEG with libjpeg-turbo, only as much of it as is needed.
#pragma once

#include <memory>

#include "data/codecs/codec.h"

namespace la {

/// A rectangle of pixels.
struct Region {
  int y, x, height, width;
};

class JpegFile {
 public:
  /// Reads the header of a file in memory, which must outlive this. Every member throws a BadPicture for a
  /// file that is damaged, ends too early or is beyond the limit.
  JpegFile(Bytes file, const PixelLimit& limit);
  ~JpegFile();
  JpegFile(const JpegFile&) = delete;
  JpegFile& operator=(const JpegFile&) = delete;

  /// As the pixels lie in the file.
  int height() const;
  int width() const;
  /// EXIF's orientation, 1 to 8; 1, upright, where the file says nothing sensible.
  int orientation() const;
  /// The region of the picture at 1 / scale of its size (rounded up), as u8 RGB; four inks are converted
  /// without a color profile, and taken to be stored inverted, as all programs in use do. scale: 1, 2, 4
  /// or 8. To be called once.
  Picture decode(int scale, const Region& region);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace la
