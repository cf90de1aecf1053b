// Preset files: a flat part of TOML, lines of `option = value` and comments. (CLI11 can read such files too,
// but takes '#' within a text for a comment, and lets malformed lines pass.)
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace la {

struct PresetEntry {
  std::string key;
  std::string value;  // a text without its quotes, a list without its brackets
  int line;
};

/// Reads `text`, the contents of a file. Throws an Error that names the line and what is wrong with it: not a
/// `key = value`, a text without end, a key that stands twice.
std::vector<PresetEntry> parse_preset(std::string_view text);

/// The entries of a preset file. Where its first is `preset = "FILE"`, beside this one, those of that file
/// come before the others, which win. Throws an Error that names the file and line.
struct PresetFileEntry {
  PresetEntry entry;
  std::string file;
};
std::vector<PresetFileEntry> read_preset(const std::string& path);

/// A text in quotes, as parse_preset reads it back.
std::string toml_text(std::string_view text);

}  // namespace la
