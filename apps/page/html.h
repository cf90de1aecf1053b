// What HTML files are made of.
#pragma once

#include <string>
#include <string_view>

namespace la {

std::string base64(std::string_view bytes);
/// As the text of an element or the value of an attribute.
std::string escaped_html(std::string_view text);

}  // namespace la
