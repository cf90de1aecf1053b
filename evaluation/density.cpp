#include "evaluation/density.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "data/dataset.h"
#include "evaluation/neighbor_graph.h"

namespace la {
namespace {

double mean_of_first(std::span<const float> values, int64_t count) {
  return std::accumulate(values.begin(), values.begin() + count, 0.0) / static_cast<double>(count);
}

}  // namespace

Densities densities(const VectorSearch& vectors, int64_t local, int64_t background,
                    const ProgressCallback& progress) {
  const int64_t n = vectors.size();
  check(local >= 1 && local <= background && background < n,
        "density: the nearest {} and {} of {} vectors; expected 1 <= local <= background < vectors", local,
        background, n);
  Densities result;
  const auto append = [&](int64_t, const Neighborhood& others) {
    result.local.push_back(mean_of_first(others.similarities, local));
    result.background.push_back(mean_of_first(others.similarities, background));
  };
  for_each_neighborhood(vectors, background, append, "densities", progress);
  return result;
}

std::vector<int64_t> histogram(const std::vector<double>& values, int bins) {
  std::vector<int64_t> counts(static_cast<size_t>(bins));
  for (const double value : values) {
    const int bin = static_cast<int>(std::floor((value + 1) / 2 * bins));
    ++counts[static_cast<size_t>(std::clamp(bin, 0, bins - 1))];
  }
  return counts;
}

std::vector<CategoryDensity> density_by_category(const Densities& densities,
                                                 const std::vector<int32_t>& train_labels,
                                                 const Guesses& guesses) {
  std::map<int32_t, CategoryDensity> categories;
  for (size_t i = 0; i < train_labels.size(); ++i) {
    CategoryDensity& category = categories[train_labels[i]];
    ++category.pictures;
    category.local += densities.local[i];
    category.background += densities.background[i];
  }
  for (size_t i = 0; i < guesses.labels.size(); ++i) {
    CategoryDensity& category = categories[guesses.labels[i]];
    ++category.test_pictures;
    category.accuracy += guesses.is_right(i) ? 1 : 0;
  }
  std::vector<CategoryDensity> result;
  for (auto& [label, category] : categories) {
    if (label == unlabeled || category.pictures == 0 || category.test_pictures == 0) continue;
    category.label = label;
    category.local /= static_cast<double>(category.pictures);
    category.background /= static_cast<double>(category.pictures);
    category.accuracy /= static_cast<double>(category.test_pictures);
    result.push_back(category);
  }
  return result;
}

double correlation(const std::vector<double>& a, const std::vector<double>& b) {
  const auto mean = [](const std::vector<double>& x) {
    return std::accumulate(x.begin(), x.end(), 0.0) / static_cast<double>(std::max<size_t>(x.size(), 1));
  };
  const double mean_a = mean(a), mean_b = mean(b);
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean_a) * (b[i] - mean_b);
    aa += (a[i] - mean_a) * (a[i] - mean_a);
    bb += (b[i] - mean_b) * (b[i] - mean_b);
  }
  return aa == 0 || bb == 0 ? 0 : ab / std::sqrt(aa * bb);
}

}  // namespace la
