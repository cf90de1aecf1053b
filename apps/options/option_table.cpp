#include "apps/options/option_table.h"

#include <charconv>

#include "apps/options/preset_file.h"
#include "apps/program.h"

namespace la {
namespace {

template <class T>
void parse_number(const std::string& text, T& value) {
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  constexpr bool whole = std::is_integral_v<T>;
  check(error != std::errc::result_out_of_range, "'{}' is too large or too small", text);
  check(error == std::errc() && stop == end, "expected a {}, got '{}'",
        !whole                ? "number"
        : std::is_signed_v<T> ? "whole number"
                              : "whole number of at least 0",
        text);
  if constexpr (!whole) check(std::isfinite(value), "expected a finite number, got '{}'", text);
}

std::string trimmed(std::string text) {
  constexpr const char* blanks = " \t";
  text.erase(0, std::min(text.find_first_not_of(blanks), text.size()));
  text.erase(text.find_last_not_of(blanks) + 1);
  return text;
}

}  // namespace

void parse(const std::string& text, std::string& value) { value = text; }
void parse(const std::string& text, bool& value) {
  check(text == "true" || text == "false", "expected true or false, got '{}'", text);
  value = text == "true";
}
void parse(const std::string& text, int& value) { parse_number(text, value); }
void parse(const std::string& text, int64_t& value) { parse_number(text, value); }
void parse(const std::string& text, uint64_t& value) { parse_number(text, value); }
void parse(const std::string& text, float& value) { parse_number(text, value); }
void parse(const std::string& text, double& value) { parse_number(text, value); }
void parse(const std::string& text, Color& value) { value = parse_color(text); }

void parse(const std::string& text, Paths& value) {
  value.paths.clear();
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(Paths::separator, begin), text.size());
    value.paths.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
}

void parse(const std::string& text, TrainingTime& value) {
  constexpr std::string_view unit = "steps";
  value.in_steps = text.ends_with(unit);
  parse_number(trimmed(value.in_steps ? text.substr(0, text.size() - unit.size()) : text), value.count);
}

std::vector<std::string> split_list(const std::string& text) {
  std::vector<std::string> parts;
  if (trimmed(text).empty()) return parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    parts.push_back(trimmed(text.substr(begin, end - begin)));
    begin = end + 1;
  }
  return parts;
}

size_t find_value(const std::string& text, const std::vector<std::string>& values) {
  const auto found = std::find(values.begin(), values.end(), text);
  check(found != values.end(), "expected one of {}, got '{}'{}", joined(values, ", "), text,
        did_you_mean(text, values));
  return static_cast<size_t>(found - values.begin());
}

std::string Range::text() const {
  const std::string lower = formatted("{} {}", low_included ? "at least" : "greater than", low);
  if (std::isinf(high)) return lower;
  return formatted("{} and {} {}", lower, high_included ? "at most" : "less than", high);
}

Option* OptionTable::find_option(const std::string& name) {
  const auto found =
      std::find_if(options_.begin(), options_.end(), [&](const Option& o) { return o.name == name; });
  return found == options_.end() ? nullptr : &*found;
}

const Option* OptionTable::find(const std::string& name) const {
  return const_cast<OptionTable*>(this)->find_option(name);
}

std::vector<std::string> OptionTable::names() const {
  std::vector<std::string> all;
  for (const Option& option : options_)
    if (!option.positional) all.push_back(option.name);
  return all;
}

bool OptionTable::given(const std::string& name) const {
  const Option* const option = find(name);
  return option != nullptr && option->given;
}

void OptionTable::set(const std::string& name, const std::string& value) try {
  Option& option = *find_option(name);
  option.set(value);
  option.given = true;
} catch (const Error& error) {
  throw UsageError(formatted("--{}: {}", name, error.what()));
}

void OptionTable::set(const std::vector<std::pair<std::string, std::string>>& given) {
  for (const auto& [name, value] : given) set(name, value);
}

void OptionTable::set_from_file(const std::string& path) try {
  for (const auto& [entry, file] : read_preset(path)) {
    Option* const option = find_option(option_name(entry.key, names()));
    if (option == nullptr || option->positional)
      fail("{}: line {}: there is no option '{}'{}", file, entry.line, entry.key,
           did_you_mean(entry.key, names()));
    try {
      option->set(entry.value);
      option->given = true;
    } catch (const Error& error) {
      fail("{}: line {}: {}: {}", file, entry.line, entry.key, error.what());
    }
  }
} catch (const Error& error) {
  throw UsageError(error.what());
}

void OptionTable::check_required() const {
  for (const Option& option : options_)
    if (option.required && !option.given)
      throw UsageError(formatted("{}{} is missing: {} (--help lists the options)",
                                 option.positional ? "" : "--", option.name, option.help));
}

}  // namespace la
