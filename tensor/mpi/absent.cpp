// A build without MPI.
#include "tensor/error.h"
#include "tensor/mpi/mpi_collectives.h"

namespace la {

std::unique_ptr<Collectives> make_mpi_collectives() {
  fail(
      "several processes were started together, but this program was built without MPI: 'make deps' installs "
      "it, and 'make' "
      "then finds it");
}

}  // namespace la
