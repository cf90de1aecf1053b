#include "tensor/cuda/library.h"

#include "tensor/cuda/runtime.h"
#include "tensor/device.h"

namespace la {
namespace cuda {
namespace {

Permissions& mutable_permissions() {
  static Permissions permissions;
  return permissions;
}

}  // namespace

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
