// PyTorch: a trained network as weights and the list of functions that it consists of, with a short Python
// program that makes a torch.nn.Module of them.
#pragma once

#include <string>
#include <vector>

#include "layers/onnx/traced_network.h"
#include "tensor/io/safetensors.h"

namespace la {

struct TorchModel {
  std::vector<NamedTensor> weights;  // under torchvision's names, in its layout
  std::string network;  // JSON: what is done with them, and how pictures are shown to the network
  std::string loader;   // Python
};

/// An Error for a function that the loader does not know.
TorchModel to_torch(Module& network, const InputFormat& input);

}  // namespace la
