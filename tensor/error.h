// Errors. Everything that a user can get wrong, and everything that a library or the system
// refuses, is thrown as an la::Error whose message names the value and what was expected. Programs
// catch it once, in main.
#pragma once

// GCC 12 sees an overflow in fmt 9's parser of format specifications that is not there.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wstringop-overflow"
#include <fmt/format.h>
#pragma GCC diagnostic pop

#include <stdexcept>

#include "tensor/text.h"

namespace la {

/// Its message is one printable line, whatever the names in it hold.
struct Error : std::runtime_error {
  explicit Error(std::string_view message) : std::runtime_error(printable(message)) {}
};

/// Throws an Error with a formatted message.
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

/// Throws an Error with a formatted message unless `condition` holds. The arguments are evaluated either way.
template <class... Args>
void check(bool condition, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) [[unlikely]]
    fail(format, std::forward<Args>(args)...);
}

}  // namespace la
