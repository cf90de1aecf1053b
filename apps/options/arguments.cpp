#include "apps/options/arguments.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "apps/program.h"
#include "tensor/format.h"

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
                                                     {"tau", "temperature"},
                                                     {"drops", "learning-rate-drops"}};

bool contains(const std::vector<std::string>& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

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

std::string presets_folder() {
  std::error_code ignored;  // without /proc there is no such folder
  const fs::path folder = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  const fs::path beside = folder / "presets", installed = folder.parent_path() / "share/la/presets";
  return fs::is_directory(beside, ignored) ? beside : installed;
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

std::string with_option_names(std::string_view message) {
  const auto is_name = [](std::string_view text) {
    return !text.empty() &&
           std::all_of(text.begin(), text.end(), [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; });
  };
  std::string text;
  for (size_t at = 0; at < message.size();) {
    const size_t begin = std::min(message.find('`', at), message.size());
    text += message.substr(at, begin - at);
    if (begin == message.size()) break;
    const size_t end = message.find('`', begin + 1);
    std::string name(message.substr(begin + 1, end == message.npos ? 0 : end - begin - 1));
    if (is_name(name)) {
      std::replace(name.begin(), name.end(), '_', '-');
      text += "--" + name;
      at = end + 1;
    } else {
      text += '`';
      at = begin + 1;
    }
  }
  return text;
}

}  // namespace la
