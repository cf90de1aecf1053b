// Assemblies: activations as Brain-Score keeps them, one array of numbers with the dimensions presentation (of a stimulus)
// and neuroid (a unit of a layer), and what is known of both as coordinates, in a file of netCDF-4 that xarray reads.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "apps/stimuli.h"
#include "tensor/tensor.h"

namespace la {

/// What an assembly holds besides numbers.
struct AssemblyDescription {
  const StimulusSet& stimuli;       // its columns are coordinates of the presentations
  std::string model;                // begins the identifiers of neuroids
  std::vector<std::string> layers;  // of the outputs
  std::vector<std::pair<std::string, std::string>> attributes;
};

class AssemblyWriter {
 public:
  virtual ~AssemblyWriter() = default;
  /// Appends presentations: the output of each layer, f32 [n, C] or maps [n, H, W, C], on any device. Nothing is kept in
  /// memory.
  virtual void append(const std::vector<Tensor>& outputs) = 0;
  /// Completes the file, which appears now or not at all. An Error unless there was an output for each stimulus.
  virtual void finish() = 0;
};

/// Whether this build has the netCDF library.
bool has_netcdf();
/// An Error where it has not, or where the file cannot be written. What `description` refers to must outlive the writer.
std::unique_ptr<AssemblyWriter> make_assembly_writer(const std::string& path,
                                                     AssemblyDescription description);

}  // namespace la
