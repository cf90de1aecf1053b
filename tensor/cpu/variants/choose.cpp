// The CPU backend of a portable build (make MARCH=portable): all of tensor/cpu is compiled several times, for
// CPUs of several generations, and the best that this one can run is chosen when the program starts. The
// Makefile renames make_cpu_backend of each and hides all else, so that no function compiled for a newer CPU
// is called from elsewhere. oneDNN chooses for itself.
#include "tensor/backend.h"

namespace la {

std::unique_ptr<Backend> cpu_backend_v3();       // x86-64-v3: AVX2 and FMA
std::unique_ptr<Backend> cpu_backend_v4();       // x86-64-v4: AVX-512
std::unique_ptr<Backend> cpu_backend_v4_bf16();  // and its arithmetic of bf16

std::unique_ptr<Backend> make_cpu_backend() {
  check(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"),
        "this program needs a CPU with AVX2 and FMA (x86-64-v3)");
  const bool v4 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  if (!v4) return cpu_backend_v3();
  return __builtin_cpu_supports("avx512bf16") ? cpu_backend_v4_bf16() : cpu_backend_v4();
}

}  // namespace la
