// Tables in CSV: what is read, what is refused, and which columns are numbers.
#include <doctest/doctest.h>

#include <cmath>

#include "tensor/error.h"
#include "tensor/io/csv.h"
#include "tests/temporary_folder.h"

using namespace la;

namespace {

using Rows = std::vector<std::vector<std::string>>;

CsvTable read(const std::string& bytes) {
  const TemporaryFolder folder;
  write_bytes(folder.file("t.csv"), bytes);
  return read_csv(folder.file("t.csv"));
}

/// The Error of a table, without the name of its folder.
std::string problem_of(const std::string& bytes) {
  try {
    read(bytes);
  } catch (const Error& error) {
    const std::string text = error.what();
    return text.substr(text.find("t.csv"));
  }
  return "none";
}

}  // namespace

TEST_CASE("a table in CSV is read: quotes, ends of lines of every system, a byte order mark") {
  const CsvTable table = read(
      "\xef\xbb\xbf"
      "a,b b,\"c,\"\"d\"\"\"\r\n1,,\"two\r\nlines, \xc3\xa4\"\r\n\r\n\"\",x\"y,\"\"\n4, 5 ,6");
  CHECK(table.columns == std::vector<std::string>{"a", "b b", "c,\"d\""});
  CHECK(table.rows == Rows{{"1", "", "two\r\nlines, \xc3\xa4"}, {"", "x\"y", ""}, {"4", " 5 ", "6"}});
  CHECK(table.lines == std::vector<int64_t>{2, 5, 6});
  CHECK(table.find("b b") == 1);
  CHECK(table.find("b") == -1);
  CHECK(table.texts(2) == std::vector<std::string>{"two\r\nlines, \xc3\xa4", "", "6"});

  CHECK(read("a\r1\r2\r").rows == Rows{{"1"}, {"2"}});          // as old systems end lines
  CHECK(read("a\n\n\"\"\n\r\n1\n").rows == Rows{{""}, {"1"}});  // a row is what has a character
  CHECK(read("a,b,,\n1,2,3,4\n").columns == std::vector<std::string>{"a", "b", "", ""});
  CHECK(read("a,b\n").rows.empty());
  CHECK(read("a,b\n1,\"2\"").rows == Rows{{"1", "2"}});
}

TEST_CASE("what is no table in CSV is refused with its line") {
  CHECK(problem_of("") == "t.csv: is empty, expected a line with the names of columns");
  CHECK(problem_of("a,b\n1,2\n3\n") == "t.csv: line 3: has 1 field, expected 2, as the first line names");
  CHECK(problem_of("a,b\n\"1\n\n\",2\n1,2,3\n") ==
        "t.csv: line 5: has 3 fields, expected 2, as the first line names");
  CHECK(problem_of("a,b\n1,\"2\n3,4\n") == "t.csv: line 2: a field's quote is not closed");
  CHECK(problem_of("a,b\n1,\"2\"3\n") ==
        "t.csv: line 2: has text behind the closing quote of a field, expected a comma");
  CHECK(problem_of("a,b,a\n") == "t.csv: has two columns \"a\", expected names that differ");
  CHECK(problem_of("a\nb\n\xe4\n") == "t.csv: line 3: is not UTF-8, as tables are expected to be");
  CHECK(problem_of(std::string("a\n\0", 3)) == "t.csv: line 2: has a zero byte, expected text");
}

TEST_CASE("what is written as a field of CSV is read back") {
  for (const char* text : {"", "a b/c.jpg", "a,b", "say \"a\"", "two\nlines", "\r", "\""}) {
    const CsvTable table = read("x,y\n" + csv_field(text) + ",1\n");
    CHECK(table.rows == Rows{{text, "1"}});
  }
  CHECK(csv_field("a b/c.jpg") == "a b/c.jpg");
  CHECK(csv_field("say \"a\"") == "\"say \"\"a\"\"\"");
}

TEST_CASE("a column of CSV is of numbers where all of its fields are") {
  const CsvTable table = read(
      "integers,numbers,gaps,mixed,empty,long,hash,padded,huge,padded numbers\n"
      "1,1.5,,1,,12345678901234567890,12e4,007,1,01\n"
      "-20,2,3,2,,1,12ab,12,1e400,0.5\n"
      "0,-1e-400,4,x,,2,3,0,2,3\n");
  CHECK(std::get<std::vector<int64_t>>(table.values(0)) == std::vector<int64_t>{1, -20, 0});
  CHECK(std::get<std::vector<double>>(table.values(1)) == std::vector<double>{1.5, 2, 0});
  const auto gaps = std::get<std::vector<double>>(table.values(2));
  CHECK(std::isnan(gaps[0]));
  CHECK(gaps[1] == 3);
  CHECK(gaps[2] == 4);
  for (const int64_t column : {3, 4, 5, 6, 7, 8, 9})
    CHECK(std::get<std::vector<std::string>>(table.values(column)) == table.texts(column));
}
