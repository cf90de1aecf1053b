// The health of embeddings as la_train tells it: fields of metrics.jsonl, and lines of the log.
#pragma once

#include <string>

#include "apps/run/run_folder.h"
#include "la/trainer.h"

namespace la {

Metrics metrics_of(const BankHealth& health);
Metrics metrics_of(const BankClusters& clusters);

/// The line that tells it; dim: D of the embedding.
std::string describe(const BankHealth& health, int64_t dim);
/// The end of the line that tells of a clustering.
std::string describe(const BankClusters& clusters, int64_t dim);

}  // namespace la
