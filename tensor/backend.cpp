#include "tensor/backend.h"

#include <omp.h>

#include "tensor/cpu/cpu_backend.h"

namespace la {

Backend& backend(Device device) {
  check(device.is_cpu(), "device {} is not available: this build has only the CPU", device);
  static CpuBackend* cpu = new CpuBackend;  // never destroyed: tensors in static objects may outlive main
  return *cpu;
}

MemoryStats memory_stats(Device device) { return backend(device).allocator().stats(); }

void set_num_threads(int threads) {
  check(threads >= 1, "the number of threads must be at least 1, got {}", threads);
  omp_set_num_threads(threads);
}

int num_threads() { return omp_get_max_threads(); }

}  // namespace la
