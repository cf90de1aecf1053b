#include "layers/state_dict.h"

#include "tensor/ops.h"

namespace la {
namespace {

/// [A, B, C] -> [A, C, B] for each of the A matrices.
Tensor transpose_inner(const Tensor& x, int64_t a, int64_t b, int64_t c, const Shape& shape) {
  Tensor y(shape);
  const float* from = x.data<float>();
  float* to = y.data<float>();
  for (int64_t i = 0; i < a; ++i)
    for (int64_t j = 0; j < b; ++j)
      for (int64_t k = 0; k < c; ++k) to[(i * c + k) * b + j] = from[(i * b + j) * c + k];
  return y;
}

bool is_convolution_weight(const Tensor& t) { return t.rank() == 4 && t.dtype() == DType::f32; }

Shape torch_shape(const Tensor& t) {
  return is_convolution_weight(t) ? Shape{t.size(0), t.size(3), t.size(1), t.size(2)} : t.shape();
}

}  // namespace

Tensor to_torch_layout(const Tensor& parameter) {
  const Tensor host = parameter.to(Device::cpu());
  if (!is_convolution_weight(host)) return ops::copy(host);
  return transpose_inner(host, host.size(0), host.size(1) * host.size(2), host.size(3), torch_shape(host));
}

void load_tensor(const std::map<std::string, Tensor>& state, const std::string& name,
                 const Tensor& destination) {
  const auto found = state.find(name);
  check(found != state.end(), "the state has no tensor \"{}\"", name);
  Tensor values = found->second;
  check(values.shape() == torch_shape(destination) && values.dtype() == destination.dtype(),
        "tensor \"{}\" is {} {}; expected {} {}", name, values.dtype(), values.shape(), destination.dtype(),
        torch_shape(destination));
  if (is_convolution_weight(destination))
    values = transpose_inner(values, values.size(0), values.size(1), values.size(2) * values.size(3),
                             destination.shape());
  Tensor(destination).copy_from_host(values.raw());
}

std::vector<std::pair<std::string, Tensor>> state_dict(Module& module) {
  std::vector<std::pair<std::string, Tensor>> state;
  for (const auto& p : module.parameters()) state.emplace_back(p.name, to_torch_layout(p.variable->value()));
  for (const auto& b : module.buffers()) state.emplace_back(b.name, to_torch_layout(*b.tensor));
  return state;
}

void load_state_dict(Module& module, const std::map<std::string, Tensor>& state) {
  for (const auto& p : module.parameters()) load_tensor(state, p.name, p.variable->value());
  for (const auto& b : module.buffers()) load_tensor(state, b.name, *b.tensor);
}

}  // namespace la
