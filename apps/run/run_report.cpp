#include "apps/run/run_report.h"

#include <sstream>

#include "apps/options/arguments.h"
#include "apps/report.h"
#include "apps/run/collapse.h"
#include "apps/run/health_report.h"
#include "tensor/allocator.h"
#include "tensor/clock.h"
#include "tensor/format.h"
#include "tensor/text.h"

namespace la {

RunReport::RunReport(const Config& config, const RunFolder* folder, const DataSource& data, Trainer& trainer)
    : config_(config),
      folder_(folder),
      data_(data),
      trainer_(trainer),
      progress_(stdout, [this](std::string_view line) { folder_->log(line); }),
      start_(now()) {}

const char* name_of(Phase phase) {
  switch (phase) {
    case Phase::ir:
      return "IR";
    case Phase::la:
      return "LA";
    case Phase::supervised:
      return "supervised";
  }
  fail("there is no such phase");
}

namespace {

/// What the metrics call it.
const char* key_of(Phase phase) {
  return phase == Phase::ir ? "ir" : phase == Phase::la ? "la" : name_of(phase);
}

}  // namespace

void RunReport::say(const std::string& line) {
  if (folder_ != nullptr) progress_.message(with_option_names(line));
}

void RunReport::say(const std::vector<std::string>& lines) {
  for (const std::string& line : lines) say(line);
}

void RunReport::warn(const std::string& line) {
  if (folder_ != nullptr)
    say("warning: " + line);
  else
    untold_.push_back("warning: " + line);
}

void RunReport::warn_of_collapse(const char* kind, const std::string& collapse) {
  if (folder_ == nullptr || collapse.empty() || trainer_.total_steps() < steps_before_judgment) return;
  if (collapses_.insert(kind).second) warn(collapse);
}

/// Of the warm start, at its end.
void RunReport::warn_of_loss(Phase of_epoch, double loss) {
  const bool warm_start_done = of_epoch == Phase::ir && trainer_.phase() == Phase::la;
  const int64_t seen = trainer_.total_steps() * config_.optimizer.batch;
  if (warm_start_done && config_.la.ir_loss == IrLoss::softmax && seen >= pictures_before_loss_is_judged)
    warn_of_collapse("loss", collapse_of(loss, trainer_.bank().size()));
}

ProgressCallback RunReport::progress() {
  if (folder_ == nullptr) return {};
  return progress_.callback(trainer_.shards().ranks().alone());
}

void RunReport::bad_pictures() {
  for (const Dataset* pictures : {data_.train.get(), data_.test.get()})
    if (pictures != nullptr)
      for (const std::string& warning : pictures->take_warnings())
        untold_.push_back("bad picture " + warning);
  Collectives& ranks = trainer_.shards().ranks();
  const std::vector<std::string> of_ranks = ranks.all_gather("warnings", joined(untold_, "\n"));
  untold_.clear();
  for (size_t rank = 0; rank < of_ranks.size(); ++rank) {
    std::istringstream lines(of_ranks[rank]);
    for (std::string line; std::getline(lines, line);)
      if (told_.insert(line).second) say(rank == 0 ? line : formatted("rank {}: {}", rank, line));
  }
}

void RunReport::metrics(const Metrics& fields, Phase phase) const {
  if (folder_ == nullptr) return;
  Metrics line{{"time", utc_time()},
               {"phase", std::string(key_of(phase))},
               {"epoch", trainer_.epoch()},
               {"step", trainer_.total_steps()}};
  line.insert(line.end(), fields.begin(), fields.end());
  folder_->append_metrics(line);
  if (tensorboard_) tensorboard_->add(line, trainer_.total_steps());
}

void RunReport::begin_tensorboard(int64_t first_step) {
  if (folder_ != nullptr && config_.run.tensorboard) tensorboard_.emplace(*folder_, first_step);
}

void RunReport::gallery(const NeighborGallery& gallery) {
  if (!tensorboard_) return;
  for (size_t i = 0; i < gallery.pictures.size(); ++i) {
    const PixelCanvas sheet = draw_neighbors(gallery, i, *data_.train);
    tensorboard_->events().add_picture(trainer_.total_steps(), formatted("nearest/{}", i),
                                       png_of(sheet.picture()), sheet.height(), sheet.width());
  }
}

void RunReport::begin_epoch() { unreported_ = {.since = now()}; }

void RunReport::clusters(const BankClusters& clusters, const Neighborhoods& neighborhoods, double seconds) {
  if (folder_ == nullptr) return;
  unreported_.since += seconds;
  Metrics fields{{"clustering_seconds", seconds}};
  if (clusters.components > 0) {
    say(formatted("linked the bank's nearest neighbors in {:.1f} s: {}", seconds,
                  counted(clusters.components, "component")));
    fields.emplace_back("components", clusters.components);
  } else {
    const ClusteringReport report = summarize(clusters.clusterings, seconds);
    say(describe(report));
    fields.insert(fields.end(), {{"inertia", report.inertia},
                                 {"size_imbalance", report.imbalance},
                                 {"clusters_split", report.splits},
                                 {"clusters_empty", report.empty}});
  }
  say(describe(clusters, config_.network.dim));
  for (const auto& field : metrics_of(clusters)) fields.push_back(field);
  warn_of_collapse("embeddings", collapse_of(clusters.spread, config_.network.dim));
  warn_of_collapse("clusters", collapse_of(cluster_sizes(clusters.sizes), trainer_.bank().size()));
  warn_of_collapse("close neighbors", collapse_of(neighborhoods));
  // Before it was resumed, the line was written already.
  if (!folder_->has_metric("clustering_seconds", trainer_.epoch(), trainer_.total_steps()))
    metrics(fields, Phase::la);
}

void RunReport::step(const StepReport& step) {
  ++unreported_.steps;
  unreported_.waiting_seconds += step.waiting_seconds;
  unreported_.la_seconds += step.la_seconds;
  constexpr int64_t steps_between_metrics = 50;
  const int64_t steps = step.epoch == trainer_.epoch() ? trainer_.steps_of_epoch() : step.number;
  const bool epoch_done = step.number == steps;
  const bool metrics_due = epoch_done || step.number % steps_between_metrics == 0;
  // What the other processes warn of, at steps that all of them know.
  const bool alone = trainer_.shards().ranks().alone();
  if (metrics_due && !alone) bad_pictures();
  if (folder_ == nullptr || (!metrics_due && !progress_.due())) return;

  const double loss = trainer_.epoch_loss();  // waits for the device, so that the time is that of the steps
  const double seconds = now() - unreported_.since;
  images_.add(static_cast<double>(unreported_.steps * config_.optimizer.batch), seconds);
  waiting_.add(unreported_.waiting_seconds, seconds);
  in_la_.add(unreported_.la_seconds, seconds);
  unreported_ = {.since = now()};

  if (alone) bad_pictures();
  const int64_t steps_left = trainer_.steps_of_run() - trainer_.total_steps();
  const ProgressState state{
      .phase = name_of(step.phase),
      .epoch = step.epoch + 1,
      .epochs = config_.optimizer.epochs,
      .step = step.number,
      .steps = steps,
      .loss = loss,
      .learning_rate = step.learning_rate,
      .images_per_second = images_.value(),
      .waiting_share = waiting_.value(),
      .la_share = trainer_.device().is_cpu() ? in_la_.value() : -1,
      .seconds_left = static_cast<double>(steps_left * config_.optimizer.batch) / images_.value()};
  epoch_done ? progress_.epoch_end(state) : progress_.update(state);
  if (epoch_done) warn_of_loss(step.phase, loss);
  if (!metrics_due) return;
  metrics({{formatted("{}_loss", key_of(step.phase)), loss},
           {"learning_rate", step.learning_rate},
           {"images_per_second", images_.value()}},
          step.phase);
}

void RunReport::pixel_accuracy(const Evaluator& evaluator) {
  pixel_accuracy_ = evaluator.pixel_accuracy();
  say("raw pixels");
  say(formatted("  {}: {:.1f} %", evaluator.pixel_protocol(), 100 * *pixel_accuracy_));
  metrics({{"pixel_knn200", *pixel_accuracy_}});
}

void RunReport::evaluation(const Evaluator& evaluator, const std::optional<Accuracy>& accuracy,
                           const std::optional<BankHealth>& health, Phase phase) {
  bad_pictures();
  Metrics fields;
  const auto tell = [&](const char* key, const std::string& protocol, std::optional<double> share) {
    if (!share) return;
    say(formatted("  {}: {:.1f} %", protocol, 100 * *share));
    fields.emplace_back(key, *share);
  };
  if (accuracy) {
    knn200_ = accuracy->knn200;
    tell("knn200", evaluator.knn_protocol(), accuracy->knn200);
    tell("bank_knn200", evaluator.bank_knn_protocol(), accuracy->bank_knn200);
    tell("knn1", evaluator.bank_protocol(), accuracy->knn1);
    tell("likeliest", evaluator.likeliest_protocol(), accuracy->likeliest);
  }
  if (health) {
    say(describe(*health, config_.network.dim));
    for (const auto& field : metrics_of(*health)) fields.push_back(field);
    warn_of_collapse("embeddings", collapse_of(health->spread, config_.network.dim));
    warn_of_collapse("close neighbors", collapse_of(health->neighborhoods));
  }
  metrics(fields, phase);
}

void RunReport::end() {
  if (folder_ == nullptr) return;
  if (pixel_accuracy_ && knn200_ <= *pixel_accuracy_)
    say(formatted(
        "raw pixels tell the labels as well ({:.1f} %) as what was learnt ({:.1f} %): more pictures, more "
        "`epochs`, or `init` with a file of weights learnt elsewhere may help",
        100 * *pixel_accuracy_, 100 * knn200_));
  std::string memory = "peak memory " + memory_text(peak_resident_memory());
  if (!trainer_.device().is_cpu())
    memory += ", of the GPU " + memory_text(memory_stats(trainer_.device()).reserved);
  say(formatted("done in {}; {}; the embedding network is in {}", duration_text(now() - start_), memory,
                folder_->path()));
}

}  // namespace la
