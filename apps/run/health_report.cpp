#include "apps/run/health_report.h"

#include "tensor/format.h"

namespace la {
namespace {

std::string describe(const Spread& spread, int64_t dim) {
  return formatted("effective rank {:.1f} of {}, mean similarity {:.3f}", spread.effective_rank, dim,
                   spread.mean_similarity);
}

}  // namespace

Metrics metrics_of(const BankHealth& health) {
  Metrics fields{{"effective_rank", health.spread.effective_rank},
                 {"mean_similarity", health.spread.mean_similarity}};
  const auto add = [&](const char* key, std::optional<double> value) {
    if (value) fields.emplace_back(key, *value);
  };
  const Neighborhoods& near = health.neighborhoods;
  add("bank_moved", health.moved);
  add("background_neighbors", near.background);
  add("background_same_label", near.background_same_label);
  add("close_neighbors", near.close);
  add("close_same_label", near.close_same_label);
  return fields;
}

Metrics metrics_of(const BankClusters& clusters) {
  const ClusterSizes sizes = cluster_sizes(clusters.sizes);
  return {{"cluster_entropy", sizes.entropy},
          {"cluster_smallest", sizes.smallest},
          {"cluster_median", sizes.median},
          {"cluster_largest", sizes.largest},
          {"clustered_effective_rank", clusters.spread.effective_rank},
          {"clustered_mean_similarity", clusters.spread.mean_similarity}};
}

std::string describe(const BankHealth& health, int64_t dim) {
  const auto with_label = [](std::optional<double> share) {
    return share ? formatted(" ({:.0f} % of the same label)", 100 * *share) : std::string();
  };
  const Neighborhoods& near = health.neighborhoods;
  std::string text = "  bank: " + describe(health.spread, dim);
  if (health.moved) text += formatted(", {:.0f} % moved", 100 * *health.moved);
  text +=
      formatted("; {:.0f} background neighbors{}", near.background, with_label(near.background_same_label));
  if (near.close)
    text += formatted(", {:.1f} of them close{}", *near.close, with_label(near.close_same_label));
  return text;
}

std::string describe(const BankClusters& clusters, int64_t dim) {
  const ClusterSizes sizes = cluster_sizes(clusters.sizes);
  return formatted("  sizes {} to {}, median {}, entropy {:.3f}; {}", sizes.smallest, sizes.largest,
                   sizes.median, sizes.entropy, describe(clusters.spread, dim));
}

}  // namespace la
