// Text for terminals and for lines of files.
#include <doctest/doctest.h>

#include "tensor/text.h"

using namespace la;

TEST_CASE("printable text stands in one line and does nothing else") {
  CHECK(printable("a b/\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\xb1.png") ==
        "a b/\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\xb1.png");
  CHECK(printable("a\nb\rc\td\x1b[2J\x7f") == "a\\nb\\rc\\td\\x1b[2J\\x7f");
  CHECK(printable("\xc2\x9b") == "\\xc2\\x9b");                 // the control character CSI
  CHECK(printable("\xe2\x80\xaegnp") == "\\xe2\\x80\\xaegnp");  // what follows would be written backwards
  for (const char* broken : {"\x80", "\xc3", "\xc0\xaf", "\xe2\x82", "\xed\xa0\x80", "\xf5\x80\x80\x80"})
    CHECK(printable(broken).starts_with("\\x"));
  CHECK(printable("a\\b") == "a\\b");
  CHECK(printable(printable("\x1b\\")) == printable("\x1b\\"));
}

TEST_CASE("escaped bytes come back, whatever they are") {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  for (const std::string& bytes :
       {all, std::string("\\x41"), std::string("\\\\n"), std::string("a\\"), std::string()}) {
    const std::string text = escaped(bytes);
    CHECK(text.find('\n') == std::string::npos);
    CHECK(printable(text) == text);
    CHECK(unescaped(text) == bytes);
  }
  CHECK(unescaped("a\\") == "a\\");
  CHECK(unescaped("\\x4") == "x4");
}
