#include "tensor/backend.h"

#include <omp.h>

namespace la {

Backend& backend(Device device) {
  // Never destroyed: tensors in static objects may outlive main.
  static Backend* const cpu = make_cpu_backend().release();
  if (device.is_cpu()) return *cpu;
  check(device.index == 0, "device {}: a process uses one GPU, which it sees as cuda:0", device);
  static Backend* const cuda = make_cuda_backend().release();
  return *cuda;
}

std::string describe(Device device) { return backend(device).name(); }

size_t memory_size(Device device) { return backend(device).memory_size(); }

bool multiplies_bf16(Device device) { return backend(device).multiplies_bf16(); }

std::unique_ptr<Uploader> make_uploader(Device device) { return backend(device).make_uploader(); }

MemoryStats memory_stats(Device device) { return backend(device).allocator().stats(); }

void set_num_threads(int threads) {
  check(threads >= 1, "the number of threads must be at least 1, got {}", threads);
  omp_set_num_threads(threads);
}

int num_threads() { return omp_get_max_threads(); }

}  // namespace la
