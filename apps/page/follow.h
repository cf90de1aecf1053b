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
  using Look = std::function<LearntPictures()>;
  using Clock = std::function<double()>;  // seconds since any fixed moment

  /// `look`: at the pictures, by the newest checkpoint; may be null, for a page without them.
  Follower(std::string run, std::string page, Look look, Clock clock = now);

  struct Step {
    bool ended = false;  // the page is final: nobody trains there any more
    std::string says;    // a line for the user, if something happened
  };
  /// Looks at the run once, which may be an empty folder before it begins. An Error if the folder has something else, or if the
  /// last pictures cannot be had, when the page is written without them. What fails before that is tried again with the next
  /// checkpoint, for this one may have been removed meanwhile.
  Step step();
  /// If the run goes on: writes the page once more, as one that a browser does not read again.
  void leave();

 private:
  /// Work that takes a tenth of the time at most.
  struct SparingWork {
    double next = 0;
    void took(double begin, double end) { next = end + 9 * (end - begin); }
  };

  bool has_begun() const;
  std::string look_at(const std::string& checkpoint);
  std::string write(bool goes_on);

  std::string run_, page_;
  Look look_;
  Clock clock_;
  SparingWork looking_, writing_;
  bool told_of_waiting_ = false, refreshes_ = false;
  std::string tried_;     // the newest checkpoint that was looked at, with success or without
  std::string shown_of_;  // the one of which the page has pictures
  std::string measured_;  // which state of the measurements is on the page
  std::optional<PicturePart> pictures_;
};

}  // namespace la
