// The CPU backend: oneDNN for convolutions and matrix products, loops of our own for everything else.
// Its functions are grouped by theme: memory, elementwise, rows, matmul, conv, pool, norm, table, select,
// losses, cluster.
#pragma once

#include "tensor/backend.h"

namespace la {

class CpuBackend final : public Backend {
 public:
  CpuBackend();

  std::string name() const override { return "CPU"; }
  size_t memory_size() const override;
  bool multiplies_bf16() const override;

  CachingAllocator& allocator() override { return allocator_; }
  CachingAllocator& host_allocator() override { return allocator_; }
  void copy_from_host(void* destination, const void* source, size_t bytes) override;
  void copy_to_host(void* destination, const void* source, size_t bytes) override;
  void copy(void* destination, const void* source, size_t bytes) override;
  void synchronize() override {}
  std::unique_ptr<Uploader> make_uploader() override;
  std::unique_ptr<Recording> record(const std::function<void()>&) override { return nullptr; }

#define LA_FUNCTION(name, parameters) void name parameters override;
#include "tensor/backend_functions.h"
#undef LA_FUNCTION

 private:
  CachingAllocator allocator_;
};

}  // namespace la
