// NVIDIA's libraries, loaded when the first GPU is used, so that a program runs without them where there is
// no GPU; how their calls and those of the CUDA runtime are checked; and what they are allowed to do.
#pragma once

#include <cuda_runtime_api.h>

#include <initializer_list>
#include <string>
#include <string_view>

#include "tensor/error.h"

namespace la::cuda {

/// A shared library, loaded for as long as the process runs.
class SharedLibrary {
 public:
  /// Loads the first of `names` that there is, in the folder lib beside the program, where the system
  /// looks by default, or in CUDA_HOME/lib64 (/usr/local/cuda/lib64 without CUDA_HOME); an Error that
  /// says why it cannot.
  SharedLibrary(std::string subject, std::initializer_list<const char*> names);

  /// The function of that name; an Error if there is none. F is a function's type, such as
  /// decltype(cudnnCreate).
  template <class F>
  F* symbol(const char* name) const {
    return reinterpret_cast<F*>(address(name));
  }

 private:
  void* address(const char* name) const;

  std::string subject_;
  void* handle_ = nullptr;
};

const SharedLibrary& cudnn_library();
const SharedLibrary& cublaslt_library();

/// An Error that says what was being done ("copying 12 bytes to the GPU") and what CUDA says about it.
[[noreturn]] void fail_cuda(cudaError_t status, std::string_view what);
inline void check_cuda(cudaError_t status, std::string_view what) {
  if (status != cudaSuccess) [[unlikely]]
    fail_cuda(status, what);
}

/// Whether the stream records a graph now, so that nothing may be waited for or timed.
bool is_recording();

/// What la::allow_tf32 and la::autotune have set.
struct Permissions {
  bool tf32 = false;
  bool autotune = false;
};
Permissions permissions();

}  // namespace la::cuda
