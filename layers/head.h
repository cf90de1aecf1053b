// The head of a network: from features to the embedding before its L2 normalization.
#pragma once

#include <memory>

#include "layers/module.h"

namespace la {

/// A linear map; one followed by batch norm; or a hidden layer with batch norm and ReLU before it.
enum class HeadKind { linear, linear_bn, mlp };

/// [N, in] -> [N, dim].
std::unique_ptr<Module> make_head(HeadKind kind, int64_t in, int64_t dim);

}  // namespace la
