// The CUDA runtime as the backend uses it: one device, one stream for all work, memory, and graphs of
// recorded work. runtime.cpp implements it with CUDA, emulated/runtime.cpp on the host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "tensor/captured_step.h"

struct CUstream_st;

namespace la::cuda {

/// Why this machine has no GPU that can be used; empty if it has one.
std::string problem();

struct DeviceProperties {
  std::string name;
  std::string driver;          // highest CUDA version that the driver supports
  int compute_capability = 0;  // 90 is 9.0
  int multiprocessors = 1;
  size_t memory = 0;  // bytes
};
const DeviceProperties& device_properties();

/// The stream on which all work is enqueued.
CUstream_st* stream();

/// An Error that names the kernel if its launch failed; with LA_CUDA_DEBUG=1 in the environment, waits for it
/// and checks how it ended.
void check_launch(const char* kernel);

void* allocate(size_t bytes);
void release(void* block);
/// Whether that is memory of the host, as where a GPU is played.
bool memory_is_host();

/// Page-locked host memory, from which copies run beside the host's and the device's work.
void* allocate_pinned(size_t bytes);
void release_pinned(void* block);

/// Copies and fills, in the order of the stream. `from` may be reused at once.
void copy_from_host(void* to, const void* from, size_t bytes);
/// Waits for the device; an Error if a kernel reported a fault.
void copy_to_host(void* to, const void* from, size_t bytes);
void copy_on_device(void* to, const void* from, size_t bytes);
void wait();
/// From here on, `watch` is told now and then for how many seconds the host has been waiting for the GPU; an Error that it
/// throws ends the waiting. An empty one ends that.
void watch_waiting(std::function<void(double seconds)> watch);

/// A copy from page-locked memory to the device on a stream of its own, done again and again with the same
/// two blocks of memory.
class Upload {
 public:
  Upload();
  ~Upload();
  Upload(const Upload&) = delete;
  Upload& operator=(const Upload&) = delete;

  /// Starts the copy, once the work that release() marked is done; the stream of all work waits for the copy
  /// before what is enqueued from now on.
  void start(void* to, const void* from, size_t bytes);
  /// Marks the work enqueued so far as the last that reads what the copy has brought.
  void release();
  /// Lets the host wait until the copy is done, and `from` may be written again.
  void wait();
  /// The same, whatever became of the copy.
  void finish() noexcept;

 private:
  struct Events;
  std::unique_ptr<Events> events_;
};

/// What a kernel found wrong.
struct Fault {
  int is_set;
  const char* text;
  int64_t first, second;
};
Fault* fault_record();

/// Calls `work` and records what it enqueues, without running it. Copies from and to the host and waiting are
/// Errors meanwhile.
std::unique_ptr<Recording> record_graph(const std::function<void()>& work);

}  // namespace la::cuda
