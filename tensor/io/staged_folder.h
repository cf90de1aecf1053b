// StagedFolder: files and folders that appear in a folder when all of them are complete, or not at all. They
// are made in a folder within it, whose name begins with a dot, and then moved to their places.
#pragma once

#include <functional>
#include <string>

namespace la {

class StagedFolder {
 public:
  /// Makes the folder, but not those around it, where it is not there. Every member throws an Error that
  /// names a path and the system's reason.
  explicit StagedFolder(const std::string& folder);
  /// Removes what was made unless commit() has succeeded; the folder too, if it was not there before.
  ~StagedFolder();
  StagedFolder(const StagedFolder&) = delete;
  StagedFolder& operator=(const StagedFolder&) = delete;

  const std::string& folder() const { return folder_; }
  /// Where the file or folder of that name is until commit().
  std::string path(const std::string& name) const { return staged_ + "/" + name; }
  /// Makes all of it durable, removes from the folder the names that `is_old` says, and moves what was made
  /// to its place, where it replaces a file or folder of the same name.
  void commit(const std::function<bool(const std::string& name)>& is_old);

  /// Whether there is a folder that holds anything, or a file of that name.
  static bool is_occupied(const std::string& folder);

 private:
  static constexpr const char* staged_name = ".new";

  std::string folder_, staged_;
  bool made_;  // the folder was not there
};

}  // namespace la
