#include "tensor/tensor.h"

#include <algorithm>
#include <cmath>

#include "tensor/backend.h"
#include "tensor/ops.h"

namespace la {
namespace {

thread_local size_t current_margin = 0;

}  // namespace

struct Tensor::Storage {
  Device device;
  CachingAllocator& allocator;
  void* block;
  size_t bytes;

  Storage(Device on, CachingAllocator& from, size_t size)
      : device(on), allocator(from), block(from.allocate(size)), bytes(size) {}
  ~Storage() { allocator.deallocate(block); }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;
};

Tensor::Tensor(Shape shape, DType dtype, Device device)
    : Tensor(shape, dtype, device, backend(device).allocator()) {}

Tensor Tensor::for_upload(Shape shape, DType dtype, Device device) {
  return Tensor(shape, dtype, Device::cpu(), backend(device).host_allocator());
}

Tensor::Tensor(Shape shape, DType dtype, Device device, CachingAllocator& allocator)
    : offset_(current_margin), shape_(shape), dtype_(dtype) {
  storage_ = std::make_shared<Storage>(device, allocator, bytes() + 2 * offset_);
  if (current_margin > 0) {
    const std::vector<uint8_t> guard(storage_->bytes, 0xff);
    backend(device).copy_from_host(storage_->block, guard.data(), guard.size());
  }
}

GuardedTensors::GuardedTensors() { current_margin = margin; }
GuardedTensors::~GuardedTensors() { current_margin = 0; }

Tensor Tensor::full(Shape shape, float value, DType dtype, Device device) {
  Tensor t(shape, dtype, device);
  ops::fill(t, value);
  return t;
}

Device Tensor::device() const {
  check(defined(), "an undefined tensor has no device");
  return storage_->device;
}

void* Tensor::raw() const {
  check(defined(), "an undefined tensor was accessed");
  return static_cast<std::byte*>(storage_->block) + offset_;
}

Tensor Tensor::reshape(const Shape& shape) const {
  check(shape.numel() == numel(), "reshape: a tensor of shape {} has {} elements, shape {} has {}", shape_,
        numel(), shape, shape.numel());
  Tensor t = *this;
  t.shape_ = shape;
  return t;
}

Tensor Tensor::reshape(std::initializer_list<int64_t> extents) const {
  int64_t known = 1;
  for (int64_t extent : extents)
    if (extent != -1) known *= extent;
  Shape shape;
  for (int64_t extent : extents) shape.append(extent != -1 ? extent : known == 0 ? 0 : numel() / known);
  return reshape(shape);
}

Tensor Tensor::rows(int64_t begin, int64_t end) const {
  check(rank() >= 1 && 0 <= begin && begin <= end && end <= size(0), "rows {} to {} of a tensor of shape {}",
        begin, end, shape_);
  Tensor t = *this;
  t.shape_ = shape_.with_rows(end - begin);
  const size_t row_bytes = size(0) == 0 ? 0 : bytes() / static_cast<size_t>(size(0));
  t.offset_ += static_cast<size_t>(begin) * row_bytes;
  return t;
}

Tensor Tensor::to(Device target) const {
  if (device() == target) return *this;
  check(device().is_cpu() || target.is_cpu(), "copying from {} to {} must go through the host", device(),
        target);
  Tensor t(shape_, dtype_, target);
  if (device().is_cpu())
    t.copy_from_host(raw());
  else
    copy_to_host(t.raw());
  return t;
}

float Tensor::item() const {
  check(numel() == 1, "item: expected a tensor of one element, got shape {}", shape_);
  return to_vector<float>()[0];
}

void Tensor::copy_from_host(const void* source) { backend(device()).copy_from_host(raw(), source, bytes()); }
void Tensor::copy_to_host(void* destination) const {
  backend(device()).copy_to_host(destination, raw(), bytes());
}

bool is_finite(const Tensor& x) {
  if (x.dtype() != DType::f32 && x.dtype() != DType::bf16) return true;
  const Tensor host = x.to(Device::cpu());
  return dispatch_float(x.dtype(), [&]<class T>(T) {
    const T* const values = host.data<T>();
    return std::all_of(values, values + host.numel(),
                       [](T v) { return std::isfinite(static_cast<float>(v)); });
  });
}

}  // namespace la
