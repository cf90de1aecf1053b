// The checks that ops share. Internal to tensor/.
#pragma once

#include "tensor/tensor.h"

namespace la::ops {

/// An Error that names the op and the operand unless `t` is defined and has that type.
inline void check_dtype(const char* op, const char* name, const Tensor& t, DType dtype) {
  check(t.defined(), "{}: {} is undefined", op, name);
  check(t.dtype() == dtype, "{}: {} is {} {}, expected {}", op, name, t.dtype(), t.shape(), dtype);
}

/// The same for f32 or bf16.
inline void check_float(const char* op, const char* name, const Tensor& t) {
  check(t.defined(), "{}: {} is undefined", op, name);
  check(t.dtype() == DType::f32 || t.dtype() == DType::bf16, "{}: {} is {} {}, expected f32 or bf16", op,
        name, t.dtype(), t.shape());
}

inline void check_rank(const char* op, const char* name, const Tensor& t, int rank) {
  check(t.rank() == rank, "{}: {} has shape {}, expected {} dimensions", op, name, t.shape(), rank);
}

inline void check_shape(const char* op, const char* name, const Tensor& t, const Shape& shape) {
  check(t.shape() == shape, "{}: {} has shape {}, expected {}", op, name, t.shape(), shape);
}

inline void check_same_device(const char* op, const Tensor& a, const Tensor& b) {
  check(a.device() == b.device(), "{}: the operands are on {} and {}", op, a.device(), b.device());
}

/// Same shape, type and device.
inline void check_alike(const char* op, const Tensor& a, const Tensor& b) {
  check(a.defined() && b.defined(), "{}: an operand is undefined", op);
  check(a.shape() == b.shape() && a.dtype() == b.dtype(),
        "{}: the operands are {} {} and {} {}, expected equal ones", op, a.dtype(), a.shape(), b.dtype(),
        b.shape());
  check_same_device(op, a, b);
}

/// A parameter of one value for each channel: f32 [C].
inline void check_channels(const char* op, const char* name, const Tensor& t, int64_t channels) {
  check_dtype(op, name, t, DType::f32);
  check_shape(op, name, t, {channels});
}

}  // namespace la::ops
