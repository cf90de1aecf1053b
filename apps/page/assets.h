// What a report's page consists of besides its data, as the build has put it into the program.
#pragma once

#include <string>
#include <string_view>

namespace la {

std::string_view page_template();
std::string_view page_style();
/// D3, under its license, and what we draw with it.
std::string_view page_library();
std::string_view page_library_license();
std::string page_script();

}  // namespace la
