#include "apps/report.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include "layers/networks.h"

namespace la {
namespace {

std::string activations_text(const std::vector<LayerSummary>& layers, const Config& config) {
  // Each layer keeps its output for the backward pass, and about as much again inside a block (convolution
  // and norm).
  size_t elements = 0;
  for (const LayerSummary& layer : layers) elements += static_cast<size_t>(layer.output.numel());
  constexpr size_t tensors_per_layer = 4;
  return memory_text(tensors_per_layer * elements * (config.precision == Precision::bf16 ? 2 : 4));
}

}  // namespace

std::string memory_text(size_t bytes) {
  const double mib = static_cast<double>(bytes) / (1 << 20);
  return mib < 1       ? fmt::format("{:.1f} MiB", mib)
         : mib < 10240 ? fmt::format("{:.0f} MiB", mib)
                       : fmt::format("{:.1f} GiB", mib / 1024);
}

std::vector<std::string> describe_run(const Config& config, const DataSource& data, Trainer& trainer,
                                      int image_size, const std::vector<std::string>& choices) {
  std::vector<std::string> lines;
  const auto n = static_cast<size_t>(data.train->size());
  lines.push_back(fmt::format("data       {}: {} for training{}", data.name, data.train->description(),
                              data.test ? ", " + data.test->description() + " for testing" : ""));
  for (const std::string& note : data.notes) lines.push_back("           " + note);

  const Shape input{config.batch, image_size, image_size, data.train->channels()};
  const std::vector<LayerSummary> layers =
      summarize(trainer.network(), input, trainer.bank().vectors().device());
  int64_t parameters = 0;
  for (const LayerSummary& layer : layers) parameters += layer.parameters;
  lines.push_back(fmt::format("network    {}, {} parameters, embedding of {} dimensions, head {}",
                              config.network, parameters, config.dim, name_of(config.head)));
  lines.push_back(fmt::format("           {:<14}{:<22}{:>12}", "layer", "output", "parameters"));
  for (const LayerSummary& layer : layers)
    lines.push_back(
        fmt::format("           {:<14}{:<22}{:>12}", layer.name, layer.output.str(), layer.parameters));

  lines.push_back(fmt::format("training   {} epochs of IR ({}), then {} of LA; {} steps an epoch, batch {}",
                              config.warm_start_epochs, name_of(config.ir_loss),
                              config.epochs - config.warm_start_epochs, trainer.steps_per_epoch(),
                              config.batch));
  lines.push_back(fmt::format("           background k = {}, clusterings H = {}, clusters m = {}",
                              config.background, config.clusterings, config.clusters));
  for (const std::string& choice : choices) lines.push_back("           chosen: " + choice);
  lines.push_back(fmt::format("memory     pictures {}, bank {}, cluster labels {}, activations about {}",
                              memory_text(data.train->memory_bytes()),
                              memory_text(trainer.bank().vectors().bytes()),
                              memory_text(n * sizeof(int32_t) * static_cast<size_t>(config.clusterings)),
                              activations_text(layers, config)));
  lines.push_back(fmt::format("device     {}, {} threads, {}, seed {}",
                              describe(trainer.bank().vectors().device()), num_threads(),
                              name_of(config.precision), config.seed));
  if (const std::string problem = cuda_problem(); config.device == "auto" && !problem.empty())
    lines.push_back("           no GPU is used: " + problem);
  return lines;
}

std::string network_table() {
  std::string text = fmt::format("{:<18}{:>10}{:>8}{:>14}{:>16}\n", "network", "pictures", "layers",
                                 "parameters", "multiply-adds");
  for (const std::string& name : network_names()) {
    const bool for_small_pictures = name.starts_with("resnet20");
    const int64_t size = for_small_pictures ? 32 : 224;
    const auto network = make_network(name, {.image_size = size});
    const NetworkCost cost = cost_of(*network, {1, size, size, 3});
    text += fmt::format("{:<18}{:>10}{:>8}{:>14}{:>14.1f} M\n", name, fmt::format("{0}x{0}", size),
                        cost.layers, cost.parameters, static_cast<double>(cost.multiply_adds) / 1e6);
  }
  return text;
}

size_t peak_resident_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<size_t>(usage.ru_maxrss) * 1024;
}

std::string describe_clusterings(const std::vector<KMeansResult>& results, double seconds) {
  double inertia = 0, imbalance = 0;
  int64_t splits = 0, empty = 0;
  for (const KMeansResult& r : results) {
    inertia += r.inertia / static_cast<double>(results.size());
    imbalance += r.imbalance / static_cast<double>(results.size());
    splits += r.splits;
    empty += r.empty;
  }
  return fmt::format(
      "clustered the bank {} times in {:.1f} s: inertia {:.0f}, size imbalance {:.2f}, {} empty clusters "
      "split, {} empty in the end",
      results.size(), seconds, inertia, imbalance, splits, empty);
}

}  // namespace la
