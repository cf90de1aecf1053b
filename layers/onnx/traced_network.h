// A network as the list of functions that it calls, for those who write it down in another form.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "autograd/trace.h"
#include "layers/module.h"

namespace la {

/// How a picture becomes what a network sees: the square in its center, of this share of the shorter
/// side (all of a picture that has the size already), resized, each channel less its mean and
/// divided by its stddev.
struct InputFormat {
  int64_t channels = 3;
  int size = 224;                             // height and width, in pixels
  std::vector<float> mean = {}, stddev = {};  // per channel, of pixels in [0, 1]
  float central_share = 1;
  std::string background_color = "white";  // where a picture is transparent
};

/// Layers whose outputs are asked for too, with their names.
using NamedLayers = std::vector<std::pair<std::string, Module*>>;

struct TracedNetwork {
  Tensor images;                    // what the network was shown: zeros [1, S, S, C]
  std::vector<TracedCall> calls;    // the last one's output is the embedding on the unit sphere
  std::vector<Tensor> layers = {};  // their outputs; undefined for one that was not run by itself
};
/// The network is in evaluation mode afterwards.
TracedNetwork trace(Module& network, const InputFormat& input, const NamedLayers& layers = {});

/// What tells one tensor from another, as long as both are alive: memory and shape, for a reshaped tensor
/// shares the memory.
std::string identity_of(const Tensor& x);

}  // namespace la
