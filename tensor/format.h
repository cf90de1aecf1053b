// Text with values in it. The placeholders are those of fmt and std::format: formatted("{} of {:.1f}", n, x).
// fmt itself is included by format.cpp alone: its templates, made anew in each source, took a third of the
// time to compile the whole.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdio>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

namespace la {

/// A value to be formatted: a number, a truth value, a character or text; or what has a str() or a name_of().
class FormatValue {
 public:
  using Value = std::variant<bool, char, long long, unsigned long long, float, double, std::string>;

  template <class T>
  FormatValue(const T& value) : value_(simplified(value)) {}
  const Value& value() const { return value_; }

 private:
  template <class T>
  static Value simplified(const T& value) {
    if constexpr (std::same_as<T, bool> || std::same_as<T, char> || std::floating_point<T>) {
      return value;
    } else if constexpr (std::signed_integral<T>) {
      return static_cast<long long>(value);
    } else if constexpr (std::unsigned_integral<T>) {
      return static_cast<unsigned long long>(value);
    } else if constexpr (std::convertible_to<const T&, std::string_view>) {
      return std::string(std::string_view(value));
    } else if constexpr (requires { name_of(value); }) {
      return std::string(name_of(value));
    } else {
      return std::string(value.str());
    }
  }

  Value value_;
};

using FormatValues = std::initializer_list<FormatValue>;

/// A text with as many placeholders as there are Args, which the compiler checks.
template <class... Args>
class FormatText {
 public:
  template <std::convertible_to<std::string_view> T>
  consteval FormatText(const T& text) : text_(text) {
    if (placeholders(text_) != sizeof...(Args)) throw "the text has not as many {} as there are values";
  }
  constexpr operator std::string_view() const { return text_; }

 private:
  static consteval size_t placeholders(std::string_view text) {
    size_t count = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '{') continue;
      const char next = i + 1 < text.size() ? text[i + 1] : ' ';
      if (next == '{') {
        ++i;
      } else if (next >= '0' && next <= '9') {  // {1}: the value of that number
        const auto needed = static_cast<size_t>(next - '0') + 1;
        count = needed > count ? needed : count;
      } else {
        ++count;
      }
    }
    return count;
  }

  std::string_view text_;
};

/// The same for a text that is known only now. Throws where the text and the values do not fit.
std::string format_values(std::string_view text, FormatValues values);

/// The text with the values in its placeholders.
template <class... Args>
std::string formatted(FormatText<std::type_identity_t<Args>...> text, const Args&... values) {
  return format_values(text, {FormatValue(values)...});
}

/// The values of a range, with `separator` between them.
template <class Range>
std::string joined(const Range& range, std::string_view separator) {
  std::string text;
  bool first = true;
  for (const auto& value : range) {
    if (!first) text += separator;
    text += formatted("{}", value);
    first = false;
  }
  return text;
}

/// Writes text to a file; throws where that fails.
void write_text(std::FILE* file, std::string_view text);

/// Writes formatted text, by default to stdout.
template <class... Args>
void print(std::FILE* file, FormatText<std::type_identity_t<Args>...> text, const Args&... values) {
  write_text(file, format_values(text, {FormatValue(values)...}));
}
template <class... Args>
void print(FormatText<std::type_identity_t<Args>...> text, const Args&... values) {
  print(stdout, text, values...);
}

}  // namespace la
