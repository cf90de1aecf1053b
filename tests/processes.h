// The processes that the tests have been started with.
#pragma once

#include "tensor/collectives.h"

namespace la {

/// Those of mpirun, or this one alone.
Collectives& processes();

}  // namespace la
