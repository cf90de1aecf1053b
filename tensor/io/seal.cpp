#include "tensor/io/seal.h"

#include "tensor/format.h"
#include "tensor/io/checksum.h"

namespace la {
namespace {

constexpr std::string_view key = "# end, CRC-32 ";

std::string seal_of(std::string_view text) {
  return formatted("{}{:08x}\n", key, crc32_of(text.data(), text.size()));
}

}  // namespace

std::string sealed(std::string_view text) { return std::string(text) + seal_of(text); }

Unsealed unsealed(std::string_view text) {
  const size_t at = text.rfind(key);
  if (at == text.npos) return {text, false};
  const std::string_view before = text.substr(0, at);
  return {before, text.substr(at) == seal_of(before)};
}

}  // namespace la
