// Filling, converting and pointwise arithmetic on the CPU: one pass over memory each.
#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/simd.h"
#include "tensor/pointwise.h"
#include "tensor/vector_math.h"

namespace la {
namespace {

template <class T>
void fill_with(const Tensor& y, T value) {
  T* to = y.data<T>();
  parallel_for(y.numel(), elements_per_thread,
               [=](int64_t begin, int64_t end) { std::fill(to + begin, to + end, value); });
}

template <class F>
void map_tensor(const Tensor& x, const Tensor& y, F f) {
  dispatch_float(x.dtype(), [&]<class T>(T) { map(x.data<T>(), y.data<T>(), x.numel(), f); });
}

template <class F>
void map_tensors(const Tensor& a, const Tensor& b, const Tensor& y, F f) {
  dispatch_float(a.dtype(), [&]<class T>(T) { map(a.data<T>(), b.data<T>(), y.data<T>(), a.numel(), f); });
}

/// pointwise::Sigmoid with an exponential that vectorizes.
struct SimdSigmoid {
  float operator()(float x) const { return 1.0f / (1.0f + simd_exp(-x)); }
};

}  // namespace

void CpuBackend::fill(float value, const Tensor& y) {
  switch (y.dtype()) {
    case DType::f32:
      return fill_with<float>(y, value);
    case DType::bf16:
      return fill_with<bf16>(y, bf16(value));
    case DType::i32:
      return fill_with<int32_t>(y, static_cast<int32_t>(value));
    case DType::i64:
      return fill_with<int64_t>(y, static_cast<int64_t>(value));
    case DType::u8:
      return fill_with<uint8_t>(y, static_cast<uint8_t>(value));
  }
}

void CpuBackend::cast(const Tensor& x, const Tensor& y) {
  const auto same = [](float value) { return value; };
  if (x.dtype() == DType::f32)
    map(x.data<float>(), y.data<bf16>(), x.numel(), same);
  else
    map(x.data<bf16>(), y.data<float>(), x.numel(), same);
}

void CpuBackend::unary(Unary op, const Tensor& x, const Tensor& y) {
  switch (op) {
    case Unary::relu:
      return map_tensor(x, y, pointwise::Relu());
    case Unary::sigmoid:
      return map_tensor(x, y, SimdSigmoid());
    case Unary::exp:
      return map_tensor(x, y, pointwise::Exp());
    case Unary::log:
      return map_tensor(x, y, pointwise::Log());
    case Unary::sqrt:
      return map_tensor(x, y, pointwise::Sqrt());
    case Unary::tanh:
      return map_tensor(x, y, pointwise::Tanh());
    case Unary::gelu:
      return map_tensor(x, y, pointwise::Gelu());
  }
}

void CpuBackend::binary(Binary op, const Tensor& a, const Tensor& b, const Tensor& y) {
  switch (op) {
    case Binary::add:
      return map_tensors(a, b, y, pointwise::Add());
    case Binary::subtract:
      return map_tensors(a, b, y, pointwise::Subtract());
    case Binary::multiply:
      return map_tensors(a, b, y, pointwise::Multiply());
    case Binary::divide:
      return map_tensors(a, b, y, pointwise::Divide());
    case Binary::relu_backward:
      return map_tensors(a, b, y, pointwise::ReluBackward());
    case Binary::sigmoid_backward:
      return map_tensors(a, b, y, pointwise::SigmoidBackward());
    case Binary::tanh_backward:
      return map_tensors(a, b, y, pointwise::TanhBackward());
    case Binary::gelu_backward:
      return map_tensors(a, b, y, pointwise::GeluBackward());
  }
}

void CpuBackend::scale(const Tensor& x, float factor, const Tensor& y) {
  map_tensor(x, y, pointwise::Scale{factor});
}

void CpuBackend::shift(const Tensor& x, float offset, const Tensor& y) {
  map_tensor(x, y, pointwise::Shift{offset});
}

void CpuBackend::scale_by(const Tensor& x, const Tensor& factor, const Tensor& y) {
  scale(x, factor.data<float>()[0], y);
}

}  // namespace la
