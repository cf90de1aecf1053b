// RunReport: what la_train tells of a run: on the terminal, in log.txt and in metrics.jsonl.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "apps/neighbor_gallery.h"
#include "apps/run/progress.h"
#include "apps/run/run_folder.h"
#include "apps/run/tensorboard.h"
#include "evaluation/knn.h"
#include "la/trainer.h"

namespace la {

/// As it is shown: IR, LA or supervised.
const char* name_of(Phase phase);

class RunReport {
 public:
  /// All of them must outlive it. Of several processes, the first tells it; it alone has a folder, the others have null, and
  /// what they warn of reaches it now and then. All make the same calls.
  RunReport(const Config& config, const RunFolder* folder, const DataSource& data, Trainer& trainer);

  /// A line that stays.
  void say(const std::string& line);
  void say(const std::vector<std::string>& lines);
  /// The same, of any process.
  void warn(const std::string& line);
  /// The pictures that turned out to be bad since the last call.
  void bad_pictures();
  /// From here on TensorBoard is told too, where the run wants it; what it has of first_step and later ones does not count any more.
  void begin_tensorboard(int64_t first_step);
  /// A line of metrics.jsonl: where the run is, and these.
  void metrics(const Metrics& fields, Phase phase = Phase::ir) const;

  /// For long work between the steps. One process alone can be interrupted in it.
  ProgressCallback progress();
  /// From here on, time is that of steps.
  void begin_epoch();
  /// New clusters of the bank, who is close by them, and how long they took.
  void clusters(const BankClusters& clusters, const Neighborhoods& neighborhoods, double seconds);
  /// Called after each step: shows progress and appends metrics when they are due.
  void step(const StepReport& step);
  void pixel_accuracy(const Evaluator& evaluator);
  /// An evaluation: what of it there is, in one line of metrics.
  void evaluation(const Evaluator& evaluator, const std::optional<Accuracy>& accuracy,
                  const std::optional<BankHealth>& health, Phase phase);
  /// What is nearest to some pictures, for TensorBoard.
  void gallery(const NeighborGallery& gallery);
  /// The last lines.
  void end();

 private:
  /// Of each kind once, and not before there has been training.
  void warn_of_collapse(const char* kind, const std::string& collapse);
  void warn_of_loss(Phase of_epoch, double loss);

  const Config& config_;
  const RunFolder* folder_;
  const DataSource& data_;
  Trainer& trainer_;
  Progress progress_;
  std::optional<TensorBoard> tensorboard_;
  std::vector<std::string> untold_;        // warnings of a process that has no folder
  std::set<std::string> told_;             // for several processes may warn of the same
  std::set<std::string> collapses_;        // the kinds that were warned of
  SmoothedRate images_, waiting_, in_la_;  // per second of training
  double start_;
  std::optional<double> pixel_accuracy_;  // nothing if it is not known, as after --resume
  double knn200_ = 0;                     // of the last evaluation

  /// What has happened since progress was last shown.
  struct Unreported {
    double since = 0;
    int64_t steps = 0;
    double waiting_seconds = 0, la_seconds = 0;
  } unreported_;
};

}  // namespace la
