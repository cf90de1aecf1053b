// The head of a network: from features to the embedding before its L2 normalization.
#pragma once

#include <memory>

#include "layers/module.h"

namespace la {

/// A linear map; one followed by batch norm; one with a hidden layer, batch norm and ReLU before it; or none, so that
/// the features are the embedding, and as long as it.
enum class HeadKind { linear, linear_bn, mlp, none };

/// [N, in] -> [N, dim]; without a head, dim may be 0.
std::unique_ptr<Module> make_head(HeadKind kind, int64_t in, int64_t dim);

}  // namespace la
