#include "apps/run/tensorboard.h"

#include <map>

namespace la {

std::string tensorboard_tag(std::string_view field) {
  static const std::map<std::string_view, std::string_view> groups = {
      {"ir_loss", "loss"},
      {"la_loss", "loss"},
      {"supervised_loss", "loss"},
      {"learning_rate", "training"},
      {"images_per_second", "training"},
      {"pixel_knn200", "accuracy"},
      {"knn200", "accuracy"},
      {"bank_knn200", "accuracy"},
      {"knn1", "accuracy"},
      {"likeliest", "accuracy"},
      {"effective_rank", "bank"},
      {"mean_similarity", "bank"},
      {"bank_moved", "bank"},
      {"background_neighbors", "neighbors"},
      {"background_same_label", "neighbors"},
      {"close_neighbors", "neighbors"},
      {"close_same_label", "neighbors"},
      {"clustering_seconds", "clusters"},
      {"inertia", "clusters"},
      {"size_imbalance", "clusters"},
      {"clusters_split", "clusters"},
      {"clusters_empty", "clusters"},
      {"components", "clusters"},
      {"cluster_entropy", "clusters"},
      {"cluster_smallest", "clusters"},
      {"cluster_median", "clusters"},
      {"cluster_largest", "clusters"},
      {"clustered_effective_rank", "clusters"},
      {"clustered_mean_similarity", "clusters"},
  };
  const auto found = groups.find(field);
  return found == groups.end() ? "" : std::string(found->second) + "/" + std::string(field);
}

void TensorBoard::add(const Metrics& line, int64_t step) const {
  std::vector<std::pair<std::string, double>> values;
  for (const auto& [field, value] : line) {
    const std::string tag = tensorboard_tag(field);
    if (tag.empty()) continue;
    if (const auto* const whole = std::get_if<int64_t>(&value)) values.emplace_back(tag, *whole);
    if (const auto* const real = std::get_if<double>(&value)) values.emplace_back(tag, *real);
  }
  if (!values.empty()) events_.add(step, values);
}

}  // namespace la
