// Follower: rewrites the page of a run while that is being trained: the curves with each measurement, the pictures with a new
// checkpoint. Each of the two takes a tenth of the time at most: what took t seconds is not done again for 9 t.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "apps/page/page.h"
#include "tensor/clock.h"

namespace la {

/// The name of the newest checkpoint, whether intact or not; empty if there is none.
std::string newest_checkpoint_name(const std::string& run);

class Follower {
 public:
  struct Looked {
    std::string checkpoint;  // its name
    LearntPictures pictures;
  };
  /// At the pictures, by the newest checkpoint that is intact; meanwhile it calls the callback now and then.
  using Look = std::function<Looked(const ProgressCallback&)>;
  using Say = std::function<void(const std::string& line)>;
  using Clock = std::function<double()>;  // seconds since any fixed moment

  /// `look` may be null, for a page without pictures; `say` is told of each page.
  Follower(std::string run, std::string page, Look look, Say say, Clock clock = now);

  /// Looks at the run once, which may be an empty folder before it begins. False if nobody trains there any more: the page is final
  /// then. An Error if the folder has something else, or a run that has ended before it was measured, or if the last pictures cannot be had, when the page is written without
  /// them. What fails before that is tried again with the next checkpoint, for this one may have been removed meanwhile.
  bool step();
  /// If the run goes on: writes the page once more, as one that a browser does not read again.
  void leave();

 private:
  /// Work that takes a tenth of the time at most.
  struct SparingWork {
    double next = 0;
    void took(double begin, double end) { next = end + 9 * (end - begin); }
  };

  bool has_begun() const;
  /// Returns what went wrong, if anything did. Where there are new measurements meanwhile, the page gets them.
  std::string look_at(const std::string& checkpoint);
  bool has_news() const;
  void write(bool goes_on);

  std::string run_, page_;
  Look look_;
  Say say_;
  Clock clock_;
  SparingWork looking_, writing_;
  bool told_of_waiting_ = false, refreshes_ = false;
  std::string tried_;     // the newest checkpoint that was looked at, with success or without
  std::string shown_of_;  // the one of which the page has pictures
  std::string measured_;  // which state of the measurements is on the page
  std::optional<PicturePart> pictures_;
};

}  // namespace la
