// What la_train tells its user about a run before it starts.
#pragma once

#include <string>
#include <vector>

#include "data/dataset.h"
#include "la/config.h"
#include "la/trainer.h"

namespace la {

/// The lines that stand above a run: data, network with its layer table, LA's H, m and k with the reasons for
/// them, optimization, memory, device, precision, seed. `choices` explains the values that the program chose.
std::vector<std::string> describe_run(const Config& config, const DataSource& data, Trainer& trainer,
                                      const std::vector<std::string>& choices);

/// With fewer pictures little is learnt, and another preset is the default; by trial (docs/results.md).
constexpr int64_t few_pictures = 5000;

/// The networks: layers, parameters and multiply-adds, at the size of picture that each was made for.
std::string network_table();

/// The largest amount of memory that this process has had in use, in bytes.
size_t peak_resident_memory();

/// "412 MiB" and the like.
std::string memory_text(size_t bytes);

/// How the clusterings of an epoch went: means over them, sums of what happened to empty clusters.
struct ClusteringReport {
  int64_t clusterings = 0;
  double seconds = 0, inertia = 0, imbalance = 0;
  int64_t splits = 0, empty = 0;
};
ClusteringReport summarize(const std::vector<KMeansResult>& results, double seconds);
/// The line that tells it.
std::string describe(const ClusteringReport& report);

/// The time now, "2026-01-31T23:59:59Z".
std::string utc_time();

}  // namespace la
