// PlacedBytes: bytes of a file by their places. Every failure is an Error that names the file.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>

#include "tensor/error.h"
#include "tensor/io/files.h"

namespace la {

class PlacedBytes {
 public:
  explicit PlacedBytes(const std::string& path) : path_(path), file_(path, O_RDONLY | O_CLOEXEC) {
    struct stat status {};
    check(fstat(file_.descriptor(), &status) == 0 && S_ISREG(status.st_mode), "{}: is no file", path);
    size_ = static_cast<uint64_t>(status.st_size);
  }
  uint64_t size() const { return size_; }

  void read(uint64_t at, void* to, uint64_t count) const {
    check(at <= size_ && count <= size_ - at, "{}: is cut off: it has {} bytes, and {} at byte {} are needed",
          path_, size_, count, at);
    for (uint64_t done = 0; done < count;) {
      const ssize_t some = pread(file_.descriptor(), static_cast<char*>(to) + done, count - done,
                                 static_cast<off_t>(at + done));
      check(some > 0 || (some < 0 && errno == EINTR), "{}: cannot be read: {}", path_,
            some == 0 ? "it has become shorter" : std::strerror(errno));
      if (some > 0) done += static_cast<uint64_t>(some);
    }
  }
  std::string text(uint64_t at, uint64_t count) const {
    check(at <= size_ && count <= size_ - at, "{}: is cut off: it has {} bytes, and {} at byte {} are needed",
          path_, size_, count, at);
    std::string bytes(count, '\0');
    read(at, bytes.data(), count);
    return bytes;
  }
  template <class T>
  T number(uint64_t at) const {
    T value;
    read(at, &value, sizeof value);
    return value;
  }

 private:
  std::string path_;
  OpenFile file_;
  uint64_t size_;
};

}  // namespace la
