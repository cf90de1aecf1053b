// A model as the list of functions that it calls, for those who write it down in another form.
#pragma once

#include <string>
#include <vector>

#include "autograd/trace.h"
#include "la/model.h"

namespace la {

struct TracedModel {
  Tensor views;                   // what the network was shown: zeros [1, S, S, C]
  std::vector<TracedCall> calls;  // from the views to the embedding on the unit sphere, the last one's output
};
TracedModel trace(Model& model);

/// What tells one tensor from another, as long as both are alive: memory and shape, for a reshaped tensor
/// shares the memory.
std::string identity_of(const Tensor& x);

}  // namespace la
