// RunRecord: what the folder of a run says of it: its plan, its options and what was measured.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace la {

struct RunRecord {
  std::string folder, name;          // its path and the last part of that
  std::vector<std::string> plan;     // the first lines of its log
  std::vector<std::string> results;  // accuracies, as the log tells them, with their protocols
  std::vector<std::pair<std::string, std::string>> options;  // of config.toml
  nlohmann::ordered_json metrics;                            // the lines of metrics.jsonl, a list
};

/// An Error that names what is missing or damaged; a last line of metrics.jsonl that is only half there is left out.
RunRecord read_run(const std::string& folder);

/// The measurement with which the run has ended, that of its last epoch or step; null while there is none.
const nlohmann::ordered_json* last_evaluation(const RunRecord& run);
/// "epoch 2 of 5, step 312": how far it is.
std::string place_of(const RunRecord& run);

}  // namespace la
