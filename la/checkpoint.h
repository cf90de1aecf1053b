// Checkpoints of a run: `checkpoint-<epoch>-<step>.safetensors` in its folder. The two newest are kept, so
// that one is intact even if the disk or the machine fails at the worst moment. What goes into one is the
// trainer's business.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "tensor/io/safetensors.h"

namespace la {

struct Checkpoint {
  int epoch = 0;     // epochs completed
  int64_t step = 0;  // steps taken since the start of the run
  SafetensorsFile file;
};

/// Writes a checkpoint, and when it is safely in place removes all others of the folder but the one before
/// it, and what a killed program has left half written. Returns its path. Throws an Error if it cannot be
/// written, or if a tensor has values that are not finite; the older ones are then still there.
std::string save_checkpoint(const std::string& folder, int epoch, int64_t step,
                            const std::vector<NamedTensor>& tensors, const Metadata& metadata);
/// The same by several processes, each of which has pieces of some tensors (write_safetensors).
std::string save_checkpoint(const std::string& folder, int epoch, int64_t step,
                            const std::vector<NamedTensor>& tensors, const std::vector<TensorPieces>& pieces,
                            const Metadata& metadata, Collectives& ranks);

/// Writes a network that is kept whatever comes after it, `model-<epoch>-<step>.safetensors`. Returns its path;
/// errors are those of save_checkpoint.
std::string save_model(const std::string& folder, int epoch, int64_t step,
                       const std::vector<NamedTensor>& tensors, const Metadata& metadata);

/// An Error that names file and tensor if one has a NaN or an infinity.
void check_finite(const std::string& path, const std::vector<NamedTensor>& tensors);

/// The newest intact checkpoint of a folder; nothing if there is none at all. `warn` is told of each damaged
/// one that is passed over. Throws an Error if there are checkpoints, but none is intact. Only tensors for which `keep`, if
/// there is one, says so are in memory then.
std::optional<Checkpoint> newest_checkpoint(const std::string& folder,
                                            const std::function<void(const std::string&)>& warn,
                                            const KeepTensor& keep = {});
/// The same for several processes, of which rank 0 looks for it, and verifies it.
std::optional<Checkpoint> newest_checkpoint(const std::string& folder,
                                            const std::function<void(const std::string&)>& warn,
                                            const KeepTensor& keep, Collectives& ranks);

}  // namespace la
