#include "tensor/io/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>

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

namespace {

namespace fs = std::filesystem;

/// Where a path leads: links are followed, also to a file that is not there yet.
std::string follow_links(const std::string& path) {
  constexpr int most = 40;  // as Linux follows
  fs::path target = path;
  std::error_code error;
  for (int i = 0; fs::is_symlink(target, error) && !error; ++i) {
    check(i < most, "cannot write '{}': its links lead nowhere", path);
    const fs::path next = fs::read_symlink(target, error);
    target = next.is_absolute() ? next : target.parent_path() / next;
  }
  check(!fs::is_directory(target, error), "cannot write '{}': it is a folder", path);
  return target;
}

bool is_device_or_pipe(const std::string& path) {
  std::error_code error;
  return fs::exists(path, error) && !fs::is_regular_file(path, error);
}

/// A file without a name, for what goes to a device or a pipe in the end.
OpenFile nameless_file() {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::tmpfile(), std::fclose);
  const int descriptor = file ? ::dup(fileno(file.get())) : -1;
  check(descriptor >= 0, "cannot make a temporary file: {}", std::strerror(errno));
  return OpenFile(descriptor);
}

}  // namespace

AtomicFile::AtomicFile(const std::string& path)
    : path_(path),
      target_(follow_links(path)),
      temporary_(is_device_or_pipe(target_) ? "" : target_ + std::string(temporary_suffix)),
      file_(temporary_.empty() ? nameless_file() : OpenFile(temporary_, O_WRONLY | O_CREAT | O_TRUNC)) {}

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

void write_at(const OpenFile& file, const std::string& path, int64_t offset, const void* bytes,
              size_t count) {
  const char* next = static_cast<const char*>(bytes);
  while (count > 0) {
    const ssize_t written = retry([&] { return ::pwrite(file.descriptor(), next, count, offset); });
    check(written >= 0, "cannot write '{}': {}", path, std::strerror(errno));
    next += written;
    offset += written;
    count -= static_cast<size_t>(written);
  }
}

void AtomicFile::copy_to_target() const {
  const OpenFile target(target_, O_WRONLY);
  char part[1 << 16];
  for (off_t offset = 0;;) {
    const ssize_t count = retry([&] { return ::pread(file_.descriptor(), part, sizeof part, offset); });
    if (count < 0) fail_to("read what was to be written to");
    if (count == 0) return;
    for (ssize_t done = 0; done < count;) {
      const ssize_t written = retry([&] { return ::write(target.descriptor(), part + done, count - done); });
      if (written < 0) fail_to("write");
      done += written;
    }
    offset += count;
  }
}

void check_output(const std::string& path) {
  const std::string target = follow_links(path);
  if (is_device_or_pipe(target)) return;
  const std::string folder =
      fs::path(target).has_parent_path() ? fs::path(target).parent_path().string() : ".";
  std::error_code ignored;
  check(fs::is_directory(folder, ignored), "cannot write '{}': there is no folder '{}'", path, folder);
  check(::access(folder.c_str(), W_OK) == 0, "cannot write '{}': {}: {}", path, folder, std::strerror(errno));
}

void AtomicFile::commit() {
  if (temporary_.empty()) return copy_to_target();
  if (::fsync(file_.descriptor()) != 0 || !file_.close()) fail_to("write");
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail_to("rename the temporary file to");
  temporary_.clear();

  // The new name is durable when the folder is. EINVAL: this file system has no such notion.
  const std::string parent = fs::path(target_).parent_path();
  const OpenFile folder(parent.empty() ? "." : parent, O_RDONLY | O_DIRECTORY);
  if (::fsync(folder.descriptor()) != 0 && errno != EINVAL) fail_to("make durable");
}

void make_folders(const std::string& path) {
  if (path.empty()) return;
  std::error_code error;
  std::filesystem::create_directories(path, error);
  check(!error, "cannot make the folder '{}': {}", path, error.message());
}

void write_text_file(const std::string& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

bool file_exists(const std::string& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

int64_t file_size(const std::string& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  check(!error, "{}: {}", path, error.message());
  return static_cast<int64_t>(size);
}

std::string read_file(const std::string& path) {
  const OpenFile file(path, O_RDONLY);
  std::string text;
  for (char part[1 << 16];;) {
    const ssize_t count = ::read(file.descriptor(), part, sizeof part);  // a signal ends the wait for a pipe
    check(count >= 0, "cannot read '{}': {}", path, std::strerror(errno));
    if (count == 0) return text;
    text.append(part, static_cast<size_t>(count));
  }
}

void append_to_file(const std::string& path, std::string_view bytes) {
  OpenFile file(path, O_WRONLY | O_CREAT | O_APPEND);
  const ssize_t written = retry([&] { return ::write(file.descriptor(), bytes.data(), bytes.size()); });
  check(written >= 0, "cannot write '{}': {}", path, std::strerror(errno));
  check(written == static_cast<ssize_t>(bytes.size()), "cannot write '{}': the disk is full", path);
  check(file.close(), "cannot write '{}': {}", path, std::strerror(errno));
}

void append_line(const std::string& path, std::string line) { append_to_file(path, line += '\n'); }

}  // namespace la
