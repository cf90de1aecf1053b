// RunRecord: what the folder of a run says of it: its plan, its options and what was measured.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace la {

struct RunRecord {
  std::string name;                  // of its folder
  std::vector<std::string> plan;     // the first lines of its log
  std::vector<std::string> results;  // accuracies, as the log tells them, with their protocols
  std::vector<std::pair<std::string, std::string>> options;  // of config.toml
  nlohmann::ordered_json metrics;                            // the lines of metrics.jsonl, a list
};

/// An Error that names what is missing or damaged; a last line of metrics.jsonl that is only half there is left out.
RunRecord read_run(const std::string& folder);

}  // namespace la
