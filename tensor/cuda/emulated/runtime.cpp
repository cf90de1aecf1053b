// The CUDA runtime, played on the host: device memory is host memory, and work is done when it is enqueued,
// unless a graph records it. Convolutions and matrix products, which a GPU has from cuDNN and cuBLAS, are the
// CPU backend's.
#include "tensor/cuda/runtime.h"
#include "tensor/cuda/nccl_collectives.h"

#include <sys/mman.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "tensor/backend.h"
#include "tensor/cuda/convolution.h"
#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/emulated/cuda.h"
#include "tensor/cuda/estimate.h"
#include "tensor/error.h"
#include "tensor/ops.h"
#include "tensor/profile.h"

namespace la {
namespace cuda {
namespace {

using Work = std::vector<std::function<void()>>;

Work* recording = nullptr;  // of the graph that is being recorded

void check_not_recording(const char* what) {
  check(recording == nullptr, "{} while a graph is being recorded", what);
}

struct EmulatedGraph final : Recording {
  Work work;
  void run() override;
};

/// Whether only the device's work may touch device memory: what else does, ends the program.
bool is_protected() {
  static const bool wanted = std::getenv("LA_EMULATED_PROTECT") != nullptr;
  return wanted;
}

std::map<void*, size_t> segments;  // of device memory

void protect(void* segment, size_t bytes, int access) {
  check(mprotect(segment, bytes, access) == 0, "device memory cannot be protected");
}

/// While one is in scope, device memory can be touched.
class DeviceWork {
 public:
  DeviceWork() {
    if (depth++ == 0) protect_all(PROT_READ | PROT_WRITE);
  }
  ~DeviceWork() {
    if (--depth == 0) protect_all(PROT_NONE);
  }
  DeviceWork(const DeviceWork&) = delete;
  DeviceWork& operator=(const DeviceWork&) = delete;

  static inline int depth = 0;

 private:
  static void protect_all(int access) {
    if (!is_protected()) return;
    for (const auto& [segment, bytes] : segments) protect(segment, bytes, access);
  }
};

}  // namespace

std::string problem() { return ""; }

/// How many of them work is shared out among.
int emulated_multiprocessors() {
  const char* text = std::getenv("LA_EMULATED_MULTIPROCESSORS");
  const int count = text ? std::atoi(text) : 2;
  check(count > 0, "LA_EMULATED_MULTIPROCESSORS is \"{}\", expected a number from 1 on", text ? text : "");
  return count;
}

const DeviceProperties& device_properties() {
  static const DeviceProperties properties{.name = "GPU emulated on the host",
                                           .driver = "none",
                                           .compute_capability = 90,
                                           .multiprocessors = emulated_multiprocessors(),
                                           .memory = size_t{1} << 32};
  return properties;
}

CUstream_st* stream() { return nullptr; }
void check_launch(const char*) {}

void* allocate(size_t bytes) {
  void* segment = std::aligned_alloc(CachingAllocator::page_size, bytes);  // of which bytes are a multiple
  check(segment != nullptr, "out of memory: {} bytes were asked for", bytes);
  madvise(segment, bytes, MADV_HUGEPAGE);  // few pages, so that protecting them takes little time
  segments.emplace(segment, bytes);
  if (is_protected() && DeviceWork::depth == 0) protect(segment, bytes, PROT_NONE);
  return segment;
}
void release(void* segment) {
  protect(segment, segments.extract(segment).mapped(), PROT_READ | PROT_WRITE);
  std::free(segment);
}
bool memory_is_host() { return true; }
void* allocate_pinned(size_t bytes) {
  constexpr size_t alignment = 256;
  void* block = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  check(block != nullptr, "out of memory: {} bytes were asked for", bytes);
  return block;
}
void release_pinned(void* block) { std::free(block); }

void EmulatedGraph::run() {
  const DeviceWork scope;
  for (const auto& one : work) one();
}

void emulated::enqueue(const std::function<void()>& work) {
  if (recording) {
    recording->push_back(work);
    return;
  }
  const DeviceWork scope;
  work();
}

void copy_from_host(void* to, const void* from, size_t bytes) {
  check_not_recording("a copy from the host");
  const DeviceWork scope;
  if (bytes > 0) std::memcpy(to, from, bytes);
}
void copy_to_host(void* to, const void* from, size_t bytes) {
  wait();
  const DeviceWork scope;
  if (bytes > 0) std::memcpy(to, from, bytes);
}
void copy_on_device(void* to, const void* from, size_t bytes) {
  emulated::enqueue([=] {
    if (bytes > 0) std::memmove(to, from, bytes);
  });
}

void wait() {
  check_not_recording("waiting for the device");
  Fault* fault = fault_record();
  if (std::exchange(fault->is_set, 0) == 0) return;
  throw Error(format_values(fault->text, {fault->first, fault->second}));
}

Fault* fault_record() {
  static Fault fault{};
  return &fault;
}

struct Upload::Events {};
Upload::Upload() = default;
Upload::~Upload() = default;
void Upload::start(void* to, const void* from, size_t bytes) { copy_from_host(to, from, bytes); }
void Upload::release() {}
void Upload::wait() {}
void Upload::finish() noexcept {}

std::unique_ptr<Recording> record_graph(const std::function<void()>& work) {
  check_not_recording("recording a graph");
  auto graph = std::make_unique<EmulatedGraph>();
  recording = &graph->work;
  try {
    work();
  } catch (...) {
    recording = nullptr;
    throw;
  }
  recording = nullptr;
  return graph;
}

}  // namespace cuda

using cuda::emulated::enqueue;

ProfileRange::ProfileRange(const char*) {}
ProfileRange::~ProfileRange() = default;
void allow_tf32(bool) {}
void autotune(bool) {}

void CudaBackend::matmul(const Tensor& a, const Tensor& b, const MatmulOptions& options, const Tensor& c) {
  const bool widens = c.dtype() != a.dtype();
  const Tensor left = widens ? ops::cast(a, c.dtype()) : a, right = widens ? ops::cast(b, c.dtype()) : b;
  enqueue([=] { backend(Device::cpu()).matmul(left, right, options, c); });
}

namespace cuda {

/// As tensor cores that cut the operands' last 13 bits off.
void estimate_products(const Tensor& a, const Tensor& b, const Tensor& scores) {
  const auto cut = [](const Tensor& x) {
    std::vector<float> values = x.to_vector<float>();
    for (float& value : values)
      if (std::isfinite(value)) value = std::bit_cast<float>(std::bit_cast<uint32_t>(value) & 0xffffe000u);
    return Tensor::from(values, x.shape());
  };
  enqueue([=] {
    const Tensor product = ops::matmul(cut(a), cut(b), {.transpose_b = true});
    for (int64_t i = 0; i < scores.size(0); ++i)
      std::memcpy(scores.data<float>() + i * scores.size(1), product.data<float>() + i * product.size(1),
                  static_cast<size_t>(product.size(1)) * sizeof(float));
  });
}

void cudnn_convolution(const Tensor& x, const Tensor& weight, const ConvGeometry& geometry, const Tensor& y) {
  enqueue([=] { backend(Device::cpu()).conv2d(x, weight, geometry, y); });
}
void cudnn_convolution_backward_data(const Tensor& dy, const Tensor& weight, const ConvGeometry& geometry,
                                     const Tensor& dx) {
  enqueue([=] { backend(Device::cpu()).conv2d_backward_data(dy, weight, geometry, dx); });
}
void cudnn_convolution_backward_weight(const Tensor& dy, const Tensor& x, const ConvGeometry& geometry,
                                       const Tensor& dweight) {
  enqueue([=] { backend(Device::cpu()).conv2d_backward_weight(dy, x, geometry, dweight); });
}

}  // namespace cuda
std::unique_ptr<Collectives> make_nccl_collectives(Collectives&) { fail("NCCL is not played on the host"); }

}  // namespace la
