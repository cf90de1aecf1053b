#include "apps/page/follow.h"

#include <algorithm>
#include <exception>
#include <filesystem>
#include <utility>

#include "apps/run/run_folder.h"
#include "tensor/error.h"
#include "tensor/io/files.h"

namespace la {
namespace {

namespace fs = std::filesystem;

/// Size and time of the measurements, which tell whether there are new ones.
std::string state_of(const std::string& run) {
  const std::string path = run + "/metrics.jsonl";
  return formatted("{} {}", file_size(path), fs::last_write_time(path).time_since_epoch().count());
}

/// A browser shows some 3 MB a second, which shall take it a tenth of the time at most.
int refresh_seconds_of(size_t bytes) { return 5 + static_cast<int>(bytes / 300'000); }

}  // namespace

std::string newest_checkpoint_name(const std::string& run) {
  std::string newest;
  for (const auto& entry : fs::directory_iterator(run)) {
    const std::string name = entry.path().filename();
    if (name.starts_with("checkpoint-") && name.ends_with(".safetensors")) newest = std::max(newest, name);
  }
  return newest;
}

Follower::Follower(std::string run, std::string page, Look look, Say say, Clock clock)
    : run_(std::move(run)),
      page_(std::move(page)),
      look_(std::move(look)),
      say_(std::move(say)),
      clock_(std::move(clock)) {}

bool Follower::has_begun() const {
  const bool nothing = RunFolder::has_no_run(run_);  // asked first: the run may begin at any moment
  const auto has = [&](const char* file) { return file_exists(run_ + "/" + file); };
  check(nothing || has("config.toml"),
        "{}: is no folder of a run: it has no config.toml; expected a folder that la_train has made or will "
        "train in",
        run_);
  if (!has("config.toml")) return false;
  const bool goes_on = RunFolder::in_use(run_);  // asked first: what was written until the end is seen below
  const bool measured = has("log.txt") && has("metrics.jsonl");
  check(
      measured || goes_on,
      "{}: nothing to show: nobody trains there, and it has no {}; expected a run that has measurements, or "
      "is trained",
      run_, has("log.txt") ? "metrics.jsonl" : "log.txt");
  return measured;
}

std::string Follower::look_at(const std::string& checkpoint) {
  tried_ = checkpoint;
  const double begin = clock_();
  std::string problem;
  bool writes = false;
  try {
    const Looked looked = look_([&](std::string_view, int64_t, int64_t) {
      writes = true;
      if (has_news()) write(true);
      writes = false;
    });
    pictures_ = part_of(looked.pictures);
    shown_of_ = looked.checkpoint;         // a newer one may have come, or the newest be damaged
  } catch (const std::exception& error) {  // not enough memory too: the curves go on
    if (writes) throw;                     // the page failed, not the pictures
    problem = formatted("{}: no pictures of it: {}", checkpoint, error.what());
  }
  looking_.took(begin, clock_());
  return problem;
}

bool Follower::has_news() const { return clock_() >= writing_.next && state_of(run_) != measured_; }

void Follower::write(bool goes_on) {
  const double begin = clock_();
  measured_ = state_of(run_);  // before they are read: what comes after that is news
  Page page;
  page.runs.push_back(read_run(run_));
  if (pictures_) page.pictures = &*pictures_;
  if (goes_on) page.refresh_seconds = refresh_seconds_of(pictures_ ? pictures_->blocks.size() : 0);
  write_text_file(page_, html_of(page));
  refreshes_ = goes_on;
  writing_.took(begin, clock_());
  say_(formatted("{}: {}{}", page_, place_of(page.runs.front()),
                 shown_of_.empty() ? "" : ", pictures of " + shown_of_));
}

bool Follower::step() {
  if (!has_begun()) {
    if (!std::exchange(told_of_waiting_, true)) say_(run_ + ": waiting for a run to begin there");
    return true;
  }
  const bool goes_on = RunFolder::in_use(run_);  // asked first: what was written until the end is read below
  const std::string newest = look_ ? newest_checkpoint_name(run_) : "";
  const bool may_look = !goes_on || (newest != tried_ && clock_() >= looking_.next);
  const bool looks = may_look && !newest.empty() && newest != shown_of_;
  const std::string problem = looks ? look_at(newest) : "";
  if (!goes_on || looks || has_news()) write(goes_on);
  check(goes_on || problem.empty(), "{}", problem);
  if (!problem.empty()) say_(problem);
  if (!goes_on)
    say_(run_ + (last_evaluation(read_run(run_)) != nullptr
                     ? ": the run has come to its end"
                     : ": nobody trains there any more; la_train --resume goes on"));
  return goes_on;
}

void Follower::leave() {
  if (refreshes_) write(false);
}

}  // namespace la
