#include "apps/run_table.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <optional>

#include "apps/options/stored_options.h"
#include "apps/options/training_options.h"
#include "tensor/error.h"
#include "tensor/io/files.h"
#include "tensor/text.h"

namespace la {
namespace {

using Json = nlohmann::ordered_json;

/// A figure of metrics.jsonl, and what no other protocol in the log has.
struct Figure {
  const char *key, *name, *told_by;
};
constexpr Figure pixels{"pixel_knn200", "pixels", "pixels of unit length"};
constexpr Figure knn{"knn200", "kNN", "embeddings recomputed"};
constexpr Figure at_the_end[] = {knn,
                                 {"bank_knn200", "kNN of the bank", "vectors of the memory bank"},
                                 {"knn1", "1-NN of the bank", "nearest vector of the memory bank"},
                                 {"likeliest", "likeliest label", "largest output"}};

std::string protocol_of(const RunRecord& run, const Figure& figure) {
  for (size_t i = run.results.size(); i-- > 0;) {
    const std::string& line = run.results[i];
    if (line.find(figure.told_by) == std::string::npos) continue;
    const size_t begin = line.find_first_not_of(' ');
    return line.substr(begin, line.rfind(": ") - begin);
  }
  return formatted("{} of metrics.jsonl", figure.key);
}

std::optional<double> value_in(const Json& line, const char* key) {
  const auto found = line.find(key);
  if (found == line.end() || !found->is_number()) return {};
  return found->get<double>();
}

/// Those of the state before the first step.
void add_baselines(const RunRecord& run, std::vector<RunResult>& results) {
  std::optional<double> of_pixels, at_start;
  for (const Json& line : run.metrics) {
    if (const auto value = value_in(line, pixels.key)) of_pixels = value;
    if (line["step"] == 0)
      if (const auto value = value_in(line, knn.key)) at_start = value;
  }
  if (of_pixels) results.push_back({pixels.name, protocol_of(run, pixels), *of_pixels});
  if (!at_start) return;
  const bool loaded = std::any_of(run.options.begin(), run.options.end(), [](const auto& option) {
    return option.first == "init" && !option.second.empty();
  });
  const char* const name = loaded ? "network as loaded" : "untrained";
  results.push_back({name, protocol_of(run, knn) + ", before the training", *at_start});
}

/// "batch 128, jitter 0": what distinguishes a readout from others, which is all but its stage and its results.
std::string conditions_of(const Json& readout) {
  std::vector<std::string> conditions;
  for (const auto& [name, value] : readout.items()) {
    const bool result = name == "features" || name.find("top") != std::string::npos;
    if (name == "stage" || result) continue;
    conditions.push_back(
        formatted("{} {}", name, value.is_string() ? value.get<std::string>() : value.dump()));
  }
  return joined(conditions, ", ");
}

/// What la_eval has measured of one checkpoint.
struct Evaluated {
  std::string time;  // in UTC, as text in its order
  std::vector<RunResult> readouts;
};

/// What an evaluation of la_eval says of each stage. Data sets of one name are told apart by their paths, as la_eval does.
std::vector<RunResult> readouts_in(const std::string& data, const Json& evaluation) {
  std::vector<RunResult> results;
  if (!evaluation.contains("readout")) return results;
  const std::string train = evaluation.at("train"), test = evaluation.at("test");
  const int64_t view = evaluation.at("view_size");
  for (const Json& readout : evaluation.at("readout")) {
    const std::string stage = readout.at("stage");
    results.push_back(
        {"readout of " + stage,
         formatted("linear readout of {}, top-1 of the center crop ({}; {}, trained on {}, tested on {}, "
                   "shown with {} pixels)",
                   stage, conditions_of(readout), data, train, test, view),
         readout.at("top1")});
  }
  return results;
}

/// The files that la_eval has written beside the checkpoints.
std::vector<std::string> evaluation_files(const std::string& folder) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename();
    if (name.starts_with("eval-") && name.ends_with(".json") && file_exists(entry.path()))
      files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<Evaluated> evaluations_in(const std::string& file, const std::string& checkpoint) try {
  const Json all = Json::parse(read_file(file));
  std::vector<Evaluated> found;
  for (const Json& evaluation : all.at("evaluations"))
    if (evaluation.at("checkpoint") == checkpoint)
      found.push_back({evaluation.value("time", ""), readouts_in(all.at("path"), evaluation)});
  return found;
} catch (const Json::exception&) {
  fail("{}: is not as la_eval writes it", file);
}

/// Of what was measured twice in the same way, which two files may say, the newest counts. Files that cannot be read are skipped.
void add_evaluations(const RunRecord& run, const Json& end, std::vector<RunResult>& results,
                     std::vector<std::string>& warnings) {
  const std::string last = formatted("checkpoint-{:05}-{:09}.safetensors", end["epoch"].get<int64_t>(),
                                     end["step"].get<int64_t>());
  std::vector<Evaluated> evaluations;
  for (const std::string& file : evaluation_files(run.folder)) try {
      for (Evaluated& evaluation : evaluations_in(file, last)) evaluations.push_back(std::move(evaluation));
    } catch (const Error& error) {
      warnings.emplace_back(error.what());
    }
  std::stable_sort(evaluations.begin(), evaluations.end(),
                   [](const Evaluated& a, const Evaluated& b) { return a.time < b.time; });
  for (const Evaluated& evaluation : evaluations)
    for (const RunResult& readout : evaluation.readouts) {
      const auto older = std::find_if(results.begin(), results.end(), [&](const RunResult& result) {
        return result.name == readout.name && result.protocol == readout.protocol;
      });
      older == results.end() ? results.push_back(readout) : void(*older = readout);
    }
}

/// Whether it says only how a machine is used: what may change in a run that goes on. Other pictures, or other parts of a batch,
/// would change the results.
bool is_of_machine(const Option& option) {
  const bool changes_results = option.name == "data" || option.name == "val" || option.name == "shards";
  return option.on_resume == Option::OnResume::free && !changes_results;
}

std::string cell(const std::string& text) {
  std::string result;
  for (const char c : printable(text)) result += c == '|' ? "\\|" : std::string(1, c);
  return result;
}

std::string row(const std::vector<std::string>& cells) { return formatted("| {} |\n", joined(cells, " | ")); }

std::string percent(double share) { return formatted("{:.1f}", 100 * share); }

/// Mean and sample standard deviation; one value alone has none.
std::string mean_text(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  if (values.size() < 2) return percent(mean);
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return formatted("{} ± {}", percent(mean), percent(std::sqrt(squares / (n - 1))));
}

}  // namespace

std::vector<RunResult> results_of(const RunRecord& run, std::vector<std::string>& warnings) {
  const Json* const end = last_evaluation(run);
  std::vector<RunResult> results;
  if (end == nullptr) return results;
  add_baselines(run, results);
  for (const Figure& figure : at_the_end)
    if (const auto value = value_in(*end, figure.key))
      results.push_back({figure.name, protocol_of(run, figure), *value});
  add_evaluations(run, *end, results, warnings);
  return results;
}

RunTable::Settings RunTable::settings_of(const std::string& folder) {
  Config config;
  OptionTable table = training_options(config);
  std::vector<std::string> notes;
  set_from_run(table, folder, notes);
  Settings settings;
  for (const Option& option : table.options())
    if (option.stored == Option::Stored::yes && !is_of_machine(option))
      settings.emplace_back(option.name, option.get());
  return settings;
}

std::string RunTable::add(const std::string& folder) {
  const RunRecord record = read_run(folder);
  Run run;
  run.folder = folder;
  run.settings = settings_of(folder);
  if (last_evaluation(record) == nullptr) return "has not come to its end: " + place_of(record);
  const auto seed = std::find_if(run.settings.begin(), run.settings.end(),
                                 [](const auto& setting) { return setting.first == "seed"; });
  run.seed = seed->second;
  run.settings.erase(seed);
  for (const Run& other : runs_)
    if (other.seed == run.seed && other.settings == run.settings)
      return formatted("has the setting and the seed, {}, of {}", run.seed, other.folder);
  run.results = results_of(record, warnings_);
  runs_.push_back(std::move(run));
  return "";
}

std::vector<RunTable::Group> RunTable::groups() const {
  std::vector<Group> groups;
  for (const Run& run : runs_) {
    const auto same = std::find_if(groups.begin(), groups.end(), [&](const Group& group) {
      return group.front()->settings == run.settings;
    });
    (same == groups.end() ? groups.emplace_back() : *same).push_back(&run);
  }
  for (Group& group : groups)
    std::sort(group.begin(), group.end(),
              [](const Run* a, const Run* b) { return std::stoull(a->seed) < std::stoull(b->seed); });
  return groups;
}

std::vector<size_t> RunTable::differing_settings() const {
  std::vector<size_t> differing;
  for (size_t i = 0; i < runs_.front().settings.size(); ++i)
    if (std::any_of(runs_.begin(), runs_.end(),
                    [&](const Run& run) { return run.settings[i] != runs_.front().settings[i]; }))
      differing.push_back(i);
  return differing;
}

std::vector<RunTable::Column> RunTable::columns() const {
  std::vector<Column> columns;
  for (const Run& run : runs_)
    for (const RunResult& result : run.results) {
      const auto same_name = [&](const Column& column) { return column.name == result.name; };
      const auto last = std::find_if(columns.rbegin(), columns.rend(), same_name).base();
      const bool known = std::any_of(columns.begin(), columns.end(), [&](const Column& column) {
        return same_name(column) && column.protocol == result.protocol;
      });
      // Beside the others of its name.
      if (!known)
        columns.insert(last == columns.begin() ? columns.end() : last,
                       {result.name, result.protocol, result.name});
    }
  for (Column& column : columns) {
    const auto of_name = [&](const Column& other) { return other.name == column.name; };
    const auto until = columns.begin() + (&column - columns.data() + 1);
    if (std::count_if(columns.begin(), columns.end(), of_name) > 1)
      column.title += formatted(" ({})", std::count_if(columns.begin(), until, of_name));
  }
  return columns;
}

std::string RunTable::cell_of(const Group& group, const Column& column) {
  std::vector<double> values;
  for (const Run* run : group)
    for (const RunResult& result : run->results)
      if (result.name == column.name && result.protocol == column.protocol) values.push_back(result.share);
  if (values.empty()) return "";
  return mean_text(values) + (values.size() < group.size() ? formatted(" (of {})", values.size()) : "");
}

std::string RunTable::markdown(bool seeds) const {
  const std::vector<size_t> settings = differing_settings();
  const std::vector<Column> results = columns();
  std::vector<std::string> head;
  for (const size_t i : settings) head.push_back(runs_.front().settings[i].first);
  head.push_back(seeds ? "seed" : "seeds");
  for (const Column& column : results) head.push_back(column.title);
  std::string text = row(head) + row(std::vector<std::string>(head.size(), "---"));

  const auto add_row = [&](const Group& group, const std::string& seed) {
    std::vector<std::string> cells;
    for (const size_t i : settings) cells.push_back(cell(group.front()->settings[i].second));
    cells.push_back(seed);
    for (const Column& column : results) cells.push_back(cell_of(group, column));
    text += row(cells);
  };
  for (const Group& group : groups()) {
    if (seeds)
      for (const Run* run : group) add_row({run}, run->seed);
    if (!seeds || group.size() > 1)
      add_row(group, seeds ? formatted("mean of {}", group.size()) : formatted("{}", group.size()));
  }
  text += "\nIn %, at the end of each run; ± is the sample standard deviation over the seeds (n - 1).\n\n";
  for (const Column& column : results) text += formatted("- {}: {}\n", column.title, cell(column.protocol));
  return text;
}

}  // namespace la
