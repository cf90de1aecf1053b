// Collectives on the GPUs of several processes.
#pragma once

#include <memory>

#include "tensor/collectives.h"

namespace la {

/// For the GPU that this process uses, no two processes the same; `processes`, which must outlive it, bring them together. An Error
/// that says why NCCL cannot be used.
std::unique_ptr<Collectives> make_nccl_collectives(Collectives& processes);

}  // namespace la
