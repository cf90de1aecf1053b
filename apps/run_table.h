// RunTable: what runs have reached, as a table in Markdown. Runs that differ in nothing but their seed, and in what says only how
// a machine was used, are one setting, of which there is a mean with its deviation.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "apps/page/run_record.h"

namespace la {

struct RunResult {
  std::string name, protocol;
  double share = 0;  // in [0, 1]
};

/// Pixels and the untrained network, which are the baselines, the accuracies of the end, and what la_eval has read out of the last
/// checkpoint; each as far as it was measured, and once in one way. None of a run that has not come to its end. Files beside the
/// checkpoints that have names as la_eval gives them, but are not its own, are skipped with a warning.
std::vector<RunResult> results_of(const RunRecord& run, std::vector<std::string>& warnings);

class RunTable {
 public:
  /// Returns why the run is left out: it has not come to its end, or there is one of the same setting and seed; empty otherwise. An
  /// Error if it is damaged, or no run.
  std::string add(const std::string& folder);
  bool empty() const { return runs_.empty(); }
  /// What was skipped of the runs in the table, a line each.
  const std::vector<std::string>& warnings() const { return warnings_; }
  /// A row for each setting, with the options in which settings differ; with `seeds` above it one for each seed. Then, how each
  /// column was measured.
  std::string markdown(bool seeds) const;

 private:
  using Settings = std::vector<std::pair<std::string, std::string>>;  // names of options, values
  struct Run {
    std::string folder, seed;
    Settings settings;
    std::vector<RunResult> results;
  };
  using Group = std::vector<const Run*>;  // of one setting, by seed
  struct Column {
    std::string name, protocol, title;  // title: the name, with a number where there are several protocols
  };

  static Settings settings_of(const std::string& folder);
  std::vector<Group> groups() const;
  std::vector<size_t> differing_settings() const;
  std::vector<Column> columns() const;
  static std::string cell_of(const Group& group, const Column& column);

  std::vector<Run> runs_;
  std::vector<std::string> warnings_;
};

}  // namespace la
