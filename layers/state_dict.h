// The state of a module as a list of named tensors in torchvision's layout: convolution weights, [O, H, W, I]
// here, are [O, I, H, W] there, and the inputs of a linear map that sees a whole picture, [H, W, C] here, are
// [C, H, W].
#pragma once

#include <string>
#include <vector>

#include "layers/module.h"
#include "tensor/io/safetensors.h"

namespace la {

/// A copy in host memory of the parameter's value, gradient or velocity, in torchvision's layout.
Tensor to_torch_layout(const Module::Parameter& parameter, const Tensor& values);

/// Copies the tensor `name` of `state` (host memory) into `destination`. A missing name or another shape or
/// type is an Error that says which.
void load_tensor(const StateDict& state, const std::string& name, const Tensor& destination);
/// The same for what belongs to a parameter, and is in torchvision's layout.
void load_tensor(const StateDict& state, const std::string& name, const Module::Parameter& parameter,
                 const Tensor& destination);

/// Copies of all parameters and buffers, in host memory.
std::vector<NamedTensor> state_dict(Module& module);

/// Copies the values into the module's parameters and buffers; names that the module doesn't
/// have are ignored.
void load_state_dict(Module& module, const StateDict& state);

/// Writes them to a safetensors file; reads what it holds into a module that has the same. An Error names
/// the file.
void save_module(Module& module, const std::string& path);
void load_module(Module& module, const std::string& path);

/// How a state differs from what a module has, by the names of its tensors.
struct StateDifference {
  std::vector<std::string> missing;     // the module has, the state has not: they stay as they are
  std::vector<std::string> unexpected;  // the state has, the module has not
};

/// Copies what both have, but for names that begin with one of `without`. A tensor of another shape is an
/// Error that names it.
StateDifference load_matching_state(Module& module, const StateDict& state,
                                    const std::vector<std::string>& without = {});

}  // namespace la
