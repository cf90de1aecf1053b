#include "tensor/cuda/cuda_backend.h"

#include <utility>

#include "tensor/format.h"

namespace la {

CudaBackend::CudaBackend()
    : allocator_(
          cuda::allocate, [](void* segment, size_t) { cuda::release(segment); },
          cuda::memory_is_host() ? mark_for_sanitizer() : nullptr),
      pinned_(
          cuda::allocate_pinned, [](void* segment, size_t) { cuda::release_pinned(segment); },
          mark_for_sanitizer()) {}

namespace {

/// Two tensors, each as large as what was uploaded last, are used in turn: one is filled while
/// the other is read.
class CudaUploader final : public Uploader {
 public:
  ~CudaUploader() override {
    for (Slot& slot : slots_) slot.copy.finish();
  }

  Tensor upload(const Tensor& host) override {
    slots_[next_].copy.release();  // its reader, enqueued since the call before the last
    next_ = 1 - next_;
    Slot& slot = slots_[next_];
    slot.copy.wait();
    if (!slot.tensor.defined() || slot.tensor.shape() != host.shape() ||
        slot.tensor.dtype() != host.dtype()) {
      slot.tensor = Tensor(host.shape(), host.dtype(), Device::cuda());
      slot.copy.release();  // the tensor's memory may be in use by work that is enqueued
    }
    slot.host = host;
    slot.copy.start(slot.tensor.raw(), host.raw(), host.bytes());
    return slot.tensor;
  }

 private:
  struct Slot {
    cuda::Upload copy;
    Tensor host, tensor;
  };
  Slot slots_[2];
  int next_ = 0;
};

/// A graph and the memory that it works on.
struct RecordedWork final : Recording {
  Reservation memory;
  std::unique_ptr<Recording> graph;

  RecordedWork(CachingAllocator& allocator, const std::function<void()>& work)
      : memory(allocator), graph(cuda::record_graph(work)) {
    memory.close();
  }
  void run() override { graph->run(); }
};

}  // namespace

std::string CudaBackend::name() const {
  const cuda::DeviceProperties& gpu = cuda::device_properties();
  return formatted("{}, {:.0f} GiB", gpu.name, static_cast<double>(gpu.memory) / (size_t{1} << 30));
}

std::unique_ptr<Uploader> CudaBackend::make_uploader() { return std::make_unique<CudaUploader>(); }

std::unique_ptr<Recording> CudaBackend::record(const std::function<void()>& work) {
  return std::make_unique<RecordedWork>(allocator_, work);
}

std::string cuda_problem() { return cuda::problem(); }

std::unique_ptr<Backend> make_cuda_backend() {
  const std::string problem = cuda_problem();
  check(problem.empty(), "device cuda is not available: {}", problem);
  return std::make_unique<CudaBackend>();
}

}  // namespace la
