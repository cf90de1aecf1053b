#include "tensor/io/staged_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

#include "tensor/error.h"
#include "tensor/io/files.h"

namespace la {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    names.push_back(at->path().filename());
  check(!error, "cannot read the folder '{}': {}", folder, error.message());
  return names;
}

/// Returns whether it was not there before.
bool make_folder(const std::string& path) {
  std::error_code error;
  const bool made = fs::create_directory(path, error);
  check(!error, "cannot make the folder '{}': {}", path, error.message());
  return made;
}

void remove_all(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  check(!error, "cannot remove '{}': {}", path, error.message());
}

}  // namespace

StagedFolder::StagedFolder(const std::string& folder)
    : folder_(folder), staged_(folder + "/" + staged_name), made_(make_folder(folder)) {
  remove_all(staged_);  // of a program that was killed
  make_folder(staged_);
}

StagedFolder::~StagedFolder() {
  if (staged_.empty()) return;
  std::error_code ignored;
  fs::remove_all(staged_, ignored);
  if (made_) fs::remove(folder_, ignored);
}

void StagedFolder::commit(const std::function<bool(const std::string& name)>& is_old) {
  const OpenFile opened(folder_, O_RDONLY | O_DIRECTORY);
  check(::syncfs(opened.descriptor()) == 0, "cannot write '{}': {}", folder_, std::strerror(errno));
  for (const std::string& name : names_in(folder_))
    if (name != staged_name && is_old(name)) remove_all(folder_ + "/" + name);
  for (const std::string& name : names_in(staged_)) {
    const std::string place = folder_ + "/" + name;
    remove_all(place);
    std::error_code error;
    fs::rename(path(name), place, error);
    check(!error, "cannot rename '{}' to '{}': {}", path(name), place, error.message());
  }
  remove_all(std::exchange(staged_, ""));
  check(::fsync(opened.descriptor()) == 0 || errno == EINVAL, "cannot write '{}': {}", folder_,
        std::strerror(errno));
}

bool StagedFolder::is_occupied(const std::string& folder) {
  std::error_code error;
  const fs::file_type type = fs::status(folder, error).type();
  if (type == fs::file_type::not_found) return false;
  if (type != fs::file_type::directory) return true;
  const std::vector<std::string> names = names_in(folder);
  return !names.empty() && names != std::vector<std::string>{staged_name};
}

}  // namespace la
