// Reading files, for all formats.
#include <zlib.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "data/formats.h"

namespace la {

bool file_exists(const std::string& path) { return std::filesystem::is_regular_file(path); }

int64_t file_size(const std::string& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  check(!error, "{}: {}", path, error.message());
  return static_cast<int64_t>(size);
}

FileReader::FileReader(std::string path) : path_(std::move(path)), file_(gzopen(path_.c_str(), "rb")) {
  check(file_ != nullptr, "{}: cannot be opened: {}", path_, std::strerror(errno));
  gzbuffer(static_cast<gzFile>(file_), 1u << 17);
}

FileReader::~FileReader() { gzclose(static_cast<gzFile>(file_)); }

void FileReader::read(void* to, size_t bytes) {
  auto* target = static_cast<char*>(to);
  while (bytes > 0) {
    const auto part = static_cast<unsigned>(std::min<size_t>(bytes, 1u << 30));
    const int got = gzread(static_cast<gzFile>(file_), target, part);
    if (got <= 0) {
      int code = Z_OK;
      const char* message = gzerror(static_cast<gzFile>(file_), &code);
      if (code != Z_OK && code != Z_BUF_ERROR)
        fail("{}: damaged after {} bytes: {}", path_, position_, message);
      fail("{}: ends after {} bytes, {} more were expected", path_, position_, bytes);
    }
    target += got;
    position_ += static_cast<size_t>(got);
    bytes -= static_cast<size_t>(got);
  }
}

uint32_t FileReader::read_big_endian_u32() {
  uint8_t b[4];
  read(b, sizeof b);
  return uint32_t{b[0]} << 24 | uint32_t{b[1]} << 16 | uint32_t{b[2]} << 8 | b[3];
}

void FileReader::expect_end() {
  char byte;
  const int got = gzread(static_cast<gzFile>(file_), &byte, 1);
  check(got == 0, "{}: {} after {} bytes, where its end was expected", path_,
        got > 0 ? "goes on" : "is damaged", position_);
}

void interleave(const uint8_t* planes, int64_t channels, int64_t height, int64_t width, bool columns_first,
                uint8_t* to) {
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t y = 0; y < height; ++y)
      for (int64_t x = 0; x < width; ++x)
        to[(y * width + x) * channels + c] =
            planes[c * height * width + (columns_first ? x * height + y : y * width + x)];
}

}  // namespace la
