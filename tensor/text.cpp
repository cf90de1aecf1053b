#include "tensor/text.h"

#include <charconv>
#include <cstdint>

namespace la {
namespace {

/// A character of UTF-8.
struct Character {
  size_t bytes;   // 1 where it is none
  uint32_t code;  // invalid where it is none
};
constexpr uint32_t invalid = UINT32_MAX;

Character first_character(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  if (byte(0) < 0x80) return {1, byte(0)};
  const size_t bytes = byte(0) >= 0xf0 ? 4 : byte(0) >= 0xe0 ? 3 : 2;
  if (byte(0) < 0xc2 || byte(0) > 0xf4 || text.size() < bytes) return {1, invalid};
  uint32_t code = byte(0) & (0x7fu >> bytes);
  for (size_t i = 1; i < bytes; ++i) {
    if (byte(i) >> 6 != 2) return {1, invalid};
    code = code << 6 | (byte(i) & 0x3fu);
  }
  constexpr uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xd800 && code <= 0xdfff;
  return code < least[bytes] || code > 0x10ffff || surrogate ? Character{1, invalid} : Character{bytes, code};
}

bool is_harmless(uint32_t code) {
  const bool control = code < 0x20 || (code >= 0x7f && code < 0xa0);
  const bool direction = (code >= 0x200e && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
                         (code >= 0x2066 && code <= 0x2069) || code == 0x61c;
  return code != invalid && !control && !direction;
}

void append_hexadecimal(std::string& to, std::string_view bytes) {
  constexpr char digits[] = "0123456789abcdef";
  for (const char c : bytes) {
    const auto byte = static_cast<uint8_t>(c);
    to += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
  }
}

std::string with_escapes(std::string_view text, bool backslash) {
  std::string result;
  while (!text.empty()) {
    const Character c = first_character(text);
    const std::string_view bytes = text.substr(0, c.bytes);
    if (c.code == '\n')
      result += "\\n";
    else if (c.code == '\r')
      result += "\\r";
    else if (c.code == '\t')
      result += "\\t";
    else if (c.code == '\\' && backslash)
      result += "\\\\";
    else if (is_harmless(c.code))
      result += bytes;
    else
      append_hexadecimal(result, bytes);
    text.remove_prefix(c.bytes);
  }
  return result;
}

}  // namespace

std::string printable(std::string_view text) { return with_escapes(text, false); }
std::string escaped(std::string_view bytes) { return with_escapes(bytes, true); }

std::string unescaped(std::string_view text) {
  std::string bytes;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      bytes += text[i];
      continue;
    }
    const char c = text[++i];
    uint8_t byte = 0;
    const char* const digits = text.data() + i + 1;
    if (c == 'x' && i + 2 < text.size() && std::from_chars(digits, digits + 2, byte, 16).ptr == digits + 2) {
      bytes += static_cast<char>(byte);
      i += 2;
    } else {
      bytes += c == 'n' ? '\n' : c == 'r' ? '\r' : c == 't' ? '\t' : c;
    }
  }
  return bytes;
}

bool is_utf8(std::string_view bytes) {
  while (!bytes.empty()) {
    const Character c = first_character(bytes);
    if (c.code == invalid) return false;
    bytes.remove_prefix(c.bytes);
  }
  return true;
}

std::string counted(int64_t count, std::string_view one, std::string_view many) {
  std::string text = std::to_string(count) + ' ';
  if (count == 1) return text.append(one);
  return many.empty() ? text.append(one) + 's' : text.append(many);
}

}  // namespace la
