// The formats that dataset.cpp knows, and what their readers share.
#pragma once

#include <memory>
#include <string>

#include "data/dataset.h"

namespace la {

DataSource open_idx(const DataOptions& options);
DataSource open_cifar10(const DataOptions& options);
DataSource open_cifar100(const DataOptions& options);
DataSource open_stl10(const DataOptions& options);
DataSource open_places205(const DataOptions& options);
/// Picture files, in train/ and val/ of the folder if it has both.
DataSource open_folder(const DataOptions& options);

bool file_exists(const std::string& path);

/// Reads a file from the beginning to the end; a file whose name ends in .gz is decompressed, any other is
/// read as it is. Every failure, also a file that is shorter or longer than its reader expects, is an Error
/// that names the file.
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

/// Bytes of an uncompressed file.
int64_t file_size(const std::string& path);
/// All of an uncompressed file.
std::string read_file(const std::string& path);

/// Pictures whose channels follow one another as planes, as u8 [N, H, W, C]. columns_first: each plane is
/// stored column by column.
void interleave(const uint8_t* planes, int64_t channels, int64_t height, int64_t width, bool columns_first,
                uint8_t* to);

}  // namespace la
