// TensorBoard: the numbers of metrics.jsonl once more, as curves, beside pictures.
#pragma once

#include "apps/run/run_folder.h"
#include "tensor/io/event_file.h"

namespace la {

/// The tag of a field of metrics.jsonl, "loss/la_loss"; empty for one that says where the run is, not what was measured.
std::string tensorboard_tag(std::string_view field);

class TensorBoard {
 public:
  /// An event file in the run's folder, from first_step on.
  TensorBoard(const RunFolder& folder, int64_t first_step) : events_(folder.path(), first_step) {}

  /// The numbers of a line of metrics.jsonl.
  void add(const Metrics& line, int64_t step) const;
  const EventFile& events() const { return events_; }

 private:
  EventFile events_;
};

}  // namespace la
