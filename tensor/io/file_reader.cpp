#include "tensor/io/file_reader.h"

#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "tensor/error.h"

namespace la {

// zlib would read plain files too, but decompresses whatever begins with the two bytes of gzip's magic
// number, and raw pixels may.
FileReader::FileReader(std::string path)
    : path_(std::move(path)), compressed_(path_.ends_with(".gz")), file_(nullptr, [](void*) {}) {
  if (compressed_)
    file_ = {gzopen(path_.c_str(), "rb"), [](void* file) { gzclose(static_cast<gzFile>(file)); }};
  else
    file_ = {std::fopen(path_.c_str(), "rb"), [](void* file) { std::fclose(static_cast<std::FILE*>(file)); }};
  check(file_ != nullptr, "{}: cannot be opened: {}", path_, std::strerror(errno));
}

size_t FileReader::read_some(void* to, size_t bytes) {
  if (!compressed_) {
    auto* file = static_cast<std::FILE*>(file_.get());
    const size_t got = std::fread(to, 1, bytes, file);
    check(got > 0 || !std::ferror(file), "{}: cannot be read after {} bytes: {}", path_, position_,
          std::strerror(errno));
    return got;
  }
  auto* file = static_cast<gzFile>(file_.get());
  const int got = gzread(file, to, static_cast<unsigned>(std::min<size_t>(bytes, 1u << 30)));
  if (got > 0) return static_cast<size_t>(got);
  int code = Z_OK;
  const char* message = gzerror(file, &code);  // Z_BUF_ERROR: the compressed data have no end
  check(code == Z_OK, "{}: damaged after {} decompressed bytes: {}", path_, position_, message);
  return 0;
}

void FileReader::read(void* to, size_t bytes) {
  auto* target = static_cast<char*>(to);
  while (bytes > 0) {
    const size_t got = read_some(target, bytes);
    check(got > 0, "{}: ends after {} bytes, {} more were expected", path_, position_, bytes);
    target += got;
    position_ += got;
    bytes -= got;
  }
}

uint32_t FileReader::read_big_endian_u32() {
  uint8_t b[4];
  read(b, sizeof b);
  return uint32_t{b[0]} << 24 | uint32_t{b[1]} << 16 | uint32_t{b[2]} << 8 | b[3];
}

void FileReader::expect_end() {
  char byte;
  check(read_some(&byte, 1) == 0, "{}: goes on after {} bytes, where its end was expected", path_, position_);
}

}  // namespace la
