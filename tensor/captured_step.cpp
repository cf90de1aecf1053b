#include "tensor/captured_step.h"

#include "tensor/backend.h"

namespace la {

void CapturedStep::run(const std::function<void()>& work) {
  constexpr int runs_before_recording = 2;
  if (!recording_ && record_ && runs_ == runs_before_recording) {
    recording_ = backend(device_).record(work);
    record_ = recording_ != nullptr;  // a device that cannot record is not asked again
  }
  if (recording_) return recording_->run();
  work();
  runs_ = std::min(runs_ + 1, runs_before_recording);
}

void CapturedStep::reset() {
  recording_.reset();
  runs_ = 0;
}

}  // namespace la
