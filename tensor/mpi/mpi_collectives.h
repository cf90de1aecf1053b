// The processes that MPI has started together.
#pragma once

#include <memory>

#include "tensor/collectives.h"

namespace la {

/// Joins them. An Error that says why MPI cannot be used.
std::unique_ptr<Collectives> make_mpi_collectives();

}  // namespace la
