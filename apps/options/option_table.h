// The options of a program, each declared once: the field that it sets, its name, group, range and meaning.
// Command lines, their help, preset files and the stored configuration of a run are all made from such a
// table, so that a new option is a field and a line here.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "apps/options/arguments.h"
#include "la/config.h"
#include "tensor/error.h"

namespace la {

// --- Values as text. Numbers have as many digits as it takes to read back the very same value. ---

/// Throw an Error that says what was expected.
void parse(const std::string& text, std::string& value);
void parse(const std::string& text, bool& value);
void parse(const std::string& text, int& value);
void parse(const std::string& text, int64_t& value);
void parse(const std::string& text, uint64_t& value);
void parse(const std::string& text, float& value);
void parse(const std::string& text, double& value);
void parse(const std::string& text, Color& value);
void parse(const std::string& text, TrainingTime& value);

/// The parts between commas, without the blanks around them; none of an empty text.
std::vector<std::string> split_list(const std::string& text);
template <class T>
void parse(const std::string& text, std::vector<T>& values) {
  values.clear();
  for (const std::string& part : split_list(text)) parse(part, values.emplace_back());
}

/// Files or folders, as many as stand on a command line. As one text, they are separated by what no path has in it.
struct Paths {
  std::vector<std::string> paths;
  static constexpr std::string_view separator{"\0", 1};
};
void parse(const std::string& text, Paths& value);

template <class E>
std::vector<std::string> names_of() {
  return {enum_names<E>.begin(), enum_names<E>.end()};
}

/// The place of the text among `values`; an Error that lists them, and proposes one, if it is none of them.
size_t find_value(const std::string& text, const std::vector<std::string>& values);

template <class E>
requires(std::is_enum_v<E>) void parse(const std::string& text, E& value) {
  value = static_cast<E>(find_value(text, names_of<E>()));
}

template <class T>
std::string to_text(const T& value) {
  if constexpr (std::is_same_v<T, Color>)
    return color_text(value);
  else
    return formatted("{}", value);
}
inline std::string to_text(const TrainingTime& time) { return time.str(); }
inline std::string to_text(const Paths& value) { return joined(value.paths, Paths::separator); }
template <class T>
std::string to_text(const std::vector<T>& values) {
  return joined(values, ", ");
}

template <class T>
constexpr bool is_list = false;
template <class T>
constexpr bool is_list<std::vector<T>> = true;
template <>
inline constexpr bool is_list<Paths> = true;

// --- Ranges ---

struct Range {
  double low, high;
  bool low_included = true, high_included = true;

  bool contains(double x) const {
    return (low_included ? x >= low : x > low) && (high_included ? x <= high : x < high);
  }
  std::string text() const;
};

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr Range at_least(double low) { return {low, infinity}; }
constexpr Range above(double low) { return {low, infinity, false}; }
constexpr Range above(double low, double at_most) { return {low, at_most, false}; }
constexpr Range between(double low, double high) { return {low, high}; }
constexpr Range share{0, 1};
constexpr Range below_one{0, 1, true, false};

template <class T>
void check_range(const T& value, const Range& range) {
  check(range.contains(static_cast<double>(value)), "must be {}, got {}", range.text(), value);
}
inline void check_range(const TrainingTime& time, const Range& range) { check_range(time.count, range); }
template <class T>
void check_range(const std::vector<T>& values, const Range& range) {
  for (const T& value : values) check_range(value, range);
}

// --- The table ---

struct Option {
  enum class Kind { text, number, flag, list };
  enum class Stored { yes, no };  // no: it says what to do now, and does not belong to a configuration
  /// free: may change when a run is continued, though last bits may differ
  enum class OnResume { same, free };

  std::string group, name, help;
  std::string type;   // for the help: "INT", or the values that there are
  std::string range;  // in words; empty if there is none
  Kind kind;
  std::function<std::string()> get;
  /// Throws an Error that says what was expected.
  std::function<void(const std::string&)> set;
  Stored stored = Stored::yes;
  OnResume on_resume = OnResume::same;
  bool positional = false;  // stands without its name
  bool required = false;
  bool shows_value = true;  // in the help
  bool given = false;       // on the command line or in a preset
};

/// It reads and writes the fields that it was given, which must outlive it.
class OptionTable {
 public:
  /// The heading in the help of the options that are added from here on.
  void group(const char* name) { group_ = name; }

  /// A flag, or a value that is free or one of an enum.
  template <class T>
  Option& add(const char* name, T& field, const char* help) {
    return append(
        name, field, help, type_of<T>(), [](const T&) {}, "");
  }
  template <class T>
  Option& add(const char* name, T& field, const Range& range, const char* help) {
    return append(
        name, field, help, type_of<T>(), [range](const T& v) { check_range(v, range); }, range.text());
  }
  /// A text that is one of `values`.
  Option& add(const char* name, std::string& field, const std::vector<std::string>& values,
              const char* help) {
    return append(
        name, field, help, joined(values, "|"), [values](const std::string& v) { find_value(v, values); },
        "");
  }

  const std::vector<Option>& options() const& { return options_; }
  void options() const&& = delete;
  /// Null if there is none of that name.
  const Option* find(const std::string& name) const;
  std::vector<std::string> names() const;
  /// Whether the option, of this name, was set.
  bool given(const std::string& name) const;

  /// Sets options, in their order, and notes that they were given. A UsageError that names the option.
  void set(const std::string& name, const std::string& value);
  void set(const std::vector<std::pair<std::string, std::string>>& given);
  /// Sets what a preset file says. A UsageError that names file, line and option.
  void set_from_file(const std::string& path);
  /// A UsageError for what is required and was not given.
  void check_required() const;

 private:
  template <class T>
  static std::string type_of() {
    if constexpr (std::is_enum_v<T>) return joined(names_of<T>(), "|");
    if constexpr (std::is_same_v<T, std::string> || std::is_same_v<T, Color>) return "TEXT";
    if constexpr (std::is_same_v<T, Paths>) return "PATH PATH ...";
    if constexpr (std::is_same_v<T, TrainingTime>) return "TIME";
    if constexpr (std::is_same_v<T, std::vector<TrainingTime>>) return "TIME,TIME,...";
    if constexpr (std::is_same_v<T, std::vector<std::string>>) return "TEXT,TEXT,...";
    if constexpr (is_list<T>) return "NUMBER,NUMBER,...";
    return std::is_floating_point_v<T> ? "FLOAT" : "INT";
  }

  template <class T>
  static constexpr Option::Kind kind_of() {
    if (std::is_same_v<T, bool>) return Option::Kind::flag;
    if (is_list<T>) return Option::Kind::list;
    return std::is_arithmetic_v<T> ? Option::Kind::number : Option::Kind::text;
  }

  template <class T, class Check>
  Option& append(const char* name, T& field, const char* help, std::string type, Check check_value,
                 std::string range) {
    const auto set = [&field, check_value](const std::string& text) {
      T value{};
      parse(text, value);
      check_value(value);
      field = value;
    };
    return options_.emplace_back(Option{.group = group_,
                                        .name = name,
                                        .help = help,
                                        .type = std::move(type),
                                        .range = std::move(range),
                                        .kind = kind_of<T>(),
                                        .get = [&field] { return to_text(field); },
                                        .set = set});
  }

  Option* find_option(const std::string& name);

  std::string group_ = "Options";
  std::vector<Option> options_;
};

}  // namespace la
