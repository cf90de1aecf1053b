// Progress: how far a run is, as one line that is rewritten in place on a terminal, and as a plain line now
// and then in a file or pipe. Messages go above that line, and to the run's log.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>

#include "tensor/progress_callback.h"

namespace la {

struct ProgressState {
  std::string phase;  // "IR" or "LA"
  int epoch = 0;      // counted from 1
  int epochs = 0;
  int64_t step = 0;  // of this epoch, counted from 1
  int64_t steps = 0;
  double loss = 0;
  double learning_rate = 0;
  double images_per_second = 0;
  double waiting_share = 0;  // of the time, in [0, 1]: waiting for pictures
  double la_share = -1;      // of the time, in [0, 1]: neighbors, bank and loss; negative if unknown
  double seconds_left = -1;  // of the whole run; negative if unknown
};

/// "pictures embedded 512/60000, 913/s, 1m 05s left", of work that began `seconds` ago.
std::string work_text(std::string_view what, int64_t done, int64_t all, double seconds);

/// Columns of the terminal; 80 if it is none, or does not say.
size_t columns_of(std::FILE* stream);

/// "1d 02h", "1h 03m", "4m 12s" or "9s".
std::string duration_text(double seconds);
/// The line without its end.
std::string progress_text(const ProgressState& state);

/// A rate in which the past counts less the longer ago it is: by a factor of e every 10 seconds.
class SmoothedRate {
 public:
  void add(double count, double seconds);
  /// Count per second; 0 before the first call of add.
  double value() const { return seconds_ > 0 ? count_ / seconds_ : 0; }

 private:
  double count_ = 0, seconds_ = 0;
};

/// Safe to use from any thread.
class Progress {
 public:
  using Log = std::function<void(std::string_view line)>;
  using Clock = std::function<double()>;  // seconds since any fixed moment

  /// Writes to `stream`, and every line that stays there to `log` too.
  explicit Progress(std::FILE* stream = stdout, Log log = {}, Clock clock = {});
  /// Leaves the last state standing.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Whether update() would show a state now: 10 times a second on a terminal, else once in 30 seconds.
  bool due();
  /// Shows the state if one is due.
  void update(const ProgressState& state);
  /// The same for work whose state is any one line.
  void update(std::string_view line);
  /// Shows work as work_text does, one kind after the other, until the user interrupts it: then it
  /// throws Interrupted, if it may.
  ProgressCallback callback(bool may_interrupt = true);
  /// Shows the state at the end of an epoch in a line that stays.
  void epoch_end(const ProgressState& state);
  /// Shows a line that stays.
  void message(std::string_view line);

 private:
  void print_line(std::string_view line);
  void show_current();

  std::FILE* stream_;
  Log log_;
  Clock clock_;
  bool terminal_;
  double next_ = 0;      // when the next update is due
  std::string current_;  // the updating line that stands on the terminal
  std::mutex mutex_;
};

}  // namespace la
