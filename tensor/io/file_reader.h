// FileReader: a file that is read from the beginning to the end, perhaps compressed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace la {

/// A file whose name ends in .gz is decompressed, any other is read as it is. Every failure, also a file that
/// is shorter or longer than its reader expects, is an Error that names the file.
class FileReader {
 public:
  explicit FileReader(std::string path);

  /// Reads exactly `bytes` bytes.
  void read(void* to, size_t bytes);
  uint32_t read_big_endian_u32();
  /// An Error if there is more to read, or if a .gz lacks its end or does not have the checksum that it says.
  void expect_end();
  const std::string& path() const { return path_; }

 private:
  /// Up to `bytes` bytes; 0 at the end of the file.
  size_t read_some(void* to, size_t bytes);

  std::string path_;
  bool compressed_;
  std::unique_ptr<void, void (*)(void*)> file_;  // zlib's gzFile, or a FILE
  size_t position_ = 0;                          // in the decompressed file
};

}  // namespace la
