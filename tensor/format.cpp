#include "tensor/format.h"

// GCC 12 sees an overflow in fmt 9's parser of format specifications that is not there.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wstringop-overflow"
#include <fmt/args.h>
#include <fmt/format.h>
#pragma GCC diagnostic pop

namespace la {

std::string format_values(std::string_view text, FormatValues values) {
  fmt::dynamic_format_arg_store<fmt::format_context> store;
  for (const FormatValue& value : values)
    std::visit([&](const auto& v) { store.push_back(v); }, value.value());
  return fmt::vformat(text, store);
}

void write_text(std::FILE* file, std::string_view text) { fmt::print(file, "{}", text); }

}  // namespace la
