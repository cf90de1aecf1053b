// CSV: a table as text (RFC 4180): fields with commas between, in quotes where they hold commas, quotes or ends of lines.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace la {

/// The values of a column: numbers where all of its fields are, else its texts. An empty field among numbers is a NaN.
/// Identifiers remain texts: 007, and integers that a double would round.
using ColumnValues = std::variant<std::vector<int64_t>, std::vector<double>, std::vector<std::string>>;

struct CsvTable {
  std::string path;
  std::vector<std::string> columns;            // their names, of the first line; several may have none
  std::vector<std::vector<std::string>> rows;  // a field for each column
  std::vector<int64_t> lines;                  // of the file, from 1, in which each row begins

  /// The number of the column of that name, or -1.
  int64_t find(const std::string& name) const;
  std::vector<std::string> texts(int64_t column) const;
  ColumnValues values(int64_t column) const;
};

/// Reads a table in UTF-8, whose lines may end as on any system; those without any character are left out. Whatever the bytes are, the
/// result is a table with fields for all of its columns, whose names differ where they have one, or an Error that names file and line.
CsvTable read_csv(const std::string& path);

/// A field as it is written.
std::string csv_field(const std::string& text);

}  // namespace la
