#include "tests/browser.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <sstream>

#include "tensor/error.h"
#include "tensor/format.h"
#include "tensor/io/files.h"

namespace la {
namespace {

constexpr int most_waiting = 120'000;  // milliseconds for an answer; then something is broken

std::string from_base64(const std::string& text) {
  const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    if (c == '=') break;
    bits = bits << 6 | static_cast<uint32_t>(digits.find(c));
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes += static_cast<char>(bits >> count & 255);
  }
  return bytes;
}

}  // namespace

std::string Browser::program() {
  const char* const path = std::getenv("PATH");
  std::istringstream folders(path != nullptr ? path : "");
  for (std::string folder; std::getline(folders, folder, ':');)
    if (const std::string file = folder + "/chromium"; access(file.c_str(), X_OK) == 0) return file;
  return "";
}

Browser::Browser(const std::string& profile) {
  int commands[2], answers[2];
  check(pipe2(commands, O_CLOEXEC) == 0 && pipe2(answers, O_CLOEXEC) == 0, "no pipe for a browser");
  const std::string file = program(), folder = "--user-data-dir=" + profile;
  process_ = fork();
  check(process_ >= 0, "no process for a browser");
  if (process_ == 0) {
    // Chromium reads commands from descriptor 3 and answers on 4. Those of the pipes may be these: they are moved out of the way.
    const int in = fcntl(commands[0], F_DUPFD, 10), out = fcntl(answers[1], F_DUPFD, 10),
              null = ::open("/dev/null", O_RDWR);
    dup2(in, 3);
    dup2(out, 4);
    dup2(null, 1);
    dup2(null, 2);
    execl(file.c_str(), file.c_str(), "--headless=new", "--no-sandbox", "--disable-gpu",
          "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
          "--remote-debugging-pipe", folder.c_str(), "about:blank", nullptr);
    _exit(127);
  }
  to_ = commands[1];
  from_ = answers[0];
  close(commands[0]);
  close(answers[1]);
  const Json target = call("Target.createTarget", {{"url", "about:blank"}}, false);
  session_ = call("Target.attachToTarget", {{"targetId", target["targetId"]}, {"flatten", true}},
                  false)["sessionId"];
  for (const char* domain : {"Page", "Runtime", "Log", "Network"})
    call(formatted("{}.enable", domain), Json::object());
}

Browser::~Browser() {
  close(to_);  // which ends it
  close(from_);
  kill(process_, SIGTERM);
  waitpid(process_, nullptr, 0);
}

Browser::Json Browser::next_message() {
  size_t end = 0;
  while ((end = received_.find('\0')) == std::string::npos) {
    pollfd ready{from_, POLLIN, 0};
    check(poll(&ready, 1, most_waiting) == 1, "the browser does not answer");
    char bytes[1 << 16];
    const ssize_t count = read(from_, bytes, sizeof bytes);
    check(count > 0, "the browser has ended");
    received_.append(bytes, static_cast<size_t>(count));
  }
  const Json message = Json::parse(received_.substr(0, end));
  received_.erase(0, end + 1);
  return message;
}

Browser::Json Browser::call(const std::string& method, const Json& parameters, bool of_page) {
  Json message{{"id", ++calls_}, {"method", method}, {"params", parameters}};
  if (of_page) message["sessionId"] = session_;
  const std::string text = message.dump();
  for (size_t sent = 0; sent <= text.size();) {  // with the zero at its end
    const ssize_t count = write(to_, text.c_str() + sent, text.size() + 1 - sent);
    check(count > 0, "the browser takes no commands");
    sent += static_cast<size_t>(count);
  }
  while (true) {
    Json answer = next_message();
    if (!answer.contains("id")) {
      notice(answer);
      continue;
    }
    check(!answer.contains("error"), "browser: {}: {}", method, answer.dump());
    return answer["result"];
  }
}

void Browser::notice(const Json& event) {
  const std::string method = event["method"];
  const Json& what = event["params"];
  if (method == "Runtime.exceptionThrown")
    complaints_.push_back("exception: " + what["exceptionDetails"].dump());
  if (method == "Runtime.consoleAPICalled" && (what["type"] == "error" || what["type"] == "warning"))
    complaints_.push_back("console: " + what["args"].dump());
  if (method == "Log.entryAdded") complaints_.push_back("log: " + what["entry"].dump());
  if (method != "Network.requestWillBeSent") return;
  const std::string url = what["request"]["url"];
  if (!url.starts_with("file:") && !url.starts_with("data:") && !url.starts_with("blob:"))
    complaints_.push_back("request: " + url);
}

void Browser::open(const std::string& file, const View& view) {
  call("Emulation.setDeviceMetricsOverride",
       {{"width", view.width}, {"height", view.height}, {"deviceScaleFactor", 1}, {"mobile", false}});
  call("Emulation.setEmulatedMedia",
       {{"features", {{{"name", "prefers-color-scheme"}, {"value", view.dark ? "dark" : "light"}}}}});
  const Json loaded = call("Page.navigate", {{"url", "file://" + file}});
  check(!loaded.contains("errorText"), "{}: {}", file, loaded.dump());
  evaluate(
      "new Promise((done, failed) => { let turns = 0; const look = () => document.body && "
      "document.body.dataset.ready ? done(1) : "
      "++turns > 3000 ? failed('the page does not become ready') : setTimeout(look, 20); look(); })");
}

Browser::Json Browser::evaluate(const std::string& expression) {
  const Json result =
      call("Runtime.evaluate", {{"expression", expression}, {"awaitPromise", true}, {"returnByValue", true}});
  check(!result.contains("exceptionDetails"), "browser: {}: {}", expression, result.dump());
  return result["result"].contains("value") ? result["result"]["value"] : Json();
}

Browser::Point Browser::middle_of(const std::string& selector) {
  const Json box = evaluate("(() => { const e = document.querySelector(" + Json(selector).dump() +
                            "); e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect(); "
                            "return [b.x + b.width / 2, b.y + "
                            "b.height / 2]; })()");
  return {box[0], box[1]};
}

void Browser::mouse(const char* type, const Point& at, const Json& more) {
  Json parameters{{"type", type}, {"x", at.x}, {"y", at.y}};
  parameters.update(more);
  call("Input.dispatchMouseEvent", parameters);
}

void Browser::click(const std::string& selector, double right, double down) {
  Point at = middle_of(selector);
  at = {at.x + right, at.y + down};
  mouse("mouseMoved", at, Json::object());
  for (const char* type : {"mousePressed", "mouseReleased"})
    mouse(type, at, {{"button", "left"}, {"clickCount", 1}});
}

void Browser::wheel(const std::string& selector, double down) {
  mouse("mouseWheel", middle_of(selector), {{"deltaX", 0}, {"deltaY", down}});
}

void Browser::press(const std::string& key) {
  const bool letter = key.size() == 1;
  call("Input.dispatchKeyEvent", {{"type", "keyDown"},
                                  {"key", key},
                                  {"text", letter           ? key
                                           : key == "Enter" ? "\r"
                                                            : ""}});
  call("Input.dispatchKeyEvent", {{"type", "keyUp"}, {"key", key}});
}

void Browser::screenshot(const std::string& path) {
  const Json shot = call("Page.captureScreenshot", {{"format", "png"}, {"captureBeyondViewport", true}});
  write_text_file(path, from_base64(shot["data"]));
}

std::vector<std::string> Browser::complaints() { return std::exchange(complaints_, {}); }

}  // namespace la
