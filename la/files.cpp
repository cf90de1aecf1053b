#include "la/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "tensor/error.h"

namespace la {
namespace {

/// Calls a system call until no signal interrupts it.
template <class Call>
ssize_t retry(Call call) {
  ssize_t result;
  do result = call();
  while (result < 0 && errno == EINTR);
  return result;
}

}  // namespace

OpenFile::OpenFile(const std::string& path, int flags)
    : descriptor_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {
  check(descriptor_ >= 0, "cannot open '{}': {}", path, std::strerror(errno));
}

OpenFile::~OpenFile() { close(); }

bool OpenFile::close() {
  const int descriptor = std::exchange(descriptor_, -1);
  return descriptor < 0 || ::close(descriptor) == 0;
}

AtomicFile::AtomicFile(const std::string& path)
    : path_(path),
      temporary_(path + std::string(temporary_suffix)),
      file_(temporary_, O_WRONLY | O_CREAT | O_TRUNC) {}

AtomicFile::~AtomicFile() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::fail_to(const char* what) const {
  fail("cannot {} '{}': {}", what, path_, std::strerror(errno));
}

void AtomicFile::write(const void* bytes, size_t count) {
  const char* next = static_cast<const char*>(bytes);
  while (count > 0) {
    const ssize_t written = retry([&] { return ::write(file_.descriptor(), next, count); });
    if (written < 0) fail_to("write");
    next += written;
    count -= static_cast<size_t>(written);
  }
}

void AtomicFile::overwrite(int64_t offset, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written =
        retry([&] { return ::pwrite(file_.descriptor(), text.data(), text.size(), offset); });
    if (written < 0) fail_to("write");
    text.remove_prefix(static_cast<size_t>(written));
    offset += written;
  }
}

void AtomicFile::commit() {
  if (::fsync(file_.descriptor()) != 0 || !file_.close()) fail_to("write");
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail_to("rename the temporary file to");
  temporary_.clear();

  // The new name is durable when the folder is. EINVAL: this file system has no such notion.
  const std::string parent = std::filesystem::path(path_).parent_path();
  const OpenFile folder(parent.empty() ? "." : parent, O_RDONLY | O_DIRECTORY);
  if (::fsync(folder.descriptor()) != 0 && errno != EINVAL) fail_to("make durable");
}

void write_text_file(const std::string& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

std::string read_text_file(const std::string& path) {
  const OpenFile file(path, O_RDONLY);
  std::string text;
  for (char part[1 << 16];;) {
    const ssize_t count = retry([&] { return ::read(file.descriptor(), part, sizeof part); });
    check(count >= 0, "cannot read '{}': {}", path, std::strerror(errno));
    if (count == 0) return text;
    text.append(part, static_cast<size_t>(count));
  }
}

void append_line(const std::string& path, std::string line) {
  OpenFile file(path, O_WRONLY | O_CREAT | O_APPEND);
  line += '\n';
  const ssize_t written = retry([&] { return ::write(file.descriptor(), line.data(), line.size()); });
  check(written >= 0, "cannot write '{}': {}", path, std::strerror(errno));
  check(written == static_cast<ssize_t>(line.size()), "cannot write '{}': the disk is full", path);
  check(file.close(), "cannot write '{}': {}", path, std::strerror(errno));
}

}  // namespace la
