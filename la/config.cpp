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
std::vector<int> default_drops(int epochs) {
  const int first = (epochs * 6 + 9) / 10, second = (epochs * 8 + 9) / 10;
  return first < second ? std::vector{first, second} : std::vector{first};
}

void choose_neighbors(Config& config, int64_t pictures, std::vector<std::string>& lines) {
  constexpr int papers_background = 4096, fewest_clusters = 2;
  // More than a cluster has, which in the paper's proportion is some 43 pictures: where all background
  // neighbors are close ones, the loss is 0.
  constexpr int64_t fewest_background = 128;
  if (config.background == 0) {
    const auto [value, reason] =
        in_proportion(papers_background, pictures, std::clamp<int64_t>(pictures / 2, 2, fewest_background));
    config.background = value;
    lines.push_back(formatted("background k = {}: {}", value, reason));
  }
  const Clustering papers = papers_clustering(config.network);
  const auto [clusters, reason_for_clusters] =
      in_proportion(papers.clusters, pictures, std::min<int64_t>(fewest_clusters, pictures));
  if (config.close_neighbors == CloseNeighborKind::knn) {
    if (config.close_count != 0) return;
    // Fewer than k: if every background neighbor were a close one too, the loss would be 0.
    config.close_count =
        static_cast<int>(std::clamp<int64_t>(pictures / clusters, 1, std::max(config.background - 1, 1)));
    lines.push_back(
        formatted("close-count = {}: about as many as a k-means cluster would have", config.close_count));
    return;
  }
  if (config.clusterings == 0) {
    constexpr int64_t worth_many_clusterings = 1'000'000;  // pictures
    constexpr int fewest_in_paper = 3;
    const bool many = pictures >= worth_many_clusterings;
    config.clusterings = many ? papers.clusterings : fewest_in_paper;
    lines.push_back(formatted("clusterings H = {}: the {}", config.clusterings,
                              many ? "paper's for this network" : "fewest in the paper"));
  }
  if (config.clusters == 0) {
    config.clusters = clusters;
    lines.push_back(formatted("clusters m = {}: {}", clusters, reason_for_clusters));
  }
}

void check_at_most(const char* option, int64_t value, int64_t pictures, const char* advice = "") {
  check(value <= pictures, "--{} {} is more than the {} training pictures{}", option, value, pictures,
        advice);
}

}  // namespace

void validate(const Config& config) {
  check(config.warm_start_epochs <= config.epochs, "--warm-start-epochs {} is more than --epochs {}",
        config.warm_start_epochs, config.epochs);
  check(config.init_without.empty() || !config.init.empty(),
        "--init-without {} leaves out tensors of --init FILE, which is missing", config.init_without);
  const auto& drops = config.learning_rate_drops;
  check(std::adjacent_find(drops.begin(), drops.end(), std::greater_equal()) == drops.end(),
        "--learning-rate-drops {} must increase", joined(drops, ","));
  check(config.background != 1,
        "--background 1 makes each picture its own only neighbor, and the loss 0; use at least 2");
  check(config.clusters != 1,
        "--clusters 1 makes every picture a close neighbor of every other, and the loss 0; use at least 2");
}

void validate(const Config& config, int64_t pictures) {
  validate(config);
  check(pictures >= 2, "training needs at least 2 pictures, got {}", pictures);
  constexpr const char* zero_chooses = "; 0 chooses it from their number";
  check_at_most("batch", config.batch, pictures);
  check_at_most("background", config.background, pictures, zero_chooses);
  if (config.close_neighbors == CloseNeighborKind::kmeans) {
    check_at_most("clusters", config.clusters, pictures, zero_chooses);
  } else {
    check(config.close_count < config.background,
          "--close-count {} must be smaller than the number of background neighbors, --background {}: if all "
          "of them are close, the loss is 0",
          config.close_count, config.background);
  }
  if (config.ir_loss == IrLoss::nce && config.warm_start_epochs > 0)
    check(config.noise < pictures, "--noise {} must be smaller than the number of training pictures, {}",
          config.noise, pictures);
  const int64_t candidates = int64_t{config.batch} * (int64_t{config.noise} + 1);
  check(candidates <= INT32_MAX, "--batch {} with --noise {} makes {} candidates; expected at most {}",
        config.batch, config.noise, candidates, INT32_MAX);
}

std::vector<std::string> choose_defaults(Config& config, int64_t pictures) {
  std::vector<std::string> lines;
  choose_neighbors(config, pictures, lines);
  if (config.ir_loss == IrLoss::nce && config.noise == 0) {
    constexpr int papers_noise = 4096;
    config.noise = static_cast<int>(std::clamp<int64_t>(pictures / 10, 1, papers_noise));
    lines.push_back(formatted("noise = {}: {}", config.noise,
                              config.noise == papers_noise ? "the paper's" : "a tenth of the pictures"));
  }
  constexpr float papers_temperature = 0.07f;
  constexpr int papers_dim = 128;
  if (config.ir_loss == IrLoss::nce && config.nce_constant == NceConstant::original &&
      (config.temperature != papers_temperature || config.dim != papers_dim))
    lines.push_back(
        "Z of nce is the original program's, for temperature 0.07 and 128 dimensions; --nce-constant "
        "estimate fits any");
  if (config.schedule == ScheduleKind::step && config.learning_rate_drops.empty()) {
    config.learning_rate_drops = default_drops(config.epochs);
    lines.push_back(formatted("learning-rate-drops = {}: after 60 % and 80 % of {} epochs",
                              joined(config.learning_rate_drops, ","), config.epochs));
  }
  return lines;
}

std::vector<std::string> choose_for_device(Config& config, Device device) {
  if (config.precision != Precision::automatic) return {};
  const bool multiplies = multiplies_bf16(device);
  config.precision = multiplies ? Precision::bf16 : Precision::f32;
  return {formatted("precision {}: the {} {} bf16", name_of(config.precision),
                    device.is_cpu() ? "CPU" : "GPU", multiplies ? "multiplies" : "cannot multiply")};
}

}  // namespace la
