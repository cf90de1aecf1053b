#include "apps/run/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>

#include "apps/run/interrupt.h"
#include "tensor/clock.h"
#include "tensor/format.h"
#include "tensor/text.h"

namespace la {
namespace {

constexpr double terminal_interval = 0.1, plain_interval = 30;  // seconds

/// Whether it shows one updating line.
bool is_terminal(std::FILE* stream) {
  const char* const kind = std::getenv("TERM");
  return isatty(fileno(stream)) == 1 && !(kind != nullptr && std::string_view(kind) == "dumb");
}

constexpr const char* erase_line = "\r\x1b[K";

}  // namespace

size_t columns_of(std::FILE* stream) {
  winsize size{};
  return ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

std::string work_text(std::string_view what, int64_t done, int64_t all, double seconds) {
  const double rate = static_cast<double>(done) / seconds;
  return formatted("{} {}/{}, {}/s, {} left", what, done, all,
                   rate < 10 ? formatted("{:.2g}", rate) : formatted("{:.0f}", rate),
                   duration_text(static_cast<double>(all - done) / rate));
}

std::string duration_text(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  const auto s = static_cast<int64_t>(std::min(seconds, 1e15));
  const int64_t minute = 60, hour = 60 * minute, day = 24 * hour;
  if (s >= day) return formatted("{}d {:02}h", s / day, s % day / hour);
  if (s >= hour) return formatted("{}h {:02}m", s / hour, s % hour / minute);
  if (s >= minute) return formatted("{}m {:02}s", s / minute, s % minute);
  return formatted("{}s", s);
}

std::string progress_text(const ProgressState& state) {
  std::string text = formatted("{} epoch {}/{} step {}/{} loss {:.4f} lr {:.3g} {:.0f} images/s", state.phase,
                               state.epoch, state.epochs, state.step, state.steps, state.loss,
                               state.learning_rate, state.images_per_second);
  if (state.seconds_left >= 0) text += formatted(", {} left", duration_text(state.seconds_left));
  if (state.la_share >= 0) text += formatted(", {:.0f}% LA", 100 * state.la_share);
  text += formatted(", {:.0f}% waiting", 100 * state.waiting_share);
  return text;
}

void SmoothedRate::add(double count, double seconds) {
  const double keep = std::exp(-seconds / 10);
  count_ = keep * count_ + count;
  seconds_ = keep * seconds_ + seconds;
}

Progress::Progress(std::FILE* stream, Log log, Clock clock)
    : stream_(stream),
      log_(std::move(log)),
      clock_(clock ? std::move(clock) : now),
      terminal_(is_terminal(stream)),
      next_(terminal_ ? 0 : clock_() + plain_interval) {}

Progress::~Progress() {
  if (!current_.empty()) std::fputs(erase_line, stream_);  // what it says is over
  std::fflush(stream_);
}

bool Progress::due() {
  const std::lock_guard lock(mutex_);
  return clock_() >= next_;
}

void Progress::update(const ProgressState& state) { update(progress_text(state)); }

void Progress::update(std::string_view line) {
  const std::lock_guard lock(mutex_);
  const double now = clock_();
  if (now < next_) return;
  next_ = now + (terminal_ ? terminal_interval : plain_interval);
  if (terminal_) {
    current_ = line.substr(0, columns_of(stream_) - 1);  // a full line would wrap in some terminals
    show_current();
  } else {
    print_line(line);
  }
}

ProgressCallback Progress::callback(bool may_interrupt) {
  return [this, may_interrupt, kind = std::string(), begin = clock_(), seen = clock_(), before = int64_t{0}](
             std::string_view what, int64_t done, int64_t all) mutable {
    if (may_interrupt && interrupted()) throw Interrupted();
    if (kind != what || done <= before) {  // other work, which has begun since the last call
      kind = what;
      begin = seen;
    }
    before = done;
    seen = clock_();
    if (due()) update(work_text(what, done, all, seen - begin));
  };
}

void Progress::epoch_end(const ProgressState& state) {
  const std::lock_guard lock(mutex_);
  if (!terminal_) next_ = clock_() + plain_interval;
  print_line(progress_text(state));
}

void Progress::message(std::string_view line) {
  const std::lock_guard lock(mutex_);
  print_line(printable(line));
}

void Progress::print_line(std::string_view line) {
  // Failure to print is no reason to end a run: the terminal may have been closed. The log checks.
  if (!current_.empty()) std::fputs(erase_line, stream_);
  current_.clear();
  std::fwrite(line.data(), 1, line.size(), stream_);
  std::fputc('\n', stream_);
  std::fflush(stream_);
  if (log_) log_(line);
}

void Progress::show_current() {
  std::fputs(erase_line, stream_);
  std::fwrite(current_.data(), 1, current_.size(), stream_);
  std::fflush(stream_);
}

}  // namespace la
