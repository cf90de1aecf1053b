// What a build without CUDA has in place of the CUDA backend.
#include "tensor/backend.h"

namespace la {

std::string cuda_problem() { return "this program was built without CUDA"; }

std::unique_ptr<Backend> make_cuda_backend() { fail("device cuda is not available: {}", cuda_problem()); }

}  // namespace la
