#include "tensor/cuda/library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <vector>

#include "tensor/cuda/runtime.h"
#include "tensor/device.h"

namespace la {
namespace cuda {
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

Permissions& mutable_permissions() {
  static Permissions permissions;
  return permissions;
}

}  // namespace

SharedLibrary::SharedLibrary(std::string subject, std::initializer_list<const char*> names)
    : subject_(std::move(subject)) {
  std::string reason;
  for (const char* name : names)
    for (const fs::path& folder : folders()) {
      const fs::path file = folder / name;
      handle_ = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
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
  check(result != nullptr, "{} has no function {}", subject_, name);
  return result;
}

// Never destroyed: tensors and plans in static objects may outlive main.
const SharedLibrary& cudnn_library() {
  // The part of cuDNN 9 with its graphs, which finds the parts with its engines by itself, or the whole.
  static const auto* library = new SharedLibrary("cuDNN 9", {"libcudnn_graph.so.9", "libcudnn.so.9"});
  return *library;
}

const SharedLibrary& cublaslt_library() {
  static const auto* library = new SharedLibrary("cuBLASLt", {"libcublasLt.so.13", "libcublasLt.so.12"});
  return *library;
}

void fail_cuda(cudaError_t status, std::string_view what) {
  cudaGetLastError();  // or the next call that asks for the last error would report this one again
  fail("CUDA: {}: {}", what, cudaGetErrorString(status));
}

bool is_recording() {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check_cuda(cudaStreamIsCapturing(stream(), &status), "asking whether a graph is being recorded");
  return status != cudaStreamCaptureStatusNone;
}

Permissions permissions() { return mutable_permissions(); }

}  // namespace cuda

void allow_tf32(bool allowed) { cuda::mutable_permissions().tf32 = allowed; }
void autotune(bool on) { cuda::mutable_permissions().autotune = on; }

}  // namespace la
