// PNM: the six kinds of portable anymaps (netpbm's pbm, pgm and ppm, as text and as bytes).
#include <algorithm>

#include "data/codecs/kinds.h"
#include "tensor/format.h"

namespace la {
namespace {

bool is_blank(uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

class PnmReader {
 public:
  explicit PnmReader(Bytes file) : rest_(file.subspan(2)), kind_(file[1] - '0') {
    width = number();
    height = number();
    largest = bits() ? 1 : number();
    constexpr int most = 65535;
    if (largest < 1 || largest > most)
      throw BadPicture(formatted("its largest value is {}, expected 1 to {}", largest, most));
    if (!text()) take();  // one blank, whatever follows
  }

  bool text() const { return kind_ <= 3; }
  bool bits() const { return kind_ == 1 || kind_ == 4; }
  int channels() const { return kind_ == 3 || kind_ == 6 ? 3 : 1; }

  /// The next row, its values scaled to 0 ... 255.
  void read_row(uint8_t* values, int64_t count) {
    if (kind_ == 4) {
      for (int64_t i = 0, byte = 0; i < count; ++i) {
        if (i % 8 == 0) byte = take();
        values[i] = byte >> (7 - i % 8) & 1 ? 0 : 255;  // 1 is black
      }
      return;
    }
    for (int64_t i = 0; i < count; ++i) values[i] = scaled(next_value());
  }

  int height, width, largest;

 private:
  int take() {
    if (rest_.empty()) throw BadPicture("it ends too early");
    const int byte = rest_.front();
    rest_ = rest_.subspan(1);
    return byte;
  }
  void skip_blanks() {
    while (!rest_.empty() && (is_blank(rest_.front()) || rest_.front() == '#'))
      if (take() == '#')
        while (!rest_.empty() && rest_.front() != '\n' && rest_.front() != '\r') take();
  }
  int number() {
    skip_blanks();
    constexpr int64_t most = INT32_MAX;
    int64_t value = 0;
    const size_t before = rest_.size();
    for (; !rest_.empty() && rest_.front() >= '0' && rest_.front() <= '9'; take())
      value = std::min(most, 10 * value + rest_.front() - '0');
    if (rest_.empty() && before == 0) throw BadPicture("it ends too early");
    if (rest_.size() == before) throw BadPicture("it has no number where one was expected");
    return static_cast<int>(value);
  }
  int next_value() {
    if (kind_ == 1) {  // digits may follow one another without blanks
      skip_blanks();
      const int digit = take();
      if (digit != '0' && digit != '1') throw BadPicture("it has no 0 or 1 where one was expected");
      return digit == '1' ? 0 : 1;
    }
    if (text()) return number();
    const int high = take();
    return largest < 256 ? high : high << 8 | take();
  }
  uint8_t scaled(int value) const {
    if (value > largest)
      throw BadPicture(formatted("it has the value {}, beyond its largest, {}", value, largest));
    return static_cast<uint8_t>((value * 255 + largest / 2) / largest);
  }

  Bytes rest_;
  int kind_;  // the digit behind the P
};

}  // namespace

bool is_pnm(Bytes file) {
  return file.size() > 2 && file[0] == 'P' && file[1] >= '1' && file[1] <= '6' &&
         (is_blank(file[2]) || file[2] == '#');
}

StoredPicture decode_pnm(Bytes file, const PixelLimit& limit) {
  PnmReader reader(file);
  limit.check(reader.height, reader.width);
  const NewPicture made(reader.height, reader.width, 3);
  std::vector<uint8_t> values(static_cast<size_t>(reader.width) * static_cast<size_t>(reader.channels()));
  for (int y = 0; y < reader.height; ++y) {
    reader.read_row(values.data(), static_cast<int64_t>(values.size()));
    if (reader.channels() == 3)
      std::copy(values.begin(), values.end(), made.row(y));
    else
      for (size_t x = 0; x < values.size(); ++x) std::fill_n(made.row(y) + 3 * x, 3, values[x]);
  }
  return {.picture = made.picture};
}

}  // namespace la
