// Files, with every error reported. AtomicFile is a file that appears under its name either complete or not
// at all, whatever happens while it is written: it is written under a temporary name in the same folder and
// renamed when it is safely on the disk. Where the name is a link, that is the name of what it points to;
// where it is a device or a pipe, the bytes are kept until all are there, and written to it then.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace la {

/// Owns an open file; closes it in the end.
class OpenFile {
 public:
  /// open(2) with mode 0666 for a new file. Throws an Error that names `path` and the system's reason.
  OpenFile(const std::string& path, int flags);
  /// Owns a descriptor that is open already.
  explicit OpenFile(int descriptor) : descriptor_(descriptor) {}
  OpenFile(OpenFile&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  OpenFile& operator=(OpenFile&&) = delete;
  ~OpenFile();

  int descriptor() const { return descriptor_; }
  /// Closes the file now; false, with errno set, if what was written may be lost.
  bool close();

 private:
  int descriptor_;
};

/// pwrite(2) of all bytes; an Error that names `path` and the system's reason.
void write_at(const OpenFile& file, const std::string& path, int64_t offset, const void* bytes, size_t count);

class AtomicFile {
 public:
  /// Every member throws an Error that names `path` and the system's reason.
  explicit AtomicFile(const std::string& path);
  /// Removes the temporary file unless commit() has succeeded.
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* bytes, size_t count);
  void write(std::string_view text) { write(text.data(), text.size()); }
  /// At that place of the file, which may be beyond what is written already.
  void write_at(int64_t offset, const void* bytes, size_t count) {
    la::write_at(file_, path_, offset, bytes, count);
  }
  /// The name that the file has until commit(), under which others may write to it too; empty if it has none.
  const std::string& temporary_path() const { return temporary_; }
  /// Makes the file durable and gives it its name, replacing an older file of that name.
  void commit();

  /// Temporary files end in this; one that is left behind belongs to a program that was killed.
  static constexpr std::string_view temporary_suffix = ".tmp";

 private:
  [[noreturn]] void fail_to(const char* what) const;
  void copy_to_target() const;

  std::string path_;       // as given
  std::string target_;     // where the bytes shall be, links followed
  std::string temporary_;  // where they are until then; empty if that has no name
  OpenFile file_;
};

/// An Error unless a file of that name could be written: it is not a folder, and one can be made in its
/// folder. Nothing changes.
void check_output(const std::string& path);

/// Makes the folder, and those around it, where they are not there; does nothing for an empty path. Throws an Error that
/// names it.
void make_folders(const std::string& path);

/// Writes a whole text file through an AtomicFile.
void write_text_file(const std::string& path, std::string_view text);
/// All of a file. Throws an Error that names it.
std::string read_file(const std::string& path);
/// Whether it is there, and neither a folder nor a device.
bool file_exists(const std::string& path);
/// In bytes. Throws an Error that names the file.
int64_t file_size(const std::string& path);
/// Appends bytes in one call to the system, so that those of two threads or programs never mix.
void append_to_file(const std::string& path, std::string_view bytes);
/// The same of a line.
void append_line(const std::string& path, std::string line);

}  // namespace la
