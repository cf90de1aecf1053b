#include "apps/options/stored_options.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "apps/options/preset_file.h"
#include "tensor/format.h"
#include "tensor/io/files.h"
#include "tensor/io/seal.h"

namespace la {
namespace {

/// Whether a line of the file sets the option.
bool has_line_of(std::string_view file, const std::string& option) {
  return ("\n" + std::string(file)).find("\n" + option + " =") != std::string::npos;
}

std::string toml_value(const Option& option) {
  switch (option.kind) {
    case Option::Kind::text:
      return toml_text(option.get());
    case Option::Kind::list: {
      std::vector<std::string> parts = split_list(option.get());
      for (std::string& part : parts)
        if (part.find_first_not_of("0123456789.e+-") != part.npos) part = toml_text(part);
      return formatted("[{}]", joined(parts, ", "));
    }
    default:
      return option.get();
  }
}

}  // namespace

std::string to_toml(const OptionTable& table, const std::string& comment) {
  std::string text = formatted("# {}\n", comment), group;
  for (const Option& option : table.options()) {
    if (option.stored == Option::Stored::no) continue;
    if (option.group != std::exchange(group, option.group)) text += formatted("\n# {}\n", option.group);
    text += formatted("{} = {}\n", option.name, toml_value(option));
  }
  return text;
}

std::string folder_to_resume(const CommandLine& line) {
  check(line.find("run") != nullptr, "--resume needs the folder of the run: --run FOLDER");
  check(line.preset.empty(), "--resume takes the run's own configuration: leave out --preset");
  return *line.find("run");
}

void set_from_run(OptionTable& table, const std::string& folder, std::vector<std::string>& notes) {
  const std::string path = folder + "/config.toml";
  check(std::filesystem::exists(path), "--run {}: is not the folder of a run: it has no config.toml", folder);
  table.set_from_file(path);
  if (const std::string text = read_file(path); !unsealed(text).intact) {
    for (const Option& option : table.options())
      check(option.stored == Option::Stored::no || has_line_of(text, option.name),
            "{}: has no '{}', and is not as the run has written it: it is damaged or cut off", path,
            option.name);
    notes.push_back(
        formatted("warning: {} is not as the run has written it: damaged, or changed by hand", path));
  }
  notes.push_back(formatted("configuration: {}, of the run that is continued", path));
}

void check_unchanged(const CommandLine& line, const OptionTable& stored, const OptionTable& now,
                     const std::vector<std::string>& may_grow) {
  for (const auto& [name, value] : line.given) {
    const Option& option = *now.find(name);
    const std::string was = stored.find(name)->get();
    const bool may_differ = option.stored == Option::Stored::no ||
                            option.on_resume == Option::OnResume::free ||
                            std::find(may_grow.begin(), may_grow.end(), name) != may_grow.end();
    check(may_differ || option.get() == was,
          "--{} {}: the run has {}, and continues with the configuration that it was begun with", name, value,
          was);
  }
}

}  // namespace la
