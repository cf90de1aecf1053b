// The CUDA backend: cuDNN for convolutions, cuBLASLt for matrix products, kernels of our own for everything
// else, grouped by theme as on the CPU. All work is enqueued on one stream and none waits for it, but
// copy_to_host and synchronize. Indices that are out of range are reported by the next of these.
#pragma once

#include "tensor/backend.h"
#include "tensor/cuda/runtime.h"

namespace la {

class CudaBackend final : public Backend {
 public:
  CudaBackend();

  std::string name() const override;
  size_t memory_size() const override { return cuda::device_properties().memory; }
  bool multiplies_bf16() const override { return true; }

  CachingAllocator& allocator() override { return allocator_; }
  CachingAllocator& host_allocator() override { return pinned_; }
  void copy_from_host(void* destination, const void* source, size_t bytes) override {
    cuda::copy_from_host(destination, source, bytes);
  }
  void copy_to_host(void* destination, const void* source, size_t bytes) override {
    cuda::copy_to_host(destination, source, bytes);
  }
  void copy(void* destination, const void* source, size_t bytes) override {
    cuda::copy_on_device(destination, source, bytes);
  }
  void synchronize() override { cuda::wait(); }
  std::unique_ptr<Uploader> make_uploader() override;
  std::unique_ptr<Recording> record(const std::function<void()>& work) override;

#define LA_FUNCTION(name, parameters) void name parameters override;
#include "tensor/backend_functions.h"
#undef LA_FUNCTION

 private:
  CachingAllocator allocator_, pinned_;
};

}  // namespace la
