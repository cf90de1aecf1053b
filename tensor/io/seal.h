// A last line that shows whether a text file is whole and as it was written: "# end, CRC-32 1a2b3c4d".
#pragma once

#include <string>
#include <string_view>

namespace la {

/// The text, which ends with a line's end, with that line.
std::string sealed(std::string_view text);

struct Unsealed {
  std::string_view text;  // without the line
  bool intact = false;    // false if the line is missing, or belongs to another text
};
Unsealed unsealed(std::string_view text);

}  // namespace la
