#include "apps/result_folder.h"

#include <filesystem>

#include "tensor/error.h"

namespace la {

namespace fs = std::filesystem;

std::string full_path(const std::string& folder) {
  std::error_code ignored;
  return fs::weakly_canonical(fs::absolute(folder, ignored), ignored) / "";
}

std::unique_ptr<StagedFolder> stage_results(const char* option, const std::string& folder,
                                            const std::string& pictures, bool force) {
  const std::string own = full_path(folder), seen = full_path(pictures);
  check(!own.starts_with(seen) && !seen.starts_with(own),
        "{} {}: expected a folder that is neither in that of the pictures, {}, nor around it", option, folder,
        pictures);
  check(force || !StagedFolder::is_occupied(folder),
        "{}: is not empty; --force overwrites what an earlier call has written there", folder);
  return std::make_unique<StagedFolder>(folder);
}

}  // namespace la
