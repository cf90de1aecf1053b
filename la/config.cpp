#include "la/config.h"

#include <algorithm>
#include <functional>

#include "tensor/error.h"

namespace la {
namespace {

struct Clustering {
  int clusterings;  // H
  int clusters;     // m
  const char* why_clusterings;
  const char* why_clusters;
};

/// The paper's H and m where there are about as many pictures as in ImageNet (1,281,167); with fewer, so many
/// clusters would leave hardly any picture in each.
Clustering scaled_clustering(const std::string& network, int64_t pictures) {
  constexpr int64_t imagenet_scale = 1'000'000;
  if (pictures < imagenet_scale)
    return {3, static_cast<int>(std::max<int64_t>(pictures / 100, 2)), "the fewest in the paper",
            "a hundred pictures a cluster"};
  constexpr const char* why = "the paper's for this network";
  if (network.starts_with("resnet")) return {10, 30'000, why, why};
  if (network.starts_with("vgg")) return {6, 10'000, why, why};
  return {3, 30'000, why, why};  // AlexNet
}

/// The paper's 4096, unless that is a large part of the data set.
int scaled_4096(int64_t pictures, int64_t at_least) {
  return static_cast<int>(std::clamp<int64_t>(pictures / 10, at_least, 4096));
}

std::string explain_4096(const char* name, int value, int64_t pictures) {
  return value == 4096 ? fmt::format("{} = 4096: the paper's", name)
                       : fmt::format("{} = {}: a tenth of {} pictures", name, value, pictures);
}

std::string comma_list(const std::vector<int>& numbers) {
  std::string text;
  for (int number : numbers) {
    if (!text.empty()) text += ',';
    text += std::to_string(number);
  }
  return text;
}

/// After 60 % and 80 % of the epochs, rounded up; one drop if they fall together.
std::vector<int> default_drops(int epochs) {
  const int first = (epochs * 6 + 9) / 10, second = (epochs * 8 + 9) / 10;
  return first < second ? std::vector{first, second} : std::vector{first};
}

void choose_neighbors(Config& config, int64_t pictures, std::vector<std::string>& lines) {
  const Clustering scaled = scaled_clustering(config.network, pictures);
  if (config.close_neighbors == CloseNeighborKind::knn) {
    if (config.close_count != 0) return;
    // Fewer than k: if every background neighbor were a close one too, the loss would be 0.
    const int64_t average = pictures / scaled.clusters;
    config.close_count =
        static_cast<int>(std::clamp<int64_t>(average, 1, std::max(config.background - 1, 1)));
    lines.push_back(
        fmt::format("close-count = {}: about as many as a k-means cluster would have", config.close_count));
    return;
  }
  if (config.clusterings == 0) {
    config.clusterings = scaled.clusterings;
    lines.push_back(fmt::format("clusterings H = {}: {}", config.clusterings, scaled.why_clusterings));
  }
  if (config.clusters == 0) {
    config.clusters = scaled.clusters;
    lines.push_back(fmt::format("clusters m = {}: {}", config.clusters, scaled.why_clusters));
  }
}

void check_at_most(const char* option, int64_t value, int64_t pictures) {
  check(value <= pictures, "--{} {} is more than the {} training pictures", option, value, pictures);
}

}  // namespace

void validate(const Config& config) {
  check(config.warm_start_epochs <= config.epochs, "--warm-start-epochs {} is more than --epochs {}",
        config.warm_start_epochs, config.epochs);
  const auto& drops = config.learning_rate_drops;
  check(std::adjacent_find(drops.begin(), drops.end(), std::greater_equal()) == drops.end(),
        "--learning-rate-drops {} must increase", comma_list(drops));
  check(config.clusters != 1,
        "--clusters 1 makes every picture a close neighbor of every other, and the loss 0; use at least 2");
}

void validate(const Config& config, int64_t pictures) {
  validate(config);
  check(pictures >= 2, "training needs at least 2 pictures, got {}", pictures);
  check_at_most("batch", config.batch, pictures);
  check_at_most("background", config.background, pictures);
  if (config.close_neighbors == CloseNeighborKind::kmeans) {
    check_at_most("clusters", config.clusters, pictures);
  } else {
    check(config.close_count < config.background,
          "--close-count {} must be smaller than the number of background neighbors, --background {}: if all "
          "of them are close, the loss is 0",
          config.close_count, config.background);
  }
  if (config.ir_loss == IrLoss::nce && config.warm_start_epochs > 0)
    check(config.noise < pictures, "--noise {} must be smaller than the number of training pictures, {}",
          config.noise, pictures);
}

std::vector<std::string> choose_defaults(Config& config, int64_t pictures) {
  std::vector<std::string> lines;
  if (config.background == 0) {
    config.background = scaled_4096(pictures, 2);  // itself and another
    lines.push_back(explain_4096("background k", config.background, pictures));
  }
  choose_neighbors(config, pictures, lines);
  if (config.ir_loss == IrLoss::nce && config.noise == 0) {
    config.noise = scaled_4096(pictures, 1);
    lines.push_back(explain_4096("noise", config.noise, pictures));
  }
  if (config.schedule == ScheduleKind::step && config.learning_rate_drops.empty()) {
    config.learning_rate_drops = default_drops(config.epochs);
    lines.push_back(fmt::format("learning-rate-drops = {}: after 60 % and 80 % of {} epochs",
                                comma_list(config.learning_rate_drops), config.epochs));
  }
  return lines;
}

}  // namespace la
