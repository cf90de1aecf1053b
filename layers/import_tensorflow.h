// The networks of LA's original program, whose TensorFlow names variables by their order: "conv2d_3/kernel".
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tensor/io/safetensors.h"

namespace la {

/// A network's tensors under our names and in PyTorch's layout.
struct RenamedNetwork {
  std::string network;  // one of network_names()
  std::vector<NamedTensor> tensors;
};

/// Of the variables of a checkpoint of the original program: ResNet v2 with 18 or 50 layers, AlexNet, or VGG16; their
/// kernels [H, W, I, O] become [O, I, H, W]. Nothing if the names are others; an Error if a variable is missing.
/// Those of the optimizer are left out, the memory bank is not.
std::optional<RenamedNetwork> from_original_program(const std::vector<NamedTensor>& variables);

}  // namespace la
