// Models in checkpoints.
#pragma once

#include <string>

#include "evaluation/model.h"
#include "la/config.h"
#include "tensor/io/safetensors.h"
#include "tensor/shards.h"

namespace la {

/// What a checkpoint must say, besides its tensors, so that load_model can read it.
Metadata describe_model(const Config& config, int64_t channels, const AugmentationOptions& view);

/// A checkpoint, or the newest one of a run's folder. An Error that names the file if it is not intact, or has values that
/// are not finite.
SafetensorsFile read_checkpoint(const std::string& run_or_checkpoint, const KeepTensor& keep = {});

/// Its network on the device, in evaluation mode. An Error that names the file if it does not hold a network of la_train.
Model load_model(const SafetensorsFile& checkpoint, Device device);
Model load_model(const std::string& run_or_checkpoint, Device device);

/// What the memory bank [N, D], and the labels [H, N] of the clusterings, are called in checkpoints.
inline constexpr const char *bank_name = "la.bank", *cluster_labels_name = "la.cluster_labels";
/// The memory bank [N, D] of a checkpoint whose checksum load_model has verified: the vectors of this process, f32 in host memory.
/// An Error that names the file if it has none, or if they are not finite.
ShardedRows load_bank(const std::string& checkpoint, const Shards& shards = {});

}  // namespace la
