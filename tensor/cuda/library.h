// NVIDIA's libraries, loaded when the first GPU is used, so that a program runs without them where there is
// no GPU; how their calls and those of the CUDA runtime are checked; and what they are allowed to do.
#pragma once

#include <cuda_runtime_api.h>

#include <string_view>

#include "tensor/error.h"
#include "tensor/shared_library.h"

namespace la::cuda {

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
