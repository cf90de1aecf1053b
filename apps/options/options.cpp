#include "apps/options/options.h"

#include <algorithm>
#include <filesystem>

#include "apps/options/arguments.h"
#include "apps/options/command_line.h"
#include "apps/options/stored_options.h"
#include "apps/options/training_options.h"
#include "apps/report.h"
#include "data/dataset.h"
#include "data/picture_list.h"
#include "tensor/format.h"

namespace la {
namespace {

namespace fs = std::filesystem;

constexpr ProgramInfo program = {
    "la_train", "Learns embeddings of pictures without labels, by Local Aggregation.",
    "file of options in TOML, or the name of one that comes with the programs, such as cifar10; default: "
    "fashion-mnist, for picture files pictures"};

constexpr const char* default_preset = "fashion-mnist.toml";
constexpr const char *preset_for_files = "pictures.toml", *preset_for_few_files = "few-pictures.toml";

/// The options of a run, and what can be asked for instead of one.
struct Table {
  bool list_networks = false;
  OptionTable options;

  explicit Table(Config& config) : options(training_options(config)) {
    options.group("Options");
    options.add("list-networks", list_networks, "print the networks with their sizes and end").stored =
        Option::Stored::no;
  }
  Table(const Table&) = delete;
};

/// The help, with the values that the options have in the preset.
std::string help_with_values(const CommandLine& line, const std::string& presets) {
  Config config;
  Table table(config);
  const std::string preset =
      line.preset.empty() ? (fs::path(presets) / default_preset).string() : find_preset(line.preset, presets);
  if (fs::exists(preset)) table.options.set_from_file(preset);
  return help_text(program, table.options);
}

void check_epochs_on_resume(const OptimizerOptions& stored, const OptimizerOptions& now) {
  check(now.epochs >= stored.epochs,
        "--epochs {} is less than the {} that the run was begun with; it can only grow", now.epochs,
        stored.epochs);
  check(now.steps == 0 || now.epochs == stored.epochs, "--epochs must stay {}: this run ends after {} steps",
        stored.epochs, now.steps);
  const bool fixed = now.schedule.kind == ScheduleKind::step && !now.drops.empty();
  check(now.epochs == stored.epochs || fixed,
        "--epochs must stay {}: the learning rates of this run fall towards its end; a new run that begins "
        "with its weights is --init CHECKPOINT",
        stored.epochs);
}

Config config_to_resume(const CommandLine& line, std::vector<std::string>& notes) {
  Config stored;
  Table before(stored);
  set_from_run(before.options, folder_to_resume(line), notes);

  Config config = stored;
  Table after(config);
  after.options.set(line.given);
  check_unchanged(line, before.options, after.options, {"epochs"});
  config.data.listings = config.run.folder;  // so that numbers mean the same pictures
  check_epochs_on_resume(stored.optimizer, config.optimizer);
  return config;
}

/// Picture files need another recipe than the small pictures of the default.
const char* preset_for(const CommandLine& line) {
  const std::string* const data = line.find("data");
  const std::string* const format = line.find("format");
  std::error_code ignored;
  if (data == nullptr || !fs::is_directory(*data, ignored)) return default_preset;
  const std::string name = format != nullptr && *format != "auto" ? *format : recognize_format(*data);
  if (name != "folder") return name == "places205" ? preset_for_files : default_preset;
  return count_pictures(*data, few_pictures) < few_pictures ? preset_for_few_files : preset_for_files;
}

Config config_to_begin(const CommandLine& line, const std::string& presets, std::vector<std::string>& notes) {
  Config config;
  Table table(config);
  const std::string preset = fs::path(presets) / preset_for(line);
  if (!line.preset.empty()) {
    const std::string file = find_preset(line.preset, presets);
    table.options.set_from_file(file);
    notes.push_back(formatted("configuration: {}", file));
  } else if (fs::exists(preset)) {
    table.options.set_from_file(preset);
    notes.push_back(formatted("configuration: {}, the default (--preset FILE takes another)", preset));
  }
  // What a preset says of neighborhoods is for all pictures.
  if (line.find("limit") != nullptr) {
    for (const char* depends : {"background", "clusters", "close-count", "noise", "steps"})
      table.options.set(depends, "0");
    std::erase_if(config.optimizer.drops, [](const TrainingTime& drop) { return drop.in_steps; });
    notes.push_back(
        "configuration: k, m and the like are chosen for --limit pictures, not taken from the preset");
  }
  table.options.set(line.given);
  check(!config.run.resume, "resume belongs on the command line, together with --run FOLDER");
  return config;
}

}  // namespace

Options parse_options(const std::vector<std::string>& arguments, const std::string& presets) {
  Config unused;
  const Table table(unused);
  const CommandLine line = read_command_line(program, table.options, arguments);
  Options options;
  if (line.wants_help)
    options.answer = help_with_values(line, presets);
  else if (line.wants_version)
    options.answer = version_text(program);
  else if (line.find("list-networks") != nullptr)
    options.answer = network_table();
  if (!options.answer.empty()) return options;

  const std::string* resume = line.find("resume");
  try {
    options.config = resume != nullptr && *resume != "false" ? config_to_resume(line, options.notes)
                                                             : config_to_begin(line, presets, options.notes);
    validate(options.config);
  } catch (const Error& error) {
    throw UsageError(with_option_names(error.what()));
  }
  return options;
}

Options parse_options(int argc, char** argv) {
  return parse_options({argv + 1, argv + argc}, presets_folder());
}

std::string to_toml(const Config& config) {
  Config copy = config;
  return to_toml(training_options(copy),
                 "The configuration of a run of la_train; as --preset it begins the same run again.");
}

}  // namespace la
