#include "data/codecs/coded_size.h"

#include "data/codecs/boxes.h"

namespace la {
namespace {

/// Reads numbers of any length in bits, the most significant first; a BadPicture beyond the end.
class BitReader {
 public:
  explicit BitReader(Bytes bytes) : bytes_(bytes) {}

  int64_t bits(int count) {
    int64_t value = 0;
    for (; count > 0; --count) {
      if (at_ / 8 >= bytes_.size()) throw BadPicture("it cannot be decoded: a header goes beyond its end");
      value = value << 1 | (bytes_[at_ / 8] >> (7 - at_ % 8) & 1);
      ++at_;
    }
    return value;
  }
  bool flag() { return bits(1) != 0; }
  void skip(int count) {
    for (; count > 0; --count) flag();
  }
  /// After as many zeros as it has bits behind its leading one: AV1's uvlc(), H.265's ue(v).
  int64_t golomb() {
    int zeros = 0;
    while (!flag())
      if (++zeros > 31) throw BadPicture("it cannot be decoded: a number in a header is too large");
    return (int64_t{1} << zeros) - 1 + bits(zeros);
  }

 private:
  Bytes bytes_;
  size_t at_ = 0;  // in bits
};

/// AV1's sequence_header_obu() up to the largest size of a frame (5.5.1 to 5.5.4).
CodedSizes read_sequence_header(Bytes unit, const PixelLimit& limit) {
  BitReader reader(unit);
  reader.skip(3 + 1);  // profile, still picture
  const bool reduced = reader.flag();
  if (reduced) {
    reader.skip(5);  // level
  } else {
    bool has_decoder_model = false;
    int delay_bits = 0;
    if (reader.flag()) {  // timing
      reader.skip(32 + 32);
      if (reader.flag()) reader.golomb();
      has_decoder_model = reader.flag();
      if (has_decoder_model) {
        delay_bits = static_cast<int>(reader.bits(5)) + 1;
        reader.skip(32 + 5 + 5);
      }
    }
    const bool has_display_delay = reader.flag();
    for (int64_t points = reader.bits(5) + 1; points > 0; --points) {
      reader.skip(12);
      constexpr int last_level_without_tier = 7;
      if (reader.bits(5) > last_level_without_tier) reader.skip(1);
      if (has_decoder_model && reader.flag()) reader.skip(delay_bits + delay_bits + 1);
      if (has_display_delay && reader.flag()) reader.skip(4);
    }
  }
  const auto width_bits = static_cast<int>(reader.bits(4)) + 1,
             height_bits = static_cast<int>(reader.bits(4)) + 1;
  const int64_t width = reader.bits(width_bits) + 1, height = reader.bits(height_bits) + 1;
  limit.check(height, width);
  if (!reduced) return {1, 1, height, width};  // a frame may say that it is smaller
  return {height, width, height, width};
}

/// H.265's profile_tier_level(1, sub_layers) (7.3.3).
void skip_profile(BitReader& reader, int sub_layers) {
  constexpr int profile = 88, level = 8;
  reader.skip(profile + level);
  bool has_profile[8] = {}, has_level[8] = {};
  for (int i = 0; i < sub_layers; ++i) {
    has_profile[i] = reader.flag();
    has_level[i] = reader.flag();
  }
  if (sub_layers > 0) reader.skip(2 * (8 - sub_layers));
  for (int i = 0; i < sub_layers; ++i)
    reader.skip((has_profile[i] ? profile : 0) + (has_level[i] ? level : 0));
}

/// Whether a length is another one rounded up to whole blocks, of 64 pixels at most.
bool is_padded(int64_t padded, int64_t length) { return padded - length < 64; }

/// H.265's seq_parameter_set_rbsp() up to the window of it that is shown (7.3.2.2.1).
CodedSizes read_parameter_set(Bytes unit, const PixelLimit& limit) {
  BitReader reader(unit);
  reader.skip(4);  // of the video parameter set
  const auto sub_layers = static_cast<int>(reader.bits(3));
  reader.skip(1);
  skip_profile(reader, sub_layers);
  reader.golomb();  // its number
  const int64_t chroma = reader.golomb();
  if (chroma > 3) throw BadPicture("it cannot be decoded: a header has an unknown kind of chroma");
  if (chroma == 3) reader.skip(1);
  const int64_t padded_width = reader.golomb(), padded_height = reader.golomb();
  int64_t width = padded_width, height = padded_height;
  if (reader.flag()) {  // offsets of the window: left, right, top, bottom
    const int64_t columns = chroma == 1 || chroma == 2 ? 2 : 1, rows = chroma == 1 ? 2 : 1;
    for (int side = 0; side < 2; ++side) width -= columns * reader.golomb();
    for (int side = 0; side < 2; ++side) height -= rows * reader.golomb();
  }
  limit.check(height, width);
  if (!is_padded(padded_height, height) || !is_padded(padded_width, width))
    limit.check(padded_height, padded_width);
  return {height, width, height, width};
}

/// Without the bytes of 3 that keep two zeros from looking like the start of a unit (7.3.1.1).
std::vector<uint8_t> unescaped_unit(Bytes unit) {
  std::vector<uint8_t> bytes;
  int zeros = 0;
  for (const uint8_t byte : unit) {
    if (zeros >= 2 && byte == 3) {
      zeros = 0;
      continue;
    }
    zeros = byte == 0 ? zeros + 1 : 0;
    bytes.push_back(byte);
  }
  return bytes;
}

CodedSizes hevc_unit_sizes(Bytes unit, const PixelLimit& limit) {
  constexpr size_t header = 2;
  if (unit.size() < header) return {};
  constexpr int parameter_set = 33;
  const int type = unit[0] >> 1 & 63, layer = (unit[0] & 1) << 5 | unit[1] >> 3;
  if (type != parameter_set || layer != 0) return {};  // further layers are views that are not decoded
  return read_parameter_set(unescaped_unit(unit.subspan(header)), limit);
}

}  // namespace

CodedSizes av1_sizes(Bytes units, const PixelLimit& limit) {
  CodedSizes sizes;
  for (BoxReader reader(units); !reader.done();) {
    const uint64_t header = reader.number(1);
    const uint64_t type = header >> 3 & 15;
    const bool has_extension = (header & 4) != 0, has_size = (header & 2) != 0;
    if (has_extension) reader.take(1);
    uint64_t size = 0;
    for (int i = 0; has_size && i < 8; ++i) {  // leb128()
      const uint64_t byte = reader.number(1);
      size |= (byte & 127) << (7 * i);
      if (byte < 128) break;
    }
    const Bytes unit = has_size ? reader.take(size) : reader.take_all();
    constexpr uint64_t sequence_header = 1;
    if (type == sequence_header) sizes.include(read_sequence_header(unit, limit));
  }
  return sizes;
}

CodedSizes hevc_sizes(Bytes units, const PixelLimit& limit) {
  CodedSizes sizes;
  for (BoxReader reader(units); !reader.done();)
    sizes.include(hevc_unit_sizes(reader.take(reader.number(4)), limit));
  return sizes;
}

CodedSizes hevc_configuration_sizes(Bytes box, const PixelLimit& limit) {
  CodedSizes sizes;
  BoxReader reader(box);
  reader.take(22);  // what decoders are told of the whole
  for (uint64_t arrays = reader.number(1); arrays > 0; --arrays) {
    reader.take(1);  // the kind of the units, which say it themselves
    for (uint64_t count = reader.number(2); count > 0; --count)
      sizes.include(hevc_unit_sizes(reader.take(reader.number(2)), limit));
  }
  return sizes;
}

}  // namespace la
