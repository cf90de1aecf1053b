#include "apps/dry_run.h"

#include <algorithm>
#include <map>

#include "apps/report.h"
#include "apps/run/progress.h"
#include "apps/run/run_report.h"
#include "la/trainer.h"
#include "tensor/allocator.h"
#include "tensor/clock.h"
#include "tensor/format.h"
#include "tensor/ops.h"

namespace la {
namespace {

/// Seconds of a step in the first epoch of that configuration, after some that warm up.
double seconds_of_step(Trainer& trainer) {
  constexpr int warm_up = 3;  // a step is recorded in the third
  constexpr int timed = 5;
  trainer.begin_epoch();
  StepReport step;
  const auto take_steps = [&](int64_t wanted) {
    const int64_t count = std::min(wanted, trainer.steps_per_epoch() - trainer.step());
    for (int64_t i = 0; i < count; ++i) trainer.train_step(step);
    trainer.epoch_loss();  // waits for the device
    return count;
  };
  take_steps(std::min<int64_t>(warm_up, trainer.steps_per_epoch() - 1));
  const double begin = now();
  const int64_t count = take_steps(timed);
  return (now() - begin) / static_cast<double>(count);
}

/// What a step sends, by what it is for.
std::vector<std::string> describe_sent(Trainer& trainer) {
  const Collectives& ranks = trainer.shards().ranks();
  if (ranks.alone()) return {};
  // The first step of a new epoch, before it is recorded.
  trainer.begin_epoch();
  trainer.cluster_bank();
  const std::map<std::string, int64_t> before = ranks.bytes_sent();
  StepReport step;
  trainer.train_step(step);
  std::vector<std::string> lines;
  int64_t total = 0;
  for (const auto& [what, bytes] : ranks.bytes_sent()) {
    const auto found = before.find(what);
    const int64_t of_step = bytes - (found == before.end() ? 0 : found->second);
    total += of_step;
    if (of_step > 0) lines.push_back(formatted("           {:<32}{:>14}", what, of_step));
  }
  lines.insert(lines.begin(), formatted("sends      {} bytes in a step of {}, by each process, for", total,
                                        name_of(step.phase)));
  return lines;
}

/// Seconds of all clusterings of an epoch, from one assignment of a part of the bank.
double seconds_of_clustering(const MemoryBank& bank, const Config& config) {
  const Tensor part = bank.vectors().rows(0, std::min<int64_t>(bank.vectors().size(0), 8192));
  const auto& m = config.la.clusters;
  const Tensor centroids = ops::random_normal({*std::max_element(m.begin(), m.end()), bank.vectors().size(1)},
                                              {}, bank.vectors().device());
  const auto assign = [&] { ops::nearest_centroid(part, centroids).labels.to_vector<int32_t>(); };
  assign();
  const double begin = now();
  assign();
  const double parts =
      static_cast<double>(bank.vectors().size(0)) / static_cast<double>(std::max<int64_t>(part.size(0), 1));
  return (now() - begin) * parts * config.la.kmeans.iterations * config.la.clusterings;
}

}  // namespace

void dry_run(const Config& config, const DataSource& data, Device device, const Shards& shards,
             const std::vector<std::string>& choices, const std::function<void(const std::string&)>& say) {
  const AugmentationOptions view = augmentation_for(config, *data.train);
  const bool supervised = config.optimizer.supervised;
  double first_step = 0, la_step = 0, clustering = 0;  // of IR, or supervised
  int64_t steps = 0;
  std::vector<std::string> sent;
  {
    Trainer trainer(config, *data.train, view, device, shards);
    for (const std::string& line : describe_run(config, data, trainer, choices)) say(line);
    steps = trainer.steps_per_epoch();
    say(formatted("steps      {} an epoch, {} in all", steps, trainer.steps_of_run()));
    if (supervised || config.optimizer.warm_start_epochs > 0) {
      first_step = seconds_of_step(trainer);
      Trainer fresh(config, *data.train, view, device, shards);
      sent = describe_sent(fresh);
    }
    if (!supervised && config.la.close_neighbors == CloseNeighborKind::kmeans)
      clustering = seconds_of_clustering(trainer.bank(), config) / config.la.cluster_every.epochs(steps);
  }
  const int la_epochs = supervised ? 0 : config.optimizer.epochs - config.optimizer.warm_start_epochs;
  if (la_epochs > 0) {
    // LA from the first epoch on; its close neighbors are the nearest ones, which need no clusters and cost
    // the same.
    Config from_the_start = config;
    from_the_start.optimizer.warm_start_epochs = 0;
    from_the_start.la.close_neighbors = CloseNeighborKind::knn;
    from_the_start.la.close_count = std::max(1, config.la.background / 2);
    Trainer trainer(from_the_start, *data.train, view, device, shards);
    la_step = seconds_of_step(trainer);
    Trainer fresh(from_the_start, *data.train, view, device, shards);
    for (const std::string& line : describe_sent(fresh)) sent.push_back(line);
  }

  const auto per_epoch = [&](const char* phase, double step, double more, int epochs) {
    const double seconds = step * static_cast<double>(steps) + more;
    if (epochs > 0)
      say(formatted("time       an epoch of {}: about {} ({:.1f} ms a step, {:.0f} images/s{})", phase,
                    duration_text(seconds), 1e3 * step, config.optimizer.batch / step,
                    more > 0 ? formatted("; clustering {}", duration_text(more)) : ""));
    return seconds * epochs;
  };
  const double total = per_epoch(supervised ? "supervised training" : "IR", first_step, 0,
                                 config.optimizer.epochs - la_epochs) +
                       per_epoch("LA", la_step, clustering, la_epochs);
  say(formatted("           the run: about {}, {} not counted", duration_text(total),
                config.la.bank_refresh ? "evaluations and refreshing the bank" : "evaluations"));
  for (const std::string& line : sent) say(line);
  std::string memory = "memory     used in these steps: " + memory_text(peak_resident_memory());
  if (!device.is_cpu()) memory += ", of the GPU " + memory_text(memory_stats(device).reserved);
  say(memory);
}

}  // namespace la
