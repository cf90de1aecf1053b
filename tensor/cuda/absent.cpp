// What a build without CUDA has in place of the CUDA backend.
#include "tensor/backend.h"
#include "tensor/cuda/nccl_collectives.h"
#include "tensor/profile.h"

namespace la {

std::string cuda_problem() { return "this program was built without CUDA"; }

ProfileRange::ProfileRange(const char*) {}
ProfileRange::~ProfileRange() = default;
void allow_tf32(bool) {}
void autotune(bool) {}

std::unique_ptr<Collectives> make_nccl_collectives(Collectives&) { fail("NCCL: {}", cuda_problem()); }

std::unique_ptr<Backend> make_cuda_backend() { fail("device cuda is not available: {}", cuda_problem()); }

}  // namespace la
