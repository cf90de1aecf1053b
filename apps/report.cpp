#include "apps/report.h"

#include <sys/resource.h>

#include <ctime>

#include "layers/networks.h"
#include "tensor/format.h"
#include "tensor/text.h"

namespace la {
namespace {

std::string activations_text(const std::vector<LayerSummary>& layers, const Config& config) {
  // Each layer keeps its output for the backward pass, and about as much again inside a block (convolution
  // and norm).
  size_t elements = 0;
  for (const LayerSummary& layer : layers) elements += static_cast<size_t>(layer.output.numel());
  constexpr size_t tensors_per_layer = 4;
  return memory_text(tensors_per_layer * elements * size_of(activation_type(config.run.precision)));
}

}  // namespace

std::string memory_text(size_t bytes) {
  const double mib = static_cast<double>(bytes) / (1 << 20);
  return mib < 1       ? formatted("{:.1f} MiB", mib)
         : mib < 10240 ? formatted("{:.0f} MiB", mib)
                       : formatted("{:.1f} GiB", mib / 1024);
}

std::vector<std::string> describe_run(const Config& config, const DataSource& data, Trainer& trainer,
                                      const std::vector<std::string>& choices) {
  std::vector<std::string> lines;
  const Shards& shards = trainer.shards();
  const auto own = static_cast<size_t>(shards.own_rows(data.train->size()).size());  // pictures of the bank
  lines.push_back(formatted("data       {}: {} for training{}", data.name, data.train->description(),
                            data.test ? ", " + data.test->description() + " for testing" : ""));
  for (const std::string& note : data.notes) lines.push_back("           " + note);

  const Shape input{config.optimizer.batch, trainer.view().size, trainer.view().size, data.train->channels()};
  const std::vector<LayerSummary> layers = summarize(trainer.network(), input, trainer.device());
  int64_t parameters = 0;
  for (const LayerSummary& layer : layers) parameters += layer.parameters;
  lines.push_back(formatted("network    {}, {} parameters, embedding of {}, head {}", config.network.name,
                            parameters, counted(config.network.dim, "dimension"),
                            name_of(config.network.head)));
  lines.push_back(formatted("           {:<14}{:<22}{:>12}", "layer", "output", "parameters"));
  for (const LayerSummary& layer : layers)
    lines.push_back(
        formatted("           {:<14}{:<22}{:>12}", layer.name, layer.output.str(), layer.parameters));

  const OptimizerOptions& optimizer = config.optimizer;
  const std::string of_each =
      formatted("{} an epoch, batch {}", counted(trainer.steps_per_epoch(), "step"), optimizer.batch);
  if (optimizer.supervised) {
    lines.push_back(
        formatted("training   {} on the labels; {}", counted(optimizer.epochs, "epoch"), of_each));
  } else {
    lines.push_back(formatted("training   {} of IR ({}), then {} of LA; {}",
                              counted(optimizer.warm_start_epochs, "epoch"), name_of(config.la.ir_loss),
                              optimizer.epochs - optimizer.warm_start_epochs, of_each));
    lines.push_back(formatted("           background k = {}, clusterings H = {}, clusters m = {}",
                              config.la.background, config.la.clusterings, joined(config.la.clusters, ",")));
  }
  for (const std::string& choice : choices) lines.push_back("           chosen: " + choice);
  lines.push_back(formatted("memory     pictures {}, bank {}, cluster labels {}, activations about {}",
                            memory_text(data.train->memory_bytes()),
                            memory_text(trainer.bank().vectors().bytes()),
                            memory_text(own * sizeof(int32_t) * static_cast<size_t>(config.la.clusterings)),
                            activations_text(layers, config)));
  lines.push_back(formatted("device     {}, {}, {}, seed {}", describe(trainer.device()),
                            counted(num_threads(), "thread"), name_of(config.run.precision),
                            config.run.seed));
  if (!shards.ranks().alone() || shards.count() > 1)
    lines.push_back(formatted(
        "processes  {} with {}, {} of them on {}{}; what is said of memory and device is the first's",
        shards.ranks().size(), counted(shards.count(), "shard"), shards.ranks().ranks_of_host(),
        shards.ranks().host().empty() ? "this host" : shards.ranks().host(),
        config.run.sync_batch_norm ? ", batch norm over the whole batch" : ""));
  if (const std::string problem = cuda_problem(); config.run.device == "auto" && !problem.empty())
    lines.push_back("           no GPU is used: " + problem);
  if (data.train->size() < few_pictures && config.run.init.empty())
    lines.push_back(
        formatted("few        with fewer than some {} pictures, little is learnt beyond what an untrained "
                  "network sees; --init FILE "
                  "begins with weights learnt elsewhere, such as torchvision's",
                  few_pictures));
  return lines;
}

std::string network_table() {
  std::string text = formatted("{:<18}{:>10}{:>8}{:>14}{:>16}\n", "network", "pictures", "layers",
                               "parameters", "multiply-adds");
  for (const std::string& name : network_names()) {
    const int64_t size = usual_image_size(name);
    const auto network = make_network({.name = name, .image_size = size});
    const NetworkCost cost = cost_of(*network, {1, size, size, 3});
    text += formatted("{:<18}{:>10}{:>8}{:>14}{:>14.1f} M\n", name, formatted("{0}x{0}", size), cost.layers,
                      cost.parameters, static_cast<double>(cost.multiply_adds) / 1e6);
  }
  return text;
}

size_t peak_resident_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<size_t>(usage.ru_maxrss) * 1024;
}

ClusteringReport summarize(const std::vector<KMeansResult>& results, double seconds) {
  ClusteringReport report{.clusterings = static_cast<int64_t>(results.size()), .seconds = seconds};
  for (const KMeansResult& r : results) {
    report.inertia += r.inertia / static_cast<double>(results.size());
    report.imbalance += r.imbalance / static_cast<double>(results.size());
    report.splits += r.splits;
    report.empty += r.empty;
  }
  return report;
}

std::string describe(const ClusteringReport& r) {
  return formatted(
      "clustered the bank {} in {:.1f} s: inertia {:.0f}, size imbalance {:.2f}, {} split, {} empty in the "
      "end",
      counted(r.clusterings, "time"), r.seconds, r.inertia, r.imbalance, counted(r.splits, "empty cluster"),
      r.empty);
}

std::string utc_time() {
  const std::time_t seconds = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[sizeof "2026-01-31T23:59:59Z"];
  std::strftime(text, sizeof text, "%FT%TZ", &parts);
  return text;
}

}  // namespace la
