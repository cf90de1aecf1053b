#include "tensor/cuda/cuda_backend.h"

namespace la {

CudaBackend::CudaBackend() : allocator_(cuda::allocate, [](void* block, size_t) { cuda::release(block); }) {}

std::string cuda_problem() { return cuda::problem(); }

std::unique_ptr<Backend> make_cuda_backend() {
  const std::string problem = cuda_problem();
  check(problem.empty(), "device cuda is not available: {}", problem);
  return std::make_unique<CudaBackend>();
}

}  // namespace la
