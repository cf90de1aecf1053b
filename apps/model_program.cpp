#include "apps/model_program.h"

#include <algorithm>
#include <filesystem>

#include "apps/options/arguments.h"
#include "apps/options/preset_file.h"
#include "tensor/format.h"
#include "tensor/io/files.h"

namespace la {
namespace {

constexpr const char* preset_option = "--preset";

/// The arguments behind the program's name.
bool parse(CLI::App& app, std::vector<std::string> arguments) {
  std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    print("{}", app.help());
    return false;
  } catch (const CLI::CallForVersion&) {
    print("{}", version_text(app.get_name().c_str()));
    return false;
  } catch (const CLI::ParseError& error) {
    throw UsageError(formatted("{} (--help lists the options)", error.what()));
  }
  return true;
}

/// What stands behind an option, as `--option VALUE` or `--option=VALUE`; empty if it is not there.
std::string value_of(const std::string& option, const std::vector<std::string>& arguments) {
  for (auto at = arguments.begin(); at != arguments.end(); ++at) {
    if (at->starts_with(option + "=")) return at->substr(option.size() + 1);
    if (*at == option && at + 1 != arguments.end()) return *(at + 1);
  }
  return "";
}

}  // namespace

void add_model_options(CLI::App& app, ModelOptions& options) {
  app.option_defaults()->group("Pictures");
  app.add_option("--format", options.data.format, "how the pictures are stored; auto recognizes it")
      ->capture_default_str();
  app.add_option("--limit", options.data.limit, "use only so many pictures, spread over the folder; 0: all");
  app.add_option("--max-bad", options.data.max_bad,
                 "share of the picture files that may be damaged or gone; 5 always may, unless it is 0")
      ->capture_default_str();
  app.add_option("--max-pixels", options.data.decode.max_pixels,
                 "pixels of a picture file, up to 12 bytes of memory each, of AVIF 24; larger ones are bad")
      ->check(CLI::Range(1, 500'000'000))
      ->capture_default_str();
  app.add_option(
      "--background-color", options.background_color,
      "what shows where a picture is transparent: white, gray, black or #rrggbb; default: the training's");
  app.option_defaults()->group("Machine");
  app.add_option("--device", options.device, "where to compute; auto takes a GPU if there is one")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->capture_default_str();
  app.add_option("--threads", options.threads, "threads that compute; 0: one a core")
      ->check(CLI::Range(0, 1024));
}

bool parse_arguments(CLI::App& app, int argc, char** argv) {
  add_help(app);
  return parse(app, normalized(app, {argv + 1, argv + argc}));
}

void add_preset_option(CLI::App& app) {
  app.add_option_function<std::string>(
         preset_option, [](const std::string&) {}, "file of options, a line `option = value` each")
      ->type_name("FILE");
}

bool parse_arguments_with_preset(CLI::App& app, int argc, char** argv) {
  add_help(app);
  const std::vector<std::string> given = normalized(app, {argv + 1, argv + argc});
  std::vector<std::string> all;
  if (const std::string preset = value_of(preset_option, given); !preset.empty()) try {
      for (const auto& [entry, file] : read_preset(find_preset(preset, presets_folder()))) {
        CLI::Option* const option = app.get_option_no_throw("--" + entry.key);
        check(option != nullptr, "{}: line {}: there is no option '{}'", file, entry.line, entry.key);
        option->default_str(entry.value);  // for the help
        all.push_back(formatted("--{}={}", entry.key, entry.value));
      }
    } catch (const Error& error) {
      throw UsageError(error.what());
    }
  for (CLI::Option* option : app.get_options())
    if (option->get_expected_max() == 1) option->take_last();
  all.insert(all.end(), given.begin(), given.end());
  return parse(app, all);
}

Model open_model(ModelOptions& options) {
  if (options.threads > 0) set_num_threads(options.threads);
  Model model = load_model(options.checkpoint, find_device(options.device));
  if (options.background_color.empty()) options.background_color = model.background_color;
  options.data.decode.gray = model.channels == 1;
  try {
    options.data.decode.background = parse_color(options.background_color);
  } catch (const Error& error) {
    throw UsageError(formatted("--background-color: {}", error.what()));
  }
  return model;
}

void print_notes(const DataSource& data) {
  for (const std::string& note : data.notes) print(stderr, "{}\n", printable(note));
}

void check_ending(const char* option, const std::string& file, const char* ending) {
  std::error_code ignored;
  const bool other = std::filesystem::exists(file, ignored) &&
                     !std::filesystem::is_regular_file(file, ignored) &&
                     !std::filesystem::is_directory(file, ignored);
  if (!other && !file.ends_with(ending))
    throw UsageError(formatted("{} {}: expected a name that ends in {}", option, file, ending));
}

void check_new_output(const std::string& file, bool overwrite) {
  check_output(file);
  std::error_code ignored;
  check(overwrite || !std::filesystem::is_regular_file(file, ignored),
        "{}: exists already; --force overwrites it", file);
}

void check_channels(const Model& model, const Dataset& pictures) {
  check(pictures.channels() == model.channels, "{}: the network sees pictures of {} channels, these have {}",
        model.checkpoint, model.channels, pictures.channels());
}

void print_warnings(const Dataset& pictures) {
  for (const std::string& warning : pictures.take_warnings()) print(stderr, "bad picture {}\n", warning);
}

}  // namespace la
