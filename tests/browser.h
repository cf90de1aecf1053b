// Browser: a headless Chromium that shows a page to a test, by the DevTools protocol over a pipe.
#pragma once

#include <sys/types.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace la {

class Browser {
 public:
  using Json = nlohmann::json;

  /// The program, or an empty text if there is none on the PATH.
  static std::string program();

  /// `profile`: an empty folder for what it writes.
  explicit Browser(const std::string& profile);
  ~Browser();
  Browser(const Browser&) = delete;
  Browser& operator=(const Browser&) = delete;

  struct View {
    int width = 1600, height = 1000;
    bool dark = false;
  };
  /// Shows a file, and waits until its body has data-ready="yes".
  void open(const std::string& file, const View& view);
  /// The value of a JavaScript expression, awaited if it is a promise. An Error for an exception.
  Json evaluate(const std::string& expression);
  /// With the mouse, in the middle of the first element that the selector finds, or so far from it.
  void click(const std::string& selector, double right = 0, double down = 0);
  void wheel(const std::string& selector, double down);
  /// Presses a key, such as "ArrowLeft" or "+".
  void press(const std::string& key);
  /// All of the page as a PNG file.
  void screenshot(const std::string& path);
  /// Since the last call: what the console has as errors or warnings, exceptions, and requests to any address but the file's own.
  std::vector<std::string> complaints();

 private:
  struct Point {
    double x, y;
  };
  Json call(const std::string& method, const Json& parameters, bool of_page = true);
  Json next_message();
  void notice(const Json& event);
  Point middle_of(const std::string& selector);
  void mouse(const char* type, const Point& at, const Json& more);

  pid_t process_ = -1;
  int to_ = -1, from_ = -1;
  int64_t calls_ = 0;
  std::string received_, session_;
  std::vector<std::string> complaints_;
};

}  // namespace la
