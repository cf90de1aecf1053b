// Features: what the modules inside a network make of pictures, such as the stages of a ResNet.
#pragma once

#include <string>
#include <vector>

#include "autograd/variable.h"
#include "layers/module.h"

namespace la {

/// The module of that name: a stage (Module::stages), or any submodule ("layer3.0.conv1"). An Error that
/// lists the stages if there is none.
Module& find_module(Module& network, const std::string& name);

/// Runs the network, and returns what each of `modules` gave, in their order, as f32. An Error if one of them
/// was not run by itself, as a batch norm that is fused with a sum.
std::vector<Tensor> outputs_of(Module& network, const std::vector<Module*>& modules, const Variable& images);

}  // namespace la
