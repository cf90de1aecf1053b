// Other programs' networks: which of ours a set of tensors is, under what prefixes its names stand, and what of
// it fits.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "layers/networks.h"
#include "tensor/io/safetensors.h"

namespace la {

/// A tensor that a file has; "/" separates the names of what it lies in.
struct AvailableTensor {
  std::string name;
  Shape shape;  // as PyTorch has it: [O, I, H, W] of a convolution
};

/// automatic: a head of at most 256 outputs, an embedding, is kept; a larger one, which scores labels, is not.
enum class ImportHead { automatic, keep, none };

struct ImportOptions {
  std::string network = {};  // one of network_names(); empty: recognized
  ImportHead head = ImportHead::automatic;
  int64_t image_size = 0;  // 0: what the network was made for
};

struct ImportedNetwork {
  NetworkOptions options;
  std::unique_ptr<Module> network;  // loaded
  std::vector<std::string> notes;   // for the user: what was taken for what, and what was left out
};

/// The network among the tensors, whose names are torchvision's behind any prefix ("module.encoder_q."), or those
/// of the PyTorch port of LA. read(name) gives the values of one, of any floating-point type. An Error if there is
/// none, or it fits none of ours.
ImportedNetwork import_network(const std::vector<AvailableTensor>& available,
                               const std::function<Tensor(const std::string&)>& read,
                               const ImportOptions& options);

}  // namespace la
