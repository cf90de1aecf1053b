#include "apps/page/run_record.h"

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "apps/options/option_table.h"
#include "tensor/error.h"
#include "tensor/io/files.h"

namespace la {
namespace {

using Json = nlohmann::ordered_json;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

/// The plan consists of paragraphs, each a word at its beginning and lines below it that are indented by as much.
bool belongs_to_plan(const std::string& line) {
  constexpr size_t indent = 11;
  return line.size() > indent && line[indent] != ' ' && line[indent - 1] == ' ' &&
         (line.starts_with(std::string(indent, ' ')) || line[0] != ' ');
}

/// Accuracies are indented by two blanks, below a line that says when they were measured.
std::vector<std::string> results_in(const std::vector<std::string>& log) {
  std::vector<std::string> results;
  std::string heading;
  for (const std::string& line : log) {
    const bool measured = line.starts_with("  ") && !line.starts_with("   ");
    const bool heads = !line.empty() && line[0] != ' ' && line.find(" left") == std::string::npos &&
                       !line.starts_with("bad picture") && !line.starts_with("warning");
    if (heads) heading = line;
    if (!measured) continue;
    if (!heading.empty()) results.push_back(heading);
    heading.clear();
    results.push_back(line);
  }
  return results;
}

std::vector<std::pair<std::string, std::string>> options_in(const std::string& toml) {
  std::vector<std::pair<std::string, std::string>> options;
  for (const std::string& line : lines_of(toml)) {
    const size_t equals = line.find(" = ");
    if (line.starts_with('#') || equals == std::string::npos) continue;
    std::string value = line.substr(equals + 3);
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"')
      value = value.substr(1, value.size() - 2);
    options.emplace_back(line.substr(0, equals), value);
  }
  return options;
}

bool is_number(const Json& line, const char* key) {
  return line.contains(key) && line[key].is_number_integer();
}

Json metrics_in(const std::string& path) {
  Json metrics = Json::array();
  const std::vector<std::string> lines = lines_of(read_file(path));
  for (size_t i = 0; i < lines.size(); ++i) {
    Json line = Json::parse(lines[i], nullptr, false);
    const bool whole = line.is_object() && is_number(line, "epoch") && is_number(line, "step");
    check(whole || i + 1 == lines.size(), "{}: line {} is no measurement", path, i + 1);
    if (whole) metrics.push_back(std::move(line));
  }
  return metrics;
}

/// 0 where there is none, as in a run of an older version.
int64_t number_option(const RunRecord& run, const char* name) {
  int64_t number = 0;
  for (const auto& [option, value] : run.options)
    if (option == name) parse(value, number);
  return number;
}

int64_t epochs_of(const RunRecord& run) {
  const int64_t epochs = number_option(run, "epochs");
  check(epochs > 0, "{}/config.toml: has no 'epochs', of which a run has one at least", run.folder);
  return epochs;
}

}  // namespace

RunRecord read_run(const std::string& folder) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  check(fs::is_directory(folder, ignored), "{}: is no folder of a run", folder);
  for (const char* needed : {"config.toml", "log.txt", "metrics.jsonl"})
    check(file_exists(folder + "/" + needed),
          "{}: is no folder of a run: it has no {}; expected a folder that la_train has made", folder,
          needed);
  RunRecord run;
  run.folder = folder;
  const fs::path path = fs::weakly_canonical(folder, ignored);
  run.name = path.filename().string();
  run.metrics = metrics_in(folder + "/metrics.jsonl");
  run.options = options_in(read_file(folder + "/config.toml"));
  const std::vector<std::string> log = lines_of(read_file(folder + "/log.txt"));
  const auto end = std::find_if_not(log.begin(), log.end(), belongs_to_plan);
  run.plan.assign(log.begin(), end);
  run.results = results_in({end, log.end()});
  return run;
}

const Json* last_evaluation(const RunRecord& run) {
  const int64_t steps = number_option(run, "steps");
  const char* const counts = steps > 0 ? "step" : "epoch";
  const int64_t end = steps > 0 ? steps : epochs_of(run);
  for (size_t i = run.metrics.size(); i-- > 0;) {
    const Json& line = run.metrics[i];
    const bool evaluated = line.contains("knn200") || line.contains("effective_rank");
    if (evaluated && line[counts] >= end) return &line;
  }
  return nullptr;
}

std::string place_of(const RunRecord& run) {
  if (run.metrics.empty()) return "before its first epoch";
  const Json& last = run.metrics.back();
  const int64_t epoch = last["epoch"], step = last["step"];
  return formatted("epoch {} of {}, step {}", epoch, epochs_of(run), step);
}

}  // namespace la
