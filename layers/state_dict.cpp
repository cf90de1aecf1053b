#include "layers/state_dict.h"

#include <algorithm>
#include <set>

#include "tensor/ops.h"

namespace la {
namespace {

/// [A, B, C] -> [A, C, B] for each of the A matrices, as a tensor of that shape.
Tensor transpose_inner(const Tensor& x, int64_t a, int64_t b, int64_t c, const Shape& shape) {
  Tensor y(shape);
  const float* from = x.data<float>();
  float* to = y.data<float>();
  for (int64_t i = 0; i < a; ++i)
    for (int64_t j = 0; j < b; ++j)
      for (int64_t k = 0; k < c; ++k) to[(i * c + k) * b + j] = from[(i * b + j) * c + k];
  return y;
}

/// A weight as [outputs, positions, channels], and how torchvision shapes it.
struct Layout {
  int64_t outputs, positions, channels;
  Shape torch_shape;

  Layout(const Module::Parameter& parameter, const Shape& shape)
      : outputs(shape[0]), positions(parameter.positions), torch_shape(shape) {
    if (shape.rank() == 4) {  // of a convolution
      positions = shape[1] * shape[2];
      torch_shape = {shape[0], shape[3], shape[1], shape[2]};
    }
    channels = shape.numel() / (outputs * positions);
  }
};

const Tensor& find(const StateDict& state, const std::string& name, DType dtype, const Shape& shape) {
  const auto found = state.find(name);
  check(found != state.end(), "the state has no tensor \"{}\"", name);
  const Tensor& values = found->second;
  check(values.shape() == shape && values.dtype() == dtype, "tensor \"{}\" is {} {}; expected {} {}", name,
        values.dtype(), values.shape(), dtype, shape);
  return values;
}

}  // namespace

Tensor to_torch_layout(const Module::Parameter& parameter, const Tensor& values) {
  const Tensor host = values.to(Device::cpu());
  const Layout layout(parameter, host.shape());
  return transpose_inner(host, layout.outputs, layout.positions, layout.channels, layout.torch_shape);
}

void load_tensor(const StateDict& state, const std::string& name, const Tensor& destination) {
  Tensor(destination).copy_from_host(find(state, name, destination.dtype(), destination.shape()).raw());
}

void load_tensor(const StateDict& state, const std::string& name, const Module::Parameter& parameter,
                 const Tensor& destination) {
  const Layout layout(parameter, destination.shape());
  const Tensor& values = find(state, name, destination.dtype(), layout.torch_shape);
  Tensor(destination)
      .copy_from_host(
          transpose_inner(values, layout.outputs, layout.channels, layout.positions, destination.shape())
              .raw());
}

std::vector<NamedTensor> state_dict(Module& module) {
  std::vector<NamedTensor> state;
  for (const auto& p : module.parameters())
    state.push_back({p.name, to_torch_layout(p, p.variable->value())});
  for (const auto& b : module.buffers()) state.push_back({b.name, ops::copy(b.tensor->to(Device::cpu()))});
  return state;
}

StateDifference load_matching_state(Module& module, const StateDict& state,
                                    const std::vector<std::string>& without) {
  StateDict taken;
  for (const auto& [name, tensor] : state)
    if (std::none_of(without.begin(), without.end(),
                     [&key = name](const auto& prefix) { return key.starts_with(prefix); }))
      taken.emplace(name, tensor);
  StateDifference difference;
  std::set<std::string> known;
  const auto present = [&](const std::string& name) {
    known.insert(name);
    if (!taken.contains(name)) difference.missing.push_back(name);
    return taken.contains(name);
  };
  module.set_initialized();
  for (const auto& p : module.parameters())
    if (present(p.name)) load_tensor(taken, p.name, p, p.variable->value());
  for (const auto& b : module.buffers())
    if (present(b.name)) load_tensor(taken, b.name, *b.tensor);
  for (const auto& [name, tensor] : taken)
    if (!known.contains(name)) difference.unexpected.push_back(name);
  return difference;
}

void load_state_dict(Module& module, const StateDict& state) {
  module.set_initialized();
  for (const auto& p : module.parameters()) load_tensor(state, p.name, p, p.variable->value());
  for (const auto& b : module.buffers()) load_tensor(state, b.name, *b.tensor);
}

void save_module(Module& module, const std::string& path) { write_safetensors(path, state_dict(module), {}); }

void load_module(Module& module, const std::string& path) {
  const SafetensorsFile file = read_safetensors(path);
  try {
    load_state_dict(module, file.by_name());
  } catch (const Error& error) {
    fail("{}: {}", path, error.what());
  }
}

}  // namespace la
