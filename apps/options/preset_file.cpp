#include "apps/options/preset_file.h"

#include <charconv>
#include <filesystem>
#include <map>

#include "tensor/error.h"
#include "tensor/io/files.h"

namespace la {
namespace {

constexpr std::string_view blanks = " \t\r";

bool is_key_character(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_'; }

void skip_blanks(std::string_view& rest) {
  rest.remove_prefix(std::min(rest.find_first_not_of(blanks), rest.size()));
}

/// Takes the characters before `end` off the front.
std::string take(std::string_view& rest, size_t end) {
  const std::string taken(rest.substr(0, end));
  rest.remove_prefix(taken.size());
  return taken;
}

/// Takes "\n", "\u0007" and the like off the front, and appends the character that it stands for.
void take_escape(std::string_view& rest, std::string& text) {
  static const std::map<char, char> escapes = {{'"', '"'},  {'\\', '\\'}, {'n', '\n'}, {'t', '\t'},
                                               {'r', '\r'}, {'b', '\b'},  {'f', '\f'}};
  check(rest.size() >= 2, "the text has no closing quote");
  if (const auto found = escapes.find(rest[1]); found != escapes.end()) {
    text += found->second;
    rest.remove_prefix(2);
    return;
  }
  unsigned code = 0;
  const bool is_code = rest[1] == 'u' && rest.size() >= 6 &&
                       std::from_chars(rest.data() + 2, rest.data() + 6, code, 16).ptr == rest.data() + 6;
  check(is_code && code < 0x80, "unknown escape '{}' in a text", rest.substr(0, 2));
  text += static_cast<char>(code);
  rest.remove_prefix(6);
}

std::string take_text(std::string_view& rest) {
  const char quote = rest.front();
  rest.remove_prefix(1);
  std::string text;
  while (!rest.empty() && rest.front() != quote) {
    if (quote == '"' && rest.front() == '\\')
      take_escape(rest, text);
    else
      text += take(rest, 1);
  }
  check(!rest.empty(), "the text has no closing quote");
  rest.remove_prefix(1);
  return text;
}

/// The elements, with commas between them.
std::string take_list(std::string_view& rest) {
  rest.remove_prefix(1);
  std::string list;
  while (!rest.empty() && rest.front() != ']')
    list += rest.front() == '"' || rest.front() == '\'' ? take_text(rest) : take(rest, 1);
  check(!rest.empty(), "the list has no closing bracket");
  rest.remove_prefix(1);
  return list;
}

std::string take_value(std::string_view& rest) {
  check(!rest.empty() && rest.front() != '#', "there is no value after the '='");
  if (rest.front() == '"' || rest.front() == '\'') return take_text(rest);
  if (rest.front() == '[') return take_list(rest);
  return take(rest, rest.find_first_of(" \t\r#"));
}

PresetEntry parse_line(std::string_view rest, int line) {
  PresetEntry entry{{}, {}, line};
  while (!rest.empty() && is_key_character(rest.front())) entry.key += take(rest, 1);
  skip_blanks(rest);
  check(!entry.key.empty() && rest.starts_with('='), "expected `option = value`");
  rest.remove_prefix(1);
  skip_blanks(rest);
  entry.value = take_value(rest);
  skip_blanks(rest);
  check(rest.empty() || rest.front() == '#', "unexpected '{}' after the value", rest);
  return entry;
}

}  // namespace

std::vector<PresetEntry> parse_preset(std::string_view text) {
  std::vector<PresetEntry> entries;
  std::map<std::string, int> lines;
  for (int line = 1; !text.empty(); ++line) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view rest = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    skip_blanks(rest);
    if (rest.empty() || rest.front() == '#') continue;
    try {
      entries.push_back(parse_line(rest, line));
      const auto [first, is_new] = lines.emplace(entries.back().key, line);
      check(is_new, "'{}' stands in line {} already", first->first, first->second);
    } catch (const Error& error) {
      fail("line {}: {}", line, error.what());
    }
  }
  return entries;
}

std::string toml_text(std::string_view text) {
  std::string result = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\')
      result += {'\\', c};
    else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      result += formatted("\\u{:04x}", static_cast<unsigned>(c));
    else
      result += c;
  }
  return result + '"';
}

namespace {

void append_preset(const std::string& path, int depth, std::vector<PresetFileEntry>& entries) {
  constexpr int deepest = 8;
  check(depth <= deepest, "{}: presets stand on one another more than {} deep", path, deepest);
  std::vector<PresetEntry> own;
  try {
    own = parse_preset(read_file(path));
  } catch (const Error& error) {
    fail("{}: {}", path, error.what());
  }
  for (const PresetEntry& entry : own) {
    if (entry.key != "preset") {
      entries.push_back({entry, path});
      continue;
    }
    check(&entry == &own.front(), "{}: line {}: preset must come first", path, entry.line);
    append_preset(std::filesystem::path(path).replace_filename(entry.value), depth + 1, entries);
  }
}

}  // namespace

std::vector<PresetFileEntry> read_preset(const std::string& path) {
  std::vector<PresetFileEntry> entries;
  append_preset(path, 1, entries);
  return entries;
}

}  // namespace la
