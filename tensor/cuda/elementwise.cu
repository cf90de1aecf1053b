// Filling, converting and pointwise arithmetic on the GPU: one pass over memory each, 16 bytes at a time
// where all arrays are aligned to that.
#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/kernel.h"
#include "tensor/pointwise.h"

namespace la {
namespace {

using namespace cuda;

constexpr int threads = 256;

/// Element i of y <- f(element i of each x), for i = first, first + stride ...; `width` elements at a time.
template <int width, class Y, class F, class... X>
__device__ void map_elements(int64_t n, Y* y, F f, const X*... x) {
  for (int64_t i = global_thread(); i < n / width; i += global_threads()) {
    Pack<Y, width> result;
    [&](const Pack<X, width>&... from) {
      for (int e = 0; e < width; ++e) result.value[e] = Y(f(static_cast<float>(from.value[e])...));
    }(Pack<X, width>::load(x + i * width)...);
    result.store(y + i * width);
  }
}

/// Reads each x and writes y once.
template <int width, class Y, class F, class... X>
__global__ void map_kernel(int64_t n, Y* y, F f, const X*... x) {
  map_elements<width>(n, y, f, x...);
  const int64_t rest = n - n % width + global_thread();  // what does not fill a pack
  if (rest < n) y[rest] = Y(f(static_cast<float>(x[rest])...));
}

template <class Y, class F, class... X>
void map(const char* name, int64_t n, Y* y, F f, const X*... x) {
  constexpr int wide = std::min({vector_width<Y>, vector_width<X>...});
  const LaunchShape shape{blocks_for(n, threads * wide), threads};
  if (aligned_for_vectors(y, x...))
    launch(name, map_kernel<wide, Y, F, X...>, shape, n, y, f, x...);
  else
    launch(name, map_kernel<1, Y, F, X...>, shape, n, y, f, x...);
}

template <class F>
void map_tensor(const char* name, const Tensor& x, const Tensor& y, F f) {
  dispatch_float(x.dtype(), [&]<class T>(T) { map<T, F, T>(name, x.numel(), y.data<T>(), f, x.data<T>()); });
}

template <class F>
void map_tensors(const char* name, const Tensor& a, const Tensor& b, const Tensor& y, F f) {
  dispatch_float(a.dtype(), [&]<class T>(T) {
    map<T, F, T, T>(name, a.numel(), y.data<T>(), f, a.data<T>(), b.data<T>());
  });
}

struct Constant {
  float value;
  __device__ float operator()() const { return value; }
};

struct Identity {
  __device__ float operator()(float x) const { return x; }
};

struct ScaleByDevice {
  const float* factor;
  __device__ float operator()(float x) const { return *factor * x; }
};

}  // namespace

void CudaBackend::fill(float value, const Tensor& y) {
  const auto fill_with = [&]<class T>(T) { map("fill", y.numel(), y.data<T>(), Constant{value}); };
  switch (y.dtype()) {
    case DType::f32:
      return fill_with(float{});
    case DType::bf16:
      return fill_with(bf16{});
    case DType::i32:
      return fill_with(int32_t{});
    case DType::i64:
      return fill_with(int64_t{});
    case DType::u8:
      return fill_with(uint8_t{});
  }
}

void CudaBackend::cast(const Tensor& x, const Tensor& y) {
  if (x.dtype() == DType::f32)
    map<bf16, Identity, float>("cast", x.numel(), y.data<bf16>(), Identity(), x.data<float>());
  else
    map<float, Identity, bf16>("cast", x.numel(), y.data<float>(), Identity(), x.data<bf16>());
}

void CudaBackend::unary(Unary op, const Tensor& x, const Tensor& y) {
  switch (op) {
    case Unary::relu:
      return map_tensor("relu", x, y, pointwise::Relu());
    case Unary::sigmoid:
      return map_tensor("sigmoid", x, y, pointwise::Sigmoid());
    case Unary::exp:
      return map_tensor("exp", x, y, pointwise::Exp());
    case Unary::log:
      return map_tensor("log", x, y, pointwise::Log());
    case Unary::sqrt:
      return map_tensor("sqrt", x, y, pointwise::Sqrt());
    case Unary::tanh:
      return map_tensor("tanh", x, y, pointwise::Tanh());
    case Unary::gelu:
      return map_tensor("gelu", x, y, pointwise::Gelu());
  }
}

void CudaBackend::binary(Binary op, const Tensor& a, const Tensor& b, const Tensor& y) {
  switch (op) {
    case Binary::add:
      return map_tensors("add", a, b, y, pointwise::Add());
    case Binary::subtract:
      return map_tensors("subtract", a, b, y, pointwise::Subtract());
    case Binary::multiply:
      return map_tensors("multiply", a, b, y, pointwise::Multiply());
    case Binary::divide:
      return map_tensors("divide", a, b, y, pointwise::Divide());
    case Binary::relu_backward:
      return map_tensors("relu_backward", a, b, y, pointwise::ReluBackward());
    case Binary::sigmoid_backward:
      return map_tensors("sigmoid_backward", a, b, y, pointwise::SigmoidBackward());
    case Binary::tanh_backward:
      return map_tensors("tanh_backward", a, b, y, pointwise::TanhBackward());
    case Binary::gelu_backward:
      return map_tensors("gelu_backward", a, b, y, pointwise::GeluBackward());
  }
}

void CudaBackend::scale(const Tensor& x, float factor, const Tensor& y) {
  map_tensor("scale", x, y, pointwise::Scale{factor});
}

void CudaBackend::shift(const Tensor& x, float offset, const Tensor& y) {
  map_tensor("shift", x, y, pointwise::Shift{offset});
}

void CudaBackend::scale_by(const Tensor& x, const Tensor& factor, const Tensor& y) {
  map_tensor("scale_by", x, y, ScaleByDevice{factor.data<float>()});
}

}  // namespace la
