// Tensor: a value that is a handle to a contiguous, row-major array on one device. Copying a Tensor shares
// the array; `reshape` and `rows` give views of the same array. There are no strides.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace la {

class CachingAllocator;

class Tensor {
 public:
  /// No array; defined() is false.
  Tensor() = default;
  /// An array with undefined contents.
  explicit Tensor(Shape shape, DType dtype = DType::f32, Device device = {});

  static Tensor full(Shape shape, float value, DType dtype = DType::f32, Device device = {});
  static Tensor zeros(Shape shape, DType dtype = DType::f32, Device device = {}) {
    return full(std::move(shape), 0.0f, dtype, device);
  }
  /// An array in host memory whose copy to `device` needs no work of the host (uploader.h): for a GPU it is
  /// page-locked. The contents are undefined.
  static Tensor for_upload(Shape shape, DType dtype, Device device);
  /// A tensor that holds a copy of `values`, which has shape.numel() elements in host memory.
  template <class T>
  static Tensor from(std::span<const T> values, Shape shape, Device device = {}) {
    static_assert(is_element<T>, "a tensor holds float, bf16, int32_t, int64_t or uint8_t");
    check(static_cast<int64_t>(values.size()) == shape.numel(), "{} values for a tensor of shape {}",
          values.size(), shape);
    Tensor t(std::move(shape), dtype_of<T>(), device);
    t.copy_from_host(values.data());
    return t;
  }
  template <class T>
  static Tensor from(const std::vector<T>& values, Shape shape, Device device = {}) {
    return from(std::span<const T>(values), std::move(shape), device);
  }

  bool defined() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  int64_t size(int dimension) const { return shape_[dimension]; }
  int rank() const { return shape_.rank(); }
  int64_t numel() const { return shape_.numel(); }
  size_t bytes() const { return static_cast<size_t>(numel()) * size_of(dtype_); }
  DType dtype() const { return dtype_; }
  Device device() const;

  /// Pointer to the first element, in the device's memory; an Error if T is not the tensor's element type.
  template <class T>
  T* data() const {
    check(dtype_of<T>() == dtype_, "a tensor of {} was accessed as {}", dtype_, dtype_of<T>());
    return static_cast<T*>(raw());
  }
  void* raw() const;

  /// The same array under another shape with as many elements; one extent may be -1 and is then computed.
  Tensor reshape(std::initializer_list<int64_t> extents) const;
  Tensor reshape(const Shape& shape) const;
  /// Rows begin to end (exclusive) of the outermost dimension, sharing the array.
  Tensor rows(int64_t begin, int64_t end) const;

  /// A copy on `device`, or this tensor itself if it is there already.
  Tensor to(Device device) const;
  /// A copy of the elements in host memory; waits for the device.
  template <class T>
  std::vector<T> to_vector() const {
    check(dtype_of<T>() == dtype_, "a tensor of {} was read as {}", dtype_, dtype_of<T>());
    std::vector<T> values(static_cast<size_t>(numel()));
    copy_to_host(values.data());
    return values;
  }
  /// The only element of an f32 tensor; waits for the device.
  float item() const;

  void copy_from_host(const void* source);
  void copy_to_host(void* destination) const;

  /// True if no other handle shares this array, so that it may be overwritten.
  bool unique() const { return storage_.use_count() == 1; }

 private:
  struct Storage;
  Tensor(Shape shape, DType dtype, Device device, CachingAllocator& allocator);

  std::shared_ptr<Storage> storage_;
  size_t offset_ = 0;  // bytes
  Shape shape_;
  DType dtype_ = DType::f32;
};

/// For tests of kernels: while one is in scope on this thread, the array of a new tensor lies between two
/// margins, and all three start out full of bytes 0xff, which are a NaN or -1.
class GuardedTensors {
 public:
  static constexpr size_t margin = 256;  // bytes, so that the alignment stays

  GuardedTensors();
  ~GuardedTensors();
  GuardedTensors(const GuardedTensors&) = delete;
  GuardedTensors& operator=(const GuardedTensors&) = delete;
};

/// Whether no element is NaN or infinite, as integers never are. Waits for the device.
bool is_finite(const Tensor& x);

}  // namespace la
