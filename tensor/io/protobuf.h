// Writing messages in the wire format of Protocol Buffers (https://protobuf.dev/programming-guides/encoding):
// each field is its number with a wire type, then a value.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace la {

class Message {
 public:
  Message& integer(int field, int64_t value) {
    key(field, varint_type);
    varint(static_cast<uint64_t>(value));
    return *this;
  }
  Message& real(int field, float value) {
    key(field, four_bytes_type);
    append(value);
    return *this;
  }
  Message& real64(int field, double value) {
    key(field, eight_bytes_type);
    append(value);
    return *this;
  }
  /// A text, raw data, or another message.
  Message& text(int field, std::string_view value) {
    key(field, length_type);
    varint(value.size());
    bytes_ += value;
    return *this;
  }
  Message& message(int field, const Message& value) { return text(field, value.bytes_); }

  const std::string& bytes() const { return bytes_; }

 private:
  static constexpr uint64_t varint_type = 0, eight_bytes_type = 1, length_type = 2, four_bytes_type = 5;

  void key(int field, uint64_t type) { varint(static_cast<uint64_t>(field) << 3 | type); }
  template <class T>
  void append(T value) {
    char bytes[sizeof value];  // the machines that we run on store them as the format asks: low byte first
    std::memcpy(bytes, &value, sizeof value);
    bytes_.append(bytes, sizeof value);
  }
  /// Seven bits a byte, low ones first; the eighth says that more follow.
  void varint(uint64_t value) {
    for (; value >= 128; value >>= 7) bytes_ += static_cast<char>(value | 128);
    bytes_ += static_cast<char>(value);
  }

  std::string bytes_;
};

}  // namespace la
