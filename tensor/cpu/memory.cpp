// Memory of the CPU backend: aligned blocks, large ones on huge pages.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "tensor/cpu/cpu_backend.h"

namespace la {
namespace {

constexpr size_t huge_page = size_t{2} << 20;

void* allocate(size_t bytes) {
  const size_t alignment = bytes >= huge_page ? huge_page : 64;
  const size_t size = (bytes + alignment - 1) / alignment * alignment;
  void* block = std::aligned_alloc(alignment, size);
  check(block != nullptr, "out of memory: {} bytes were asked for", bytes);
  if (alignment == huge_page) madvise(block, size, MADV_HUGEPAGE);  // a hint; failure only costs speed
  return block;
}

/// What is in host memory is where it should be.
struct NoUploader final : Uploader {
  Tensor upload(const Tensor& host) override { return host; }
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend() { return std::make_unique<CpuBackend>(); }

CpuBackend::CpuBackend()
    : allocator_(
          allocate, [](void* segment, size_t) { std::free(segment); }, mark_for_sanitizer()) {}

size_t CpuBackend::memory_size() const {
  return static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

void CpuBackend::copy_from_host(void* destination, const void* source, size_t bytes) {
  copy(destination, source, bytes);
}
void CpuBackend::copy_to_host(void* destination, const void* source, size_t bytes) {
  copy(destination, source, bytes);
}
void CpuBackend::copy(void* destination, const void* source, size_t bytes) {
  if (bytes > 0) std::memcpy(destination, source, bytes);
}

std::unique_ptr<Uploader> CpuBackend::make_uploader() { return std::make_unique<NoUploader>(); }

}  // namespace la
