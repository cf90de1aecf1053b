// RunFolder: the folder of one training run: its configuration (config.toml), messages (log.txt),
// measurements (metrics.jsonl, one JSON object a line) and checkpoints. It is locked for as long as the
// object lives.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "tensor/io/files.h"

namespace la {

/// The fields of a line of metrics.jsonl, in their order.
using MetricValue = std::variant<int64_t, double, std::string>;
using Metrics = std::vector<std::pair<std::string, MetricValue>>;

/// <data>-<network>, from the last folder of the data's path.
std::string run_name(const std::string& data, const std::string& network);

class RunFolder {
 public:
  /// Makes a new folder, `path`, or if that is empty runs/<name>-<number> with the first number that is free. Two
  /// programs that start at once get different ones. Throws an Error if `path` exists already.
  static RunFolder create(const std::string& path, const std::string& name);
  /// An Error if `path` is the name of something that exists; a folder without a run may, which is empty, or was left
  /// behind before the run had a configuration.
  static void check_absent(const std::string& path);
  /// Whether it is a folder in which nothing is but what a run leaves there before it has a configuration.
  static bool has_no_run(const std::string& path);
  /// Whether a program trains there. If none does, none could begin to for the microseconds that it takes to see that.
  static bool in_use(const std::string& path);
  /// Opens the folder of an earlier run; an Error if it is not there or another program trains in it.
  static RunFolder open(const std::string& path);

  const std::string& path() const { return path_; }
  std::string config_path() const { return path_ + "/config.toml"; }
  std::string log_path() const { return path_ + "/log.txt"; }
  std::string metrics_path() const { return path_ + "/metrics.jsonl"; }

  /// Writes config.toml.
  void write_config(std::string_view toml) const;
  /// Appends a line to log.txt.
  void log(std::string_view line) const;
  /// Appends one line to metrics.jsonl; it is in the file when this returns. Each line needs "epoch" and
  /// "step", counted as in the checkpoints (la/checkpoint.h).
  void append_metrics(const Metrics& fields) const;
  /// Whether a line for that epoch and step has this number.
  bool has_metric(std::string_view key, int epoch, int64_t step) const;
  /// Drops the lines that lie after (epoch, step), and what is no whole line, so that a run that continues
  /// from that checkpoint writes no line twice. Epoch -1 drops them all. Returns how many were damaged: lines
  /// that are whole, but say nothing of epoch and step.
  int64_t truncate_metrics(int epoch, int64_t step) const;

 private:
  explicit RunFolder(std::string path);  // an existing folder

  std::string path_;
  OpenFile lock_;
};

}  // namespace la
