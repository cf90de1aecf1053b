#include "la/config.h"

#include <algorithm>
#include <functional>

#include "tensor/error.h"

namespace la {
namespace {

constexpr int64_t imagenet_pictures = 1'281'167;

/// H and m of the paper.
struct Clustering {
  int clusterings, clusters;
};

Clustering papers_clustering(const std::string& network) {
  if (network.find("resnet") != std::string::npos) return {10, 30'000};
  if (network.starts_with("vgg")) return {6, 10'000};
  return {3, 30'000};  // AlexNet
}

/// A value and where it comes from.
struct Chosen {
  int value;
  std::string reason;
};

/// The paper's value for ImageNet; in proportion for fewer pictures, so that a neighborhood and a cluster are
/// the same share of the data, but at least so many.
Chosen in_proportion(int papers, int64_t pictures, int64_t at_least) {
  if (pictures >= imagenet_pictures) return {papers, "the paper's"};
  const int64_t scaled = (papers * pictures + imagenet_pictures / 2) / imagenet_pictures;
  const std::string of_paper =
      formatted("the paper's {} for ImageNet, in proportion to {} pictures", papers, pictures);
  if (scaled >= at_least) return {static_cast<int>(scaled), of_paper};
  return {static_cast<int>(at_least), formatted("{}, would be {}", of_paper, scaled)};
}

/// After 60 % and 80 % of the epochs, rounded up; one drop if they fall together.
std::vector<TrainingTime> default_drops(int epochs) {
  const int first = (epochs * 6 + 9) / 10, second = (epochs * 8 + 9) / 10;
  std::vector<TrainingTime> drops{{static_cast<double>(first)}};
  if (first < second) drops.push_back({static_cast<double>(second)});
  return drops;
}

void check_increasing(const std::vector<TrainingTime>& drops, int64_t steps_per_epoch) {
  const std::vector<double> epochs = to_epochs(drops, steps_per_epoch);
  check(std::adjacent_find(epochs.begin(), epochs.end(), std::greater_equal()) == epochs.end(),
        "`learning_rate_drops` {} must increase", joined(drops, ","));
}

int64_t steps_per_epoch(const OptimizerOptions& optimizer, int64_t pictures) {
  return std::max<int64_t>(pictures / optimizer.batch, 1);
}

using Lines = std::vector<std::string>;

Chosen background_for(int64_t pictures) {
  constexpr int papers_background = 4096;
  // More than a cluster has, which in the paper's proportion is some 43 pictures: where all background
  // neighbors are close ones, the loss is 0.
  constexpr int64_t fewest_background = 128;
  return in_proportion(papers_background, pictures, std::clamp<int64_t>(pictures / 2, 2, fewest_background));
}

void choose_background(LaOptions& options, int64_t pictures, Lines& lines) {
  if (options.whole_background) {
    options.background = static_cast<int>(pictures);
    lines.push_back(formatted("background k = {}: the whole bank", pictures));
  }
  if (options.background != 0) return;
  const auto [value, reason] = background_for(pictures);
  options.background = value;
  lines.push_back(formatted("background k = {}: {}", value, reason));
}

void choose_close_neighbors(LaOptions& options, const std::string& network, int64_t pictures, Lines& lines) {
  constexpr int fewest_clusters = 2;
  const Clustering papers = papers_clustering(network);
  const auto [clusters, reason] =
      in_proportion(papers.clusters, pictures, std::min<int64_t>(fewest_clusters, pictures));
  if (options.close_neighbors == CloseNeighborKind::knn) {
    if (options.close_count != 0) return;
    // Fewer than k: if every background neighbor were a close one too, the loss would be 0.
    options.close_count =
        static_cast<int>(std::clamp<int64_t>(pictures / clusters, 1, std::max(options.background - 1, 1)));
    lines.push_back(
        formatted("`close_count` = {}: about as many as a k-means cluster would have", options.close_count));
    return;
  }
  if (options.close_neighbors == CloseNeighborKind::components) {
    options.clusterings = 1;
    return;
  }
  if (options.clusterings == 0 && options.clusters.size() > 1) {
    options.clusterings = static_cast<int>(options.clusters.size());
    lines.push_back(formatted("clusterings H = {}: one for each of `clusters`", options.clusterings));
  }
  if (options.clusterings == 0) {
    constexpr int64_t worth_many_clusterings = 1'000'000;  // pictures
    constexpr int fewest_in_paper = 3;
    const bool many = pictures >= worth_many_clusterings;
    options.clusterings = many ? papers.clusterings : fewest_in_paper;
    lines.push_back(formatted("clusterings H = {}: the {}", options.clusterings,
                              many ? "paper's for this network" : "fewest in the paper"));
  }
  if (options.clusters.empty() || options.clusters == std::vector<int>{0}) {
    options.clusters = {clusters};
    lines.push_back(formatted("clusters m = {}: {}", clusters, reason));
  }
}

void choose_noise(LaOptions& options, int64_t dim, int64_t pictures, Lines& lines) {
  if (options.ir_loss != IrLoss::nce) return;
  if (options.noise == 0) {
    constexpr int papers_noise = 4096;
    options.noise = static_cast<int>(std::clamp<int64_t>(pictures / 10, 1, papers_noise));
    lines.push_back(formatted("noise = {}: {}", options.noise,
                              options.noise == papers_noise ? "the paper's" : "a tenth of the pictures"));
  }
  constexpr float papers_temperature = 0.07f;
  constexpr int64_t papers_dim = 128;
  if (options.nce_constant == NceConstant::original &&
      (options.temperature != papers_temperature || dim != papers_dim))
    lines.push_back(
        "Z of nce is the original program's, for temperature 0.07 and 128 dimensions; `nce_constant` "
        "estimate fits any");
}

void check_at_most(const char* field, int64_t value, int64_t pictures, const char* advice = "") {
  check(value <= pictures, "`{}` {} is more than the {} training pictures{}", field, value, pictures, advice);
}

}  // namespace

int usual_background(int64_t pictures) { return background_for(pictures).value; }

void validate(const Config& config) {
  const OptimizerOptions& optimizer = config.optimizer;
  check(optimizer.warm_start_epochs <= optimizer.epochs, "`warm_start_epochs` {} is more than `epochs` {}",
        optimizer.warm_start_epochs, optimizer.epochs);
  check(config.run.init_without.empty() || !config.run.init.empty(),
        "`init_without` {} leaves out tensors of the file that `init` names, which is missing",
        config.run.init_without);
  const auto& drops = optimizer.drops;
  const auto in_steps = [](const TrainingTime& drop) { return drop.in_steps; };
  const bool of_one_kind =
      std::all_of(drops.begin(), drops.end(), in_steps) || std::none_of(drops.begin(), drops.end(), in_steps);
  if (of_one_kind) check_increasing(drops, 1);
  check(config.la.background != 1,
        "`background` 1 makes each picture its own only neighbor, and the loss 0; use at least 2");
  const std::vector<int>& clusters = config.la.clusters;
  check(std::count(clusters.begin(), clusters.end(), 1) == 0,
        "`clusters` 1 makes every picture a close neighbor of every other, and the loss 0; use at least 2");
}

void validate(const Config& config, int64_t pictures) {
  validate(config);
  check(pictures >= 2, "training needs at least 2 pictures, got {}", pictures);
  constexpr const char* zero_chooses = "; 0 chooses it from their number";
  const LaOptions& options = config.la;
  const int batch = config.optimizer.batch;
  check_at_most("batch", batch, pictures);
  check_increasing(config.optimizer.drops, steps_per_epoch(config.optimizer, pictures));
  if (config.optimizer.supervised) return;
  check_at_most("background", options.background, pictures, zero_chooses);
  if (options.close_neighbors == CloseNeighborKind::kmeans) {
    for (const int clusters : options.clusters) check_at_most("clusters", clusters, pictures, zero_chooses);
    check(options.clusters.size() == 1 || std::ssize(options.clusters) == options.clusterings,
          "`clusters` {} are of {} clusterings, but `clusterings` is {}", joined(options.clusters, ","),
          options.clusters.size(), options.clusterings);
    check(options.combine_clusterings != SharedClusters::count || options.clusterings <= 255,
          "`combine_clusterings` mean counts at most 255 clusterings, `clusterings` is {}",
          options.clusterings);
  } else if (options.close_neighbors == CloseNeighborKind::knn) {
    check(options.close_count < options.background,
          "`close_count` {} must be smaller than the number of background neighbors, `background` {}: if all "
          "of them are close, the loss is 0",
          options.close_count, options.background);
  }
  if (options.ir_loss == IrLoss::nce && config.optimizer.warm_start_epochs > 0)
    check(options.noise < pictures, "`noise` {} must be smaller than the number of training pictures, {}",
          options.noise, pictures);
  const int64_t candidates = int64_t{batch} * (int64_t{options.noise} + 1);
  check(candidates <= INT32_MAX, "`batch` {} with `noise` {} makes {} candidates; expected at most {}", batch,
        options.noise, candidates, INT32_MAX);
}

void validate(const Config& config, const Shards& shards) {
  if (!config.run.sync_batch_norm) return;
  const int64_t batch = config.optimizer.batch;
  const int processes = shards.ranks().size();
  check(shards.count() == processes,
        "`sync_batch_norm` needs one shard for each process: `shards` {} are not the number of processes, {}",
        shards.count(), processes);
  for (int64_t s = 0; s < shards.count(); ++s)
    check(shards.rows(batch, s).size() > 0,
          "`sync_batch_norm` needs pictures for each process: `batch` {} is less than two for each of {}",
          batch, processes);
}

std::vector<std::string> choose_defaults(Config& config, int64_t pictures) {
  Lines lines;
  OptimizerOptions& optimizer = config.optimizer;
  if (!optimizer.supervised) {
    choose_background(config.la, pictures, lines);
    choose_close_neighbors(config.la, config.network.name, pictures, lines);
    choose_noise(config.la, config.network.dim, pictures, lines);
  }
  if (optimizer.steps > 0) {
    const int64_t an_epoch = steps_per_epoch(optimizer, pictures);
    optimizer.epochs =
        static_cast<int>(std::min<int64_t>((optimizer.steps + an_epoch - 1) / an_epoch, INT32_MAX));
    lines.push_back(
        formatted("epochs = {}: {} steps, {} an epoch", optimizer.epochs, optimizer.steps, an_epoch));
  }
  if (optimizer.schedule.kind == ScheduleKind::step && optimizer.drops.empty()) {
    optimizer.drops = default_drops(optimizer.epochs);
    lines.push_back(formatted("`learning_rate_drops` = {}: after 60 % and 80 % of {} epochs",
                              joined(optimizer.drops, ","), optimizer.epochs));
  }
  return lines;
}

std::vector<std::string> choose_for_device(Config& config, Device device) {
  Precision& precision = config.run.precision;
  if (precision != Precision::automatic) return {};
  const bool multiplies = multiplies_bf16(device);
  precision = multiplies ? Precision::bf16 : Precision::f32;
  return {formatted("precision {}: the {} {} bf16", precision, device.is_cpu() ? "CPU" : "GPU",
                    multiplies ? "multiplies" : "cannot multiply")};
}

}  // namespace la
