#include "evaluation/cluster_agreement.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "tensor/error.h"

namespace la {
namespace {

using Counts = std::map<int32_t, int64_t>;

/// n_ij where it is not 0, a_i, b_j and N.
struct Contingency {
  std::map<std::pair<int32_t, int32_t>, int64_t> both;
  Counts a, b;
  int64_t all = 0;

  Contingency(const std::vector<int32_t>& in_a, const std::vector<int32_t>& in_b) {
    check(in_a.size() == in_b.size(), "agreement: {} numbers and {}, expected as many", in_a.size(),
          in_b.size());
    for (size_t i = 0; i < in_a.size(); ++i) {
      if (in_a[i] < 0 || in_b[i] < 0) continue;
      ++both[{in_a[i], in_b[i]}];
      ++a[in_a[i]];
      ++b[in_b[i]];
      ++all;
    }
    check(all > 0, "agreement: of {} things none has a number in both divisions", in_a.size());
  }
};

/// -sum p log p
double entropy(const Counts& counts, int64_t all) {
  double sum = 0;
  for (const auto& [number, count] : counts) {
    const double p = static_cast<double>(count) / static_cast<double>(all);
    sum -= p * std::log(p);
  }
  return sum;
}

double pairs(int64_t count) { return static_cast<double>(count) * static_cast<double>(count - 1) / 2; }

double pairs(const Counts& counts) {
  double sum = 0;
  for (const auto& [number, count] : counts) sum += pairs(count);
  return sum;
}

}  // namespace

double purity(const std::vector<int32_t>& clusters, const std::vector<int32_t>& labels) {
  const Contingency n(clusters, labels);
  Counts most;
  for (const auto& [numbers, count] : n.both) most[numbers.first] = std::max(most[numbers.first], count);
  int64_t right = 0;
  for (const auto& [cluster, count] : most) right += count;
  return static_cast<double>(right) / static_cast<double>(n.all);
}

// sum_ij n_ij / N log(N n_ij / (a_i b_j))
double normalized_mutual_information(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  const Contingency n(a, b);
  if (n.a.size() == 1 && n.b.size() == 1) return 1;
  const auto all = static_cast<double>(n.all);
  double information = 0;
  for (const auto& [numbers, count] : n.both) {
    const auto n_ij = static_cast<double>(count);
    const auto independent =
        static_cast<double>(n.a.at(numbers.first)) * static_cast<double>(n.b.at(numbers.second)) / all;
    information += n_ij / all * std::log(n_ij / independent);
  }
  return std::max(information, 0.0) / ((entropy(n.a, n.all) + entropy(n.b, n.all)) / 2);
}

double adjusted_rand_index(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  const Contingency n(a, b);
  double together = 0;
  for (const auto& [numbers, count] : n.both) together += pairs(count);
  const double in_a = pairs(n.a), in_b = pairs(n.b), all = pairs(n.all);
  const double most = (in_a + in_b) / 2, by_chance = all > 0 ? in_a * in_b / all : 0;
  if (most == by_chance) return 1;  // both have one cluster, or clusters of one
  return (together - by_chance) / (most - by_chance);
}

}  // namespace la
