// Backend: everything that a device must be able to do, and the only thing that a new device implements. The
// ops (ops.h) say what each function computes; by the time a Backend is called, shapes and types have been
// checked and the outputs (the last parameters) allocated, with undefined contents unless said otherwise.
#pragma once

#include <memory>
#include <string>

#include "tensor/allocator.h"
#include "tensor/captured_step.h"
#include "tensor/image/view.h"
#include "tensor/op_types.h"
#include "tensor/random.h"
#include "tensor/uploader.h"

namespace la {

class Backend {
 public:
  virtual ~Backend() = default;

  /// What the device is, for people.
  virtual std::string name() const = 0;
  /// Bytes of memory that it has.
  virtual size_t memory_size() const = 0;
  virtual bool multiplies_bf16() const = 0;

  // Memory.
  virtual CachingAllocator& allocator() = 0;
  /// Of host memory from which the device copies by itself.
  virtual CachingAllocator& host_allocator() = 0;
  virtual void copy_from_host(void* destination, const void* source, size_t bytes) = 0;
  virtual void copy_to_host(void* destination, const void* source, size_t bytes) = 0;  // waits for the device
  virtual void copy(void* destination, const void* source, size_t bytes) = 0;          // within the device
  virtual void synchronize() = 0;
  virtual std::unique_ptr<Uploader> make_uploader() = 0;
  /// Calls `work` and records what it enqueues, without running it; null where the device cannot.
  virtual std::unique_ptr<Recording> record(const std::function<void()>& work) = 0;

  // What it computes.
#define LA_FUNCTION(name, parameters) virtual void name parameters = 0;
#include "tensor/backend_functions.h"
#undef LA_FUNCTION
};

/// The backend of a device; an Error if this build or this machine does not have it.
Backend& backend(Device device);

/// A new CPU backend, which needs no other.
std::unique_ptr<Backend> make_cpu_backend();
/// A new CUDA backend; an Error with the reason if there can be none.
std::unique_ptr<Backend> make_cuda_backend();

}  // namespace la
