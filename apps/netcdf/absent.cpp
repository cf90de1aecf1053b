// In place of assembly.cpp where there is no netCDF library.
#include "apps/netcdf/assembly.h"
#include "tensor/error.h"

namespace la {

bool has_netcdf() { return false; }

std::unique_ptr<AssemblyWriter> make_assembly_writer(const std::string& path, AssemblyDescription) {
  fail("{}: this build has no netCDF library; 'make deps' installs it, then build again", path);
}

}  // namespace la
