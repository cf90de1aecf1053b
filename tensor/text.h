// Text for terminals and for lines of files, from names that may hold any bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace la {

/// The text as one line that does nothing to a terminal but stand there: control characters, what is no UTF-8
/// and what changes the direction of writing become \n, \x1b and the like.
std::string printable(std::string_view text);

/// The same, and a backslash becomes two, so that unescaped() gives back the very bytes.
std::string escaped(std::string_view bytes);
std::string unescaped(std::string_view text);

bool is_utf8(std::string_view bytes);

/// "1 picture", "2 pictures"; `many` where it is not that with an s.
std::string counted(int64_t count, std::string_view one, std::string_view many = "");

}  // namespace la
