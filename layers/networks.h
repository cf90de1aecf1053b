// The networks by name. A new network is one file with its Module, and one row in the table of networks.cpp.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "layers/module.h"
#include "layers/network_options.h"
#include "layers/plain_network.h"
#include "layers/resnet.h"

namespace la {

/// A network f: [N, image_size, image_size, channels] -> f32 [N, dim], not yet initialized.
std::unique_ptr<Module> make_network(const NetworkOptions& options);
/// Gives its parameters their first values, as options.initialization says.
void initialize(Module& network, const NetworkOptions& options, uint64_t seed);
std::vector<std::string> network_names();
/// The height and width of the pictures that a network was made for.
int64_t usual_image_size(std::string_view name);

/// One line of a network's layer table.
struct LayerSummary {
  std::string name;
  Shape output;        // for the batch of the input
  int64_t parameters;  // of the layer and all within it
};

/// The layers (a stage's blocks are one line each) with what they give for an input of that shape. Runs the
/// network once in evaluation mode.
std::vector<LayerSummary> summarize(Module& network, const Shape& input, Device device = {});

/// What a network costs.
struct NetworkCost {
  int64_t layers = 0;  // with weights, as the networks are named: those of shortcuts don't count
  int64_t parameters = 0;
  int64_t multiply_adds = 0;  // for the input, forward
};
/// Runs the network once in evaluation mode.
NetworkCost cost_of(Module& network, const Shape& input);

}  // namespace la
