#include "apps/options/command_line.h"

#include <CLI/App.hpp>
// CLI/App.hpp first
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <set>

#include "apps/program.h"
#include "apps/run/progress.h"
#include "tensor/format.h"
#include "tensor/version.h"

namespace la {
namespace {

/// Columns for the help.
size_t columns() {
  constexpr size_t fewest = 40;
  const char* const text = std::getenv("COLUMNS");
  const size_t given = text != nullptr ? std::strtoul(text, nullptr, 10) : 0;
  return std::max(given > 0 ? given : columns_of(stdout), fewest);
}

/// The text in lines of at most `width` characters, the first of `first`, which end behind a blank, or in
/// lists of values behind a bar or comma.
std::vector<std::string> wrapped(std::string_view text, size_t first, size_t width) {
  std::vector<std::string> lines;
  for (size_t room = first; text.size() > room; room = width) {
    size_t end = text.find_last_of(' ', room);
    const bool blank = end != text.npos && end > 0;
    if (!blank) end = text.find_last_of("|,", room - 1);
    end = end == text.npos ? room : blank ? end : end + 1;
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(blank ? end + 1 : end);
  }
  lines.emplace_back(text);
  return lines;
}

/// Names on the left and descriptions on the right, or below where there is no room.
class Help : public CLI::Formatter {
 public:
  std::string make_description(const CLI::App* app) const override {
    return formatted("{}\n", joined(wrapped(app->get_description(), columns() - 1, columns() - 1), "\n"));
  }
  std::string make_option(const CLI::Option* option, bool is_positional) const override {
    const size_t width = columns() - 1, left = 2, right = width < 70 ? 6 : 30;
    std::string text;
    const auto append = [&](const std::string& line, size_t indent) {
      text += text.empty() ? "" : "\n";
      text += std::string(indent, ' ') + line;
    };
    for (const std::string& line : wrapped(make_option_name(option, is_positional) + make_option_opts(option),
                                           width - left, width - right))
      append(line, text.empty() ? left : right);
    const std::vector<std::string> description =
        wrapped(make_option_desc(option), width - right, width - right);
    const bool beside = text.size() + 1 < right;
    if (beside) text += std::string(right - text.size(), ' ') + description.front();
    for (size_t i = beside ? 1 : 0; i < description.size(); ++i) append(description[i], right);
    return text + "\n";
  }
};

/// Whether the word is meant as a flag's value, though but two of them are one: of the others its user shall be told.
bool says_yes_or_no(const std::string& word) {
  constexpr const char* words[] = {"true", "false", "True", "False", "yes", "no", "on", "off"};
  return std::find(std::begin(words), std::end(words), word) != std::end(words);
}

/// The arguments, with the names of options as the program has them. A UsageError for an option that it does
/// not have. Of one that stands twice the last counts, so that a script can have defaults, and stderr is told.
/// Behind a flag, a word that says neither yes nor no is an argument of its own: --force FILE.
std::vector<std::string> normalized(const std::vector<std::string>& arguments, const OptionTable& table) {
  std::vector<std::string> known = table.names();
  known.insert(known.end(), {"preset", "help", "version"});
  std::vector<std::string> result;
  std::set<std::string> seen;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    const bool is_option = argument.size() > 2 && argument.starts_with("--");
    if (!is_option) {
      result.push_back(argument);
      continue;
    }
    const size_t end = std::min(argument.find('='), argument.size());
    const std::string given = argument.substr(2, end - 2), name = option_name(given, known);
    if (std::find(known.begin(), known.end(), name) == known.end())
      throw UsageError(formatted("there is no option --{}{} (--help lists the options)", given,
                                 did_you_mean(name, known)));
    if (!seen.insert(name).second) print(stderr, "--{} stands twice: the last one counts\n", name);
    const Option* const option = table.find(name);
    const bool flag = option != nullptr && option->kind == Option::Kind::flag && end == argument.size();
    const bool has_value = i + 1 < arguments.size() && says_yes_or_no(arguments[i + 1]);
    result.push_back("--" + name + (flag && !has_value ? "=true" : argument.substr(end)));
  }
  return result;
}

std::string help_of(const Option& option) {
  std::string text = option.help;
  if (option.required && !option.positional) text += "; required";
  return option.range.empty() ? text : formatted("{} ({})", text, option.range);
}

/// CLI11's form of a program's options, which writes what it reads into `line`.
class App {
 public:
  App(const ProgramInfo& program, const OptionTable& table, CommandLine& line)
      : app_(program.description, program.name) {
    app_.allow_extras();  // to say what is wrong with them
    app_.formatter(std::make_shared<Help>());
    app_.option_defaults()->group("Options");
    app_.set_help_flag("-h,--help", "print this and end");
    app_.add_flag("--version", line.wants_version, "print the version and end");
    app_.add_option("--preset", line.preset, program.preset)->type_name("FILE")->take_last();
    for (const Option& option : table.options()) add(option, line);
  }

  void parse(std::vector<std::string> arguments, CommandLine& line) {
    std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
    try {
      app_.parse(std::move(arguments));
    } catch (const CLI::CallForHelp&) {
      line.wants_help = true;
      return;
    } catch (const CLI::ParseError& error) {
      throw UsageError(formatted("{} (--help lists the options)", error.what()));
    }
    const std::vector<std::string> unknown = app_.remaining();
    if (!unknown.empty())
      throw UsageError(formatted("unexpected argument '{}' (--help lists the options)", unknown.front()));
  }

  std::string help() const { return app_.help(); }

 private:
  void add(const Option& option, CommandLine& line) {
    const bool flag = option.kind == Option::Kind::flag,
               many = option.positional && option.kind == Option::Kind::list;
    const auto remember = [&line, many, name = option.name](const CLI::results_t& values) {
      line.given.emplace_back(name, many ? joined(values, Paths::separator) : values.back());
      return true;
    };
    CLI::Option* added =
        app_.add_option((option.positional ? "" : "--") + option.name, remember, help_of(option));
    added->group(option.positional ? "Positionals" : option.group);
    many ? added->expected(1, CLI::detail::expected_max_vector_size)->allow_extra_args()->take_all()
         : added->take_last();
    if (flag) {
      added->type_name("");  // normalized() gives it a value where its user does not
    } else {
      added->type_name(option.type);
      if (!option.positional && option.shows_value) added->default_str(option.get());
    }
  }

  CLI::App app_;
};

}  // namespace

const std::string* CommandLine::find(const std::string& option) const {
  const auto found =
      std::find_if(given.rbegin(), given.rend(), [&](const auto& pair) { return pair.first == option; });
  return found == given.rend() ? nullptr : &found->second;
}

CommandLine read_command_line(const ProgramInfo& program, const OptionTable& table,
                              const std::vector<std::string>& arguments) {
  CommandLine line;
  App(program, table, line).parse(normalized(arguments, table), line);
  return line;
}

std::string help_text(const ProgramInfo& program, const OptionTable& table) {
  CommandLine unused;
  return App(program, table, unused).help();
}

std::string version_text(const ProgramInfo& program) { return formatted("{} {}\n", program.name, version); }

bool parse_command_line(const ProgramInfo& program, OptionTable& table, int argc, char** argv, bool answers) {
  const CommandLine line = read_command_line(program, table, {argv + 1, argv + argc});
  if (!line.preset.empty()) table.set_from_file(find_preset(line.preset, presets_folder()));
  if (line.wants_help || line.wants_version) {
    if (answers) print("{}", line.wants_help ? help_text(program, table) : version_text(program));
    return false;
  }
  table.set(line.given);
  table.check_required();
  return true;
}

}  // namespace la
