// The version of the library and its programs.
#pragma once

namespace la {

constexpr const char* version = "0.9.0";

}  // namespace la
