#include "apps/options/options.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <filesystem>
#include <utility>

#include "apps/options/arguments.h"
#include "apps/options/option_table.h"
#include "apps/options/preset_file.h"
#include "apps/report.h"
#include "data/dataset.h"
#include "data/picture_list.h"
#include "tensor/format.h"
#include "tensor/io/files.h"
#include "tensor/io/seal.h"

namespace la {
namespace {

namespace fs = std::filesystem;

/// What stands on the command line, not interpreted yet.
struct CommandLine {
  std::string preset;
  std::vector<std::pair<std::string, std::string>> given;  // option and value
  std::string answer;                                      // to what was asked for instead of a run

  const std::string* find(const std::string& option) const {
    for (const auto& [name, value] : given)
      if (name == option) return &value;
    return nullptr;
  }
};

/// The table of a configuration, with access by name.
class Fields {
 public:
  explicit Fields(Config& config) : options_(option_table(config)) {}

  const Option* find(const std::string& name) const {
    const auto found =
        std::find_if(options_.begin(), options_.end(), [&](const Option& o) { return o.name == name; });
    return found == options_.end() ? nullptr : &*found;
  }

  const std::vector<Option>& options() const { return options_; }
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const Option& option : options_) all.push_back(option.name);
    return all;
  }

  void apply(const CommandLine& line) const {
    for (const auto& [name, value] : line.given) try {
        find(name)->set(value);
      } catch (const Error& error) {
        throw UsageError(formatted("--{}: {}", name, error.what()));
      }
  }

  void apply_file(const std::string& path) const {
    try {
      for (const auto& [entry, file] : read_preset(path)) apply_entry(entry, file);
    } catch (const Error& error) {
      throw UsageError(error.what());
    }
  }

 private:
  void apply_entry(const PresetEntry& entry, const std::string& file) const {
    const Option* option = find(entry.key);
    if (option == nullptr)
      fail("{}: line {}: there is no option '{}'{}", file, entry.line, entry.key,
           did_you_mean(entry.key, names()));
    try {
      option->set(entry.value);
    } catch (const Error& error) {
      fail("{}: line {}: {}: {}", file, entry.line, entry.key, error.what());
    }
  }

  std::vector<Option> options_;
};

std::string help_of(const Option& option) {
  return option.range.empty() ? option.help : formatted("{} ({})", option.help, option.range);
}

constexpr const char* default_preset = "fashion-mnist.toml";
constexpr const char *preset_for_files = "pictures.toml", *preset_for_few_files = "few-pictures.toml";

/// The help, with the values that the options have in a preset.
std::string help_with_values(CLI::App& app, const std::string& preset) {
  Config defaults;
  const Fields fields(defaults);
  if (fs::exists(preset)) fields.apply_file(preset);
  for (const Option& option : fields.options())
    if (option.kind != Option::Kind::flag) app.get_option("--" + option.name)->default_str(option.get());
  return app.help();
}

CommandLine read_command_line(std::vector<std::string> arguments, const std::string& presets) {
  const std::string default_file = fs::path(presets) / default_preset;
  CommandLine line;
  CLI::App app("Learns embeddings of pictures without labels, by Local Aggregation.", "la_train");
  app.allow_extras();  // to say what is wrong with them
  add_help(app);
  bool list_networks = false;
  app.add_flag("--list-networks", list_networks, "print the networks with their sizes and end");
  app.add_option("--preset", line.preset,
                 "file of options in TOML, or the name of one that comes with the programs, such as cifar10; "
                 "default: fashion-mnist, for picture files pictures")
      ->type_name("FILE");

  Config defaults;
  for (const Option& option : option_table(defaults)) {
    const bool flag = option.kind == Option::Kind::flag;
    const auto remember = [&line, flag, name = option.name](const CLI::results_t& values) {
      line.given.emplace_back(name, flag && values.back().empty() ? "true" : values.back());
      return true;
    };
    CLI::Option* added = app.add_option("--" + option.name, remember, help_of(option));
    added->group(option.group)->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    if (flag)
      added->expected(0, 1)->type_name("");  // without a value it means true
    else
      added->type_name(option.type);
  }

  arguments = normalized(app, arguments);
  std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    line.answer =
        help_with_values(app, line.preset.empty() ? default_file : find_preset(line.preset, presets));
  } catch (const CLI::CallForVersion&) {
    line.answer = version_text("la_train");
  } catch (const CLI::ParseError& error) {
    throw UsageError(formatted("{} (--help lists the options)", error.what()));
  }
  const std::vector<std::string> unknown = app.remaining();
  if (!unknown.empty())
    throw UsageError(formatted("unexpected argument '{}' (--help lists the options)", unknown.front()));
  if (list_networks) line.answer = network_table();
  return line;
}

void check_epochs_on_resume(const Config& stored, const Config& config) {
  check(config.epochs >= stored.epochs,
        "--epochs {} is less than the {} that the run was begun with; it can only grow", config.epochs,
        stored.epochs);
  const bool fixed = config.schedule == ScheduleKind::step && !config.learning_rate_drops.empty();
  check(config.epochs == stored.epochs || fixed,
        "--epochs must stay {}: the learning rates of this run fall towards its end; a new run that begins "
        "with its weights "
        "is --init CHECKPOINT",
        stored.epochs);
}

/// Whether a line of the file sets the option.
bool has_line_of(std::string_view file, const std::string& option) {
  return ("\n" + std::string(file)).find("\n" + option + " =") != std::string::npos;
}

Config config_to_resume(const CommandLine& line, std::vector<std::string>& notes) {
  check(line.find("run") != nullptr, "--resume needs the folder of the run: --run FOLDER");
  check(line.preset.empty(), "--resume takes the run's own configuration: leave out --preset");
  Config stored;
  const std::string path = *line.find("run") + "/config.toml";
  check(fs::exists(path), "--run {}: is not the folder of a run: it has no config.toml", *line.find("run"));
  const Fields fields(stored);
  fields.apply_file(path);
  if (const std::string text = read_file(path); !unsealed(text).intact) {
    for (const Option& option : fields.options())
      check(option.stored == Option::Stored::no || has_line_of(text, option.name),
            "{}: has no '{}', and is not as the run has written it: it is damaged or cut off", path,
            option.name);
    notes.push_back(
        formatted("warning: {} is not as the run has written it: damaged, or changed by hand", path));
  }

  Config config = stored;
  const Fields before(stored), after(config);
  after.apply(line);
  for (const auto& [name, value] : line.given) {
    const Option& option = *after.find(name);
    const bool may_differ = option.stored == Option::Stored::no || option.on_resume == Option::OnResume::free;
    check(may_differ || name == "epochs" || option.get() == before.find(name)->get(),
          "--{} {}: the run has {}, and continues with the configuration that it was begun with", name, value,
          before.find(name)->get());
  }
  check_epochs_on_resume(stored, config);
  notes.push_back(formatted("configuration: {}, of the run that is continued", path));
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
  const Fields fields(config);
  const std::string preset = fs::path(presets) / preset_for(line);
  if (!line.preset.empty()) {
    const std::string file = find_preset(line.preset, presets);
    fields.apply_file(file);
    notes.push_back(formatted("configuration: {}", file));
  } else if (fs::exists(preset)) {
    fields.apply_file(preset);
    notes.push_back(formatted("configuration: {}, the default (--preset FILE takes another)", preset));
  }
  // What a preset says of neighborhoods is for all pictures.
  if (line.find("limit") != nullptr) {
    for (const char* depends : {"background", "clusters", "close-count", "noise"})
      fields.find(depends)->set("0");
    notes.push_back(
        "configuration: k, m and the like are chosen for --limit pictures, not taken from the preset");
  }
  fields.apply(line);
  check(!config.resume, "resume belongs on the command line, together with --run FOLDER");
  return config;
}

std::string toml_value(const Option& option) {
  switch (option.kind) {
    case Option::Kind::text:
      return toml_text(option.get());
    case Option::Kind::list:
      return formatted("[{}]", option.get());
    default:
      return option.get();
  }
}

}  // namespace

Options parse_options(const std::vector<std::string>& arguments, const std::string& presets) {
  const CommandLine line = read_command_line(arguments, presets);
  Options options;
  options.answer = line.answer;
  if (!line.answer.empty()) return options;

  const std::string* resume = line.find("resume");
  try {
    options.config = resume != nullptr && *resume != "false" ? config_to_resume(line, options.notes)
                                                             : config_to_begin(line, presets, options.notes);
    validate(options.config);
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
  return options;
}

Options parse_options(int argc, char** argv) {
  return parse_options({argv + 1, argv + argc}, presets_folder());
}

std::string to_toml(const Config& config) {
  Config copy = config;
  std::string text = "# The configuration of a run of la_train; as --preset it begins the same run again.\n";
  std::string group;
  for (const Option& option : option_table(copy)) {
    if (option.stored == Option::Stored::no) continue;
    if (option.group != std::exchange(group, option.group)) text += formatted("\n# {}\n", option.group);
    text += formatted("{} = {}\n", option.name, toml_value(option));
  }
  return text;
}

}  // namespace la
