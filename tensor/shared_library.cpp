#include "tensor/shared_library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <vector>

#include "tensor/error.h"

namespace la {
namespace {

namespace fs = std::filesystem;

/// Where a library may lie, best first; the empty folder stands for where the system looks.
std::vector<fs::path> folders() {
  std::vector<fs::path> result;
  std::error_code ignored;  // without /proc, the other folders remain
  if (const fs::path program = fs::read_symlink("/proc/self/exe", ignored); !program.empty())
    result.push_back(program.parent_path() / "lib");
  result.emplace_back();
  const char* home = std::getenv("CUDA_HOME");
  result.push_back(fs::path(home != nullptr ? home : "/usr/local/cuda") / "lib64");
  return result;
}

}  // namespace

SharedLibrary::SharedLibrary(std::string subject, std::initializer_list<const char*> names,
                             Visibility visibility)
    : subject_(std::move(subject)) {
  const int scope = visibility == Visibility::of_all ? RTLD_GLOBAL : RTLD_LOCAL;
  std::string reason;
  for (const char* name : names)
    for (const fs::path& folder : folders()) {
      const fs::path file = folder / name;
      handle_ = dlopen(file.c_str(), RTLD_NOW | scope);
      if (handle_ != nullptr) return;
      const char* text = dlerror();
      // Why a file that is there cannot be loaded says more than that another one is not there.
      std::error_code ignored;
      if (fs::exists(file, ignored) || (reason.empty() && folder.empty())) reason = text;
    }
  fail("{} cannot be loaded: {}", subject_, reason);
}

void* SharedLibrary::address(const char* name) const {
  void* result = dlsym(handle_, name);
  check(result != nullptr, "{} has no {}", subject_, name);
  return result;
}

}  // namespace la
