#include "apps/options/arguments.h"

// CLI/App.hpp first
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <set>

#include "apps/program.h"
#include "apps/run/progress.h"
#include "tensor/format.h"
#include "tensor/version.h"

namespace la {
namespace {

namespace fs = std::filesystem;

/// How many letters must be changed, added, left out or exchanged with their neighbors to make one word of
/// the other (Damerau and Levenshtein's distance, each letter touched once).
size_t distance(const std::string& a, const std::string& b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i)
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        d[i][j] = i + j;
        continue;
      }
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  return d[a.size()][b.size()];
}

/// Words of other programs, and ours for them.
const std::map<std::string, std::string> synonyms = {{"gpu", "cuda"},
                                                     {"float32", "f32"},
                                                     {"fp32", "f32"},
                                                     {"bfloat16", "bf16"},
                                                     {"lr", "learning-rate"},
                                                     {"batch-size", "batch"},
                                                     {"workers", "loader-threads"},
                                                     {"num-workers", "loader-threads"},
                                                     {"wd", "weight-decay"},
                                                     {"arch", "network"},
                                                     {"model", "network"},
                                                     {"nce-k", "noise"},
                                                     {"output", "out"},
                                                     {"val-data", "val"},
                                                     {"tau", "temperature"}};

bool contains(const std::vector<std::string>& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back(name);
  return names;
}

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

}  // namespace

std::string did_you_mean(const std::string& word, const std::vector<std::string>& known) {
  std::string best;
  size_t least = std::max<size_t>(1, (word.size() + 1) / 3) + 1;
  if (const auto synonym = synonyms.find(word); synonym != synonyms.end() && contains(known, synonym->second))
    return formatted("; did you mean '{}'?", synonym->second);
  for (const std::string& candidate : known) {
    constexpr size_t telling = 3;  // letters of a beginning
    const bool beginning = word.size() >= telling && candidate.starts_with(word);
    const size_t changes = beginning ? 1 : distance(word, candidate);
    if (changes >= least) continue;
    least = changes;
    best = candidate;
  }
  return best.empty() ? "" : formatted("; did you mean '{}'?", best);
}

std::string option_name(const std::string& given, const std::vector<std::string>& known) {
  std::string name = given;
  std::replace(name.begin(), name.end(), '_', '-');
  const auto synonym = synonyms.find(name);
  const bool other_word =
      !contains(known, name) && synonym != synonyms.end() && contains(known, synonym->second);
  return other_word ? synonym->second : name;
}

std::vector<std::string> normalized(CLI::App& app, const std::vector<std::string>& arguments) {
  const std::vector<std::string> known = option_names(app);
  std::vector<std::string> result;
  std::set<std::string> seen;
  for (const std::string& argument : arguments) {
    const bool is_option = argument.size() > 2 && argument.starts_with("--");
    if (!is_option) {
      result.push_back(argument);
      continue;
    }
    const size_t end = std::min(argument.find('='), argument.size());
    const std::string given = argument.substr(2, end - 2), name = option_name(given, known);
    if (!contains(known, name))
      throw UsageError(formatted("there is no option --{}{} (--help lists the options)", given,
                                 did_you_mean(name, known)));
    CLI::Option* const option = app.get_option("--" + name);
    if (option->get_items_expected_max() <= 1) {
      option->take_last();
      if (!seen.insert(name).second) print(stderr, "--{} stands twice: the last one counts\n", name);
    }
    result.push_back("--" + name + argument.substr(end));
  }
  return result;
}

std::string presets_folder() {
  std::error_code ignored;  // without /proc there is no such folder
  return fs::read_symlink("/proc/self/exe", ignored).parent_path() / "presets";
}

std::string find_preset(const std::string& name, const std::string& presets) {
  std::error_code ignored;
  if (name.find('/') != std::string::npos || fs::exists(name, ignored)) return name;
  std::vector<std::string> names;
  for (fs::recursive_directory_iterator at(presets, ignored), end; !ignored && at != end;
       at.increment(ignored)) {
    if (at->path().extension() != ".toml") continue;
    if (at->path().stem() == name || at->path().filename() == name) return at->path();
    names.push_back(at->path().stem());
  }
  std::sort(names.begin(), names.end());
  throw UsageError(formatted("there is no preset '{}': neither a file, nor one of {}{}", name,
                             joined(names, ", "), did_you_mean(name, names)));
}

std::string version_text(const char* program) { return formatted("{} {}\n", program, version); }

void add_help(CLI::App& app) {
  app.option_defaults()->group("Options");
  app.formatter(std::make_shared<Help>());
  app.set_help_flag("-h,--help", "print this and end");
  app.set_version_flag("--version", version_text(app.get_name().c_str()), "print the version and end");
}

}  // namespace la
