// Work that is done many times on the same tensors, such as a training step: a device that can records it
// once and then runs it as a whole (a CUDA graph), which spares the host its launches.
#pragma once

#include <functional>
#include <memory>

#include "tensor/device.h"

namespace la {

/// Work that a device has recorded.
class Recording {
 public:
  virtual ~Recording() = default;
  /// Enqueues the work once more, with the pointers and numbers that were recorded: what changes from run to
  /// run must lie in tensors.
  virtual void run() = 0;
};

class CapturedStep {
 public:
  /// record: whether to record at all.
  CapturedStep(Device device, bool record) : device_(device), record_(record) {}

  /// Does `work`, which must be the same each time, on the same tensors. It is called as it is twice, so that
  /// what it sets up once (plans of libraries, cached memory, numbers that it estimates) is there, then
  /// recorded; from then on it is not called any more. It may not read from the device.
  void run(const std::function<void()>& work);
  /// Forgets the recording: the next run begins anew, with other work or other tensors.
  void reset();

 private:
  Device device_;
  bool record_;
  int runs_ = 0;
  std::unique_ptr<Recording> recording_;
};

}  // namespace la
