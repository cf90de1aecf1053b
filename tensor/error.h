// Errors. Everything that a user can get wrong, and everything that a library or the system
// refuses, is thrown as an la::Error whose message names the value and what was expected. Programs
// catch it once, in main.
#pragma once

#include <stdexcept>

#include "tensor/format.h"
#include "tensor/text.h"

namespace la {

/// Its message is one printable line, whatever the names in it hold.
struct Error : std::runtime_error {
  explicit Error(std::string_view message) : std::runtime_error(printable(message)) {}
};

/// Throws an Error with a formatted message.
template <class... Args>
[[noreturn]] void fail(FormatText<std::type_identity_t<Args>...> text, const Args&... values) {
  throw Error(format_values(text, {FormatValue(values)...}));
}

/// Throws an Error with a formatted message unless `condition` holds. The arguments are evaluated either way.
template <class... Args>
void check(bool condition, FormatText<std::type_identity_t<Args>...> text, const Args&... values) {
  if (!condition) [[unlikely]]
    fail(text, values...);
}

}  // namespace la
