#include "tensor/io/csv.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>
#include <string_view>
#include <system_error>

#include "tensor/error.h"
#include "tensor/io/files.h"

namespace la {
namespace {

/// Takes rows from the front of a text.
class Reader {
 public:
  Reader(const std::string& path, std::string_view text) : path_(path), rest_(text) {}

  bool at_end() const { return rest_.empty(); }
  int64_t line() const { return line_; }

  /// Takes a line without any character, if that comes next.
  bool take_empty_line() {
    const bool empty = take_line_end();
    line_ += empty ? 1 : 0;
    return empty;
  }

  /// The fields up to the end of the line.
  std::vector<std::string> row() {
    std::vector<std::string> fields;
    do fields.push_back(rest_.starts_with('"') ? quoted() : plain());
    while (take(","));
    check(at_end() || take_line_end(),
          "{}: line {}: has text behind the closing quote of a field, expected a comma", path_, line_);
    ++line_;
    return fields;
  }

 private:
  bool take_line_end() { return take("\r\n") || take("\n") || take("\r"); }

  bool take(std::string_view start) {
    if (!rest_.starts_with(start)) return false;
    rest_.remove_prefix(start.size());
    return true;
  }

  std::string plain() {
    const std::string_view field = rest_.substr(0, rest_.find_first_of(",\r\n"));
    rest_.remove_prefix(field.size());
    return std::string(field);
  }

  std::string quoted() {
    const int64_t begin = line_;
    std::string field;
    take("\"");
    for (;;) {
      const std::string_view part = rest_.substr(0, rest_.find('"'));
      check(part.size() < rest_.size(), "{}: line {}: a field's quote is not closed", path_, begin);
      field += part;
      line_ += lines_in(part);
      rest_.remove_prefix(part.size() + 1);
      if (!take("\"")) return field;
      field += '"';
    }
  }

  /// The ends of lines in it.
  static int64_t lines_in(std::string_view text) {
    int64_t count = 0;
    for (size_t i = 0; i < text.size(); ++i)
      if (text[i] == '\n' || (text[i] == '\r' && !text.substr(i + 1).starts_with('\n'))) ++count;
    return count;
  }

  const std::string& path_;
  std::string_view rest_;
  int64_t line_ = 1;
};

void check_text(const std::string& path, std::string_view text) {
  for (int64_t line = 1; !text.empty(); ++line) {
    const std::string_view first = text.substr(0, text.find('\n'));
    check(is_utf8(first), "{}: line {}: is not UTF-8, as tables are expected to be", path, line);
    check(first.find('\0') == std::string_view::npos, "{}: line {}: has a zero byte, expected text", path,
          line);
    text.remove_prefix(std::min(first.size() + 1, text.size()));
  }
}

void check_columns(const CsvTable& table) {
  for (size_t i = 0; i < table.columns.size(); ++i)
    check(table.columns[i].empty() || table.find(table.columns[i]) == static_cast<int64_t>(i),
          "{}: has two columns \"{}\", expected names that differ", table.path, printable(table.columns[i]));
}

/// Whether the text is a number, and which.
bool parse_number(const std::string& text, int64_t& number) {
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  return error == std::errc() && stop == end;
}
bool parse_number(const std::string& text, double& number) {
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc::result_out_of_range) return error == std::errc() && stop == end;
  number = std::strtod(text.c_str(), nullptr);  // too small is 0, or nearly
  return stop == end && std::isfinite(number);
}

/// The numbers of the fields, but for empty ones; nothing if one is no number, or too large for Number.
template <class Number>
std::optional<std::vector<Number>> numbers_of(const std::vector<std::string>& texts, Number of_empty) {
  std::vector<Number> numbers;
  for (const std::string& text : texts) {
    Number& number = numbers.emplace_back(of_empty);
    if (!text.empty() && !parse_number(text, number)) return std::nullopt;
  }
  return numbers;
}

/// Whether it is like 007, an identifier whose zeros count.
bool is_padded_integer(const std::string& text) {
  return text.size() > 1 && text.front() == '0' && text.find_first_not_of("0123456789") == std::string::npos;
}

/// Whether an integer has more digits than a double keeps, as that of a long identifier.
bool is_long_integer(const std::string& text) {
  constexpr size_t digits = std::numeric_limits<double>::digits10;
  return text.size() > digits && text.find_first_not_of("0123456789-") == std::string::npos;
}

}  // namespace

int64_t CsvTable::find(const std::string& name) const {
  const auto found = std::find(columns.begin(), columns.end(), name);
  return found == columns.end() ? -1 : found - columns.begin();
}

std::vector<std::string> CsvTable::texts(int64_t column) const {
  std::vector<std::string> result;
  for (const auto& row : rows) result.push_back(row.at(static_cast<size_t>(column)));
  return result;
}

ColumnValues CsvTable::values(int64_t column) const {
  std::vector<std::string> all = texts(column);
  const auto empty = std::count(all.begin(), all.end(), "");
  if (empty == std::ssize(all) || std::any_of(all.begin(), all.end(), is_padded_integer)) return all;
  if (empty == 0)
    if (auto integers = numbers_of<int64_t>(all, 0)) return *std::move(integers);
  if (std::any_of(all.begin(), all.end(), is_long_integer)) return all;
  if (auto numbers = numbers_of(all, std::numeric_limits<double>::quiet_NaN())) return *std::move(numbers);
  return all;
}

CsvTable read_csv(const std::string& path) {
  const std::string bytes = read_file(path);
  std::string_view text = bytes;
  constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";
  if (text.starts_with(byte_order_mark)) text.remove_prefix(byte_order_mark.size());
  check_text(path, text);
  CsvTable table{.path = path, .columns = {}, .rows = {}, .lines = {}};
  for (Reader reader(path, text); !reader.at_end();) {
    if (reader.take_empty_line()) continue;
    const int64_t line = reader.line();
    std::vector<std::string> row = reader.row();
    if (table.columns.empty()) {
      table.columns = std::move(row);
      check_columns(table);
      continue;
    }
    check(row.size() == table.columns.size(), "{}: line {}: has {}, expected {}, as the first line names",
          path, line, counted(std::ssize(row), "field"), table.columns.size());
    table.rows.push_back(std::move(row));
    table.lines.push_back(line);
  }
  check(!table.columns.empty(), "{}: is empty, expected a line with the names of columns", path);
  return table;
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

}  // namespace la
