#include "tensor/cuda/runtime.h"

#include <cuda_runtime_api.h>
#include <nvtx3/nvToolsExt.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>

#include "tensor/clock.h"
#include "tensor/cuda/library.h"
#include "tensor/error.h"
#include "tensor/profile.h"

namespace la {
namespace cuda {
namespace {

// ---- The device -------------------------------------------------------------------------------------------

std::string version_text(int version) { return formatted("{}.{}", version / 1000, version % 1000 / 10); }

std::string problem_of_driver() {
  int driver = 0, runtime = 0, devices = 0;
  cudaDriverGetVersion(&driver);  // stays 0 without a driver
  cudaRuntimeGetVersion(&runtime);
  const cudaError_t status = cudaGetDeviceCount(&devices);
  cudaGetLastError();
  if (driver == 0) return "there is no NVIDIA driver";
  if (status == cudaErrorInsufficientDriver)
    return formatted("the NVIDIA driver supports CUDA {}, this program needs CUDA {}", version_text(driver),
                     version_text(runtime));
  if (status == cudaErrorNoDevice || (status == cudaSuccess && devices == 0)) return "there is no NVIDIA GPU";
  return status == cudaSuccess ? "" : cudaGetErrorString(status);
}

std::string problem_of_device() {
  cudaDeviceProp device{};
  check_cuda(cudaGetDeviceProperties(&device, 0), "asking for the properties of the GPU");
  if (device.major < 8)
    return formatted("{} has compute capability {}.{}, this program needs 8.0 or later", device.name,
                     device.major, device.minor);
  check_cuda(cudaFree(nullptr), formatted("starting to use {}", device.name));
  return "";
}

std::string find_problem() try {
  if (std::string text = problem_of_driver(); !text.empty()) return text;
  if (std::string text = problem_of_device(); !text.empty()) return text;
  cublaslt_library();  // before cuDNN, some of whose engines need it and take the loaded one
  cudnn_library();
  return "";
} catch (const Error& error) {
  return error.what();
}

DeviceProperties query_properties() {
  cudaDeviceProp device{};
  check_cuda(cudaGetDeviceProperties(&device, 0), "asking for the properties of the GPU");
  int driver = 0;
  check_cuda(cudaDriverGetVersion(&driver), "asking for the version of the driver");
  return {.name = device.name,
          .driver = version_text(driver),
          .compute_capability = device.major * 10 + device.minor,
          .multiprocessors = device.multiProcessorCount,
          .memory = device.totalGlobalMem};
}

/// A stream whose work does not wait for that of the default stream.
cudaStream_t make_stream() {
  cudaStream_t result = nullptr;
  check_cuda(cudaStreamCreateWithFlags(&result, cudaStreamNonBlocking), "making a stream");
  return result;
}

cudaEvent_t make_event() {
  cudaEvent_t event = nullptr;
  check_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "making an event");
  return event;
}

/// In the GPU's memory: kernels look at it before each report, of which there may be millions.
Fault* make_fault_record() {
  void* record = nullptr;
  check_cuda(cudaMalloc(&record, sizeof(Fault)), "allocating the record of faults");
  check_cuda(cudaMemset(record, 0, sizeof(Fault)), "clearing the record of faults");
  check_cuda(cudaDeviceSynchronize(), "clearing the record of faults");
  return static_cast<Fault*>(record);
}

/// Page-locked, for a copy of it.
Fault* make_fault_copy() {
  void* copy = nullptr;
  check_cuda(cudaHostAlloc(&copy, sizeof(Fault), cudaHostAllocDefault), "allocating a copy of the faults");
  return new (copy) Fault{};
}

std::function<void(double seconds)>& watch() {
  static std::function<void(double seconds)> watching;
  return watching;
}

/// Waits until `query` (of a stream or an event) no longer says that it is not ready; `wait` does the same at once, where nobody
/// watches.
template <class Query, class Wait>
void wait_until_ready(const char* what, Query query, Wait wait) {
  if (!watch()) return check_cuda(wait(), what);
  for (const double begin = now(); true;) {
    const cudaError_t status = query();
    if (status != cudaErrorNotReady) return check_cuda(status, what);
    watch()(now() - begin);
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
}

void wait_for(cudaEvent_t event, const char* what) {
  wait_until_ready(
      what, [=] { return cudaEventQuery(event); }, [=] { return cudaEventSynchronize(event); });
}

struct Context {
  DeviceProperties properties = query_properties();
  cudaStream_t stream = make_stream();
  cudaStream_t upload_stream = make_stream();
  Fault* fault = make_fault_record();
  Fault* fault_copy = make_fault_copy();
};

Context& context() {
  check(problem().empty(), "device cuda is not available: {}", problem());
  static Context* const only = new Context;  // never destroyed: tensors in static objects may outlive main
  return *only;
}

// ---- Copies -----------------------------------------------------------------------------------------------

void check_not_recording(const char* what) {
  check(!is_recording(), "{} while a graph is being recorded", what);
}

/// Page-locked memory through which copies from the host go piece by piece. CUDA may or may not have read
/// pageable memory when cudaMemcpyAsync returns, and waits for the stream before it does; this way the
/// caller's memory is free at once, and the host only waits when all slots are under way.
class Staging {
 public:
  Staging() {
    for (Slot& slot : slots_) slot = {static_cast<std::byte*>(allocate_pinned(slot_bytes)), make_event()};
  }

  void copy(std::byte* to, const std::byte* from, size_t bytes) {
    const std::lock_guard lock(mutex_);
    for (size_t done = 0; done < bytes; done += slot_bytes) {
      const size_t piece = std::min(slot_bytes, bytes - done);
      const Slot& slot = slots_[next_++ % slots_.size()];
      wait_for(slot.copied, "waiting for a copy to the GPU");
      std::memcpy(slot.memory, from + done, piece);
      check_cuda(cudaMemcpyAsync(to + done, slot.memory, piece, cudaMemcpyHostToDevice, stream()),
                 "copying to the GPU");
      check_cuda(cudaEventRecord(slot.copied, stream()), "recording an event");
    }
  }

 private:
  static constexpr size_t slot_bytes = size_t{1} << 19;
  struct Slot {
    std::byte* memory;
    cudaEvent_t copied;  // an event that was never recorded is done
  };
  std::array<Slot, 16> slots_;
  size_t next_ = 0;
  std::mutex mutex_;
};

struct RecordedGraph final : Recording {
  cudaGraphExec_t executable = nullptr;

  ~RecordedGraph() override { cudaGraphExecDestroy(executable); }
  void run() override {
    check_not_recording("running a graph");
    check_cuda(cudaGraphLaunch(executable, stream()), "running a graph");
  }
};

}  // namespace

std::string problem() {
  static const std::string text = find_problem();
  return text;
}

const DeviceProperties& device_properties() { return context().properties; }
CUstream_st* stream() { return context().stream; }
Fault* fault_record() { return context().fault; }

void check_launch(const char* kernel) {
  if (const cudaError_t status = cudaGetLastError(); status != cudaSuccess)
    fail_cuda(status, formatted("launching kernel {}", kernel));
  static const char* const debug = std::getenv("LA_CUDA_DEBUG");
  if (debug == nullptr || std::string(debug) != "1" || is_recording()) return;
  if (const cudaError_t status = cudaStreamSynchronize(stream()); status != cudaSuccess)
    fail_cuda(status, formatted("running kernel {}", kernel));
}

void* allocate(size_t bytes) {
  void* block = nullptr;
  const cudaError_t status = cudaMalloc(&block, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    size_t available = 0, total = 0;
    check_cuda(cudaMemGetInfo(&available, &total), "asking for the free memory of the GPU");
    fail("out of memory on the GPU: {} bytes were asked for, {} of {} are free", bytes, available, total);
  }
  check_cuda(status, "allocating memory on the GPU");
  return block;
}

// Freeing may run in a destructor. Where it fails, something has gone wrong before, which the next call
// that is checked reports.
void release(void* block) { cudaFree(block); }
bool memory_is_host() { return false; }

void* allocate_pinned(size_t bytes) {
  context();  // so that the first use of the GPU reports what is wrong with it
  void* block = nullptr;
  if (const cudaError_t status = cudaHostAlloc(&block, bytes, cudaHostAllocDefault); status != cudaSuccess)
    fail_cuda(status, formatted("allocating {} bytes of page-locked memory", bytes));
  return block;
}
void release_pinned(void* block) { cudaFreeHost(block); }

void copy_from_host(void* to, const void* from, size_t bytes) {
  check_not_recording("a copy from the host");
  static Staging* const staging = new Staging;
  staging->copy(static_cast<std::byte*>(to), static_cast<const std::byte*>(from), bytes);
}

void copy_to_host(void* to, const void* from, size_t bytes) {
  check_not_recording("waiting for the device");
  if (bytes > 0)
    check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream()), "copying from the GPU");
  wait();
}

void copy_on_device(void* to, const void* from, size_t bytes) {
  if (bytes == 0) return;
  check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream()), "copying on the GPU");
}

void wait() {
  check_not_recording("waiting for the device");
  Fault* const fault = context().fault_copy;
  check_cuda(cudaMemcpyAsync(fault, fault_record(), sizeof(Fault), cudaMemcpyDeviceToHost, stream()),
             "waiting for the GPU");
  wait_until_ready(
      "waiting for the GPU", [] { return cudaStreamQuery(stream()); },
      [] { return cudaStreamSynchronize(stream()); });
  if (fault->is_set == 0) return;
  check_cuda(cudaMemsetAsync(fault_record(), 0, sizeof(Fault), stream()), "clearing the record of faults");
  throw Error(format_values(fault->text, {fault->first, fault->second}));
}

struct Upload::Events {
  cudaEvent_t released = make_event();  // the last work that reads what was copied
  cudaEvent_t copied = make_event();

  ~Events() {
    cudaEventSynchronize(copied);
    cudaEventDestroy(released);
    cudaEventDestroy(copied);
  }
};

Upload::Upload() : events_(std::make_unique<Events>()) {}
Upload::~Upload() = default;

void Upload::start(void* to, const void* from, size_t bytes) {
  check_not_recording("a copy from the host");
  const cudaStream_t uploads = context().upload_stream;
  check_cuda(cudaStreamWaitEvent(uploads, events_->released, 0), "ordering an upload");
  if (bytes > 0)
    check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, uploads), "uploading to the GPU");
  check_cuda(cudaEventRecord(events_->copied, uploads), "recording an event");
  check_cuda(cudaStreamWaitEvent(stream(), events_->copied, 0), "ordering an upload");
}

void Upload::release() { check_cuda(cudaEventRecord(events_->released, stream()), "recording an event"); }

void Upload::finish() noexcept { cudaEventSynchronize(events_->copied); }

void Upload::wait() { wait_for(events_->copied, "waiting for an upload"); }

void watch_waiting(std::function<void(double seconds)> watching) { watch() = std::move(watching); }

std::unique_ptr<Recording> record_graph(const std::function<void()>& work) {
  check_not_recording("recording a graph");
  // Relaxed, because the first use of a kernel loads it, which the stricter modes forbid.
  check_cuda(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeRelaxed), "starting to record a graph");
  cudaGraph_t recorded = nullptr;
  try {
    work();
  } catch (...) {
    cudaStreamEndCapture(stream(), &recorded);
    if (recorded != nullptr) cudaGraphDestroy(recorded);
    cudaGetLastError();  // that of a recording cut short
    throw;
  }
  check_cuda(cudaStreamEndCapture(stream(), &recorded), "recording a graph");
  auto graph = std::make_unique<RecordedGraph>();
  const cudaError_t status = cudaGraphInstantiate(&graph->executable, recorded, 0);
  cudaGraphDestroy(recorded);
  check_cuda(status, "preparing a recorded graph");
  return graph;
}

}  // namespace cuda

ProfileRange::ProfileRange(const char* name) { nvtxRangePushA(name); }
ProfileRange::~ProfileRange() { nvtxRangePop(); }

}  // namespace la
