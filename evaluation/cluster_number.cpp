#include "evaluation/cluster_number.h"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <utility>

#include "evaluation/cluster_agreement.h"
#include "tensor/ops.h"

namespace la {
namespace {

/// The costs of merging any two clusters, while more and more have been merged.
class Costs {
 public:
  Costs(const Tensor& means, std::vector<double> counts)
      : n_(counts.size()), counts_(std::move(counts)), costs_(n_ * n_) {
    const std::vector<float> products = ops::matmul(means, means, {.transpose_b = true}).to_vector<float>();
    for (size_t i = 0; i < n_; ++i)
      for (size_t j = 0; j < i; ++j) {
        const double square =
            double{products[i * n_ + i]} + products[j * n_ + j] - 2.0 * products[i * n_ + j];
        const double weight = counts_[i] * counts_[j] / (counts_[i] + counts_[j]);
        at(i, j) = at(j, i) = static_cast<float>(weight * std::max(square, 0.0));
      }
  }

  /// The cluster that is cheapest to merge with i; of equal ones `preferred`, then the lowest.
  size_t nearest(size_t i, size_t preferred) const {
    float least = preferred < n_ ? at(i, preferred) : std::numeric_limits<float>::infinity();
    size_t found = preferred;
    for (size_t j = 0; j < n_; ++j) {
      if (j == i || counts_[j] == 0 || !(at(i, j) < least)) continue;
      least = at(i, j);
      found = j;
    }
    return found;
  }

  /// Merges j into i; returns the cost. The new costs follow from the old ones (Lance and Williams 1967).
  double merge(size_t i, size_t j) {
    const double cost = at(i, j);
    for (size_t k = 0; k < n_; ++k) {
      if (k == i || k == j || counts_[k] == 0) continue;
      const double all = counts_[i] + counts_[j] + counts_[k];
      at(i, k) = at(k, i) = static_cast<float>(
          ((counts_[i] + counts_[k]) * at(i, k) + (counts_[j] + counts_[k]) * at(j, k) - counts_[k] * cost) /
          all);
    }
    counts_[i] += std::exchange(counts_[j], 0.0);
    return cost;
  }

  bool merged(size_t i) const { return counts_[i] == 0; }

 private:
  float& at(size_t i, size_t j) { return costs_[i * n_ + j]; }
  float at(size_t i, size_t j) const { return costs_[i * n_ + j]; }

  size_t n_;
  std::vector<double> counts_;  // 0: merged into another
  std::vector<float> costs_;
};

}  // namespace

Halves random_halves(int64_t n, int64_t most, const RandomKey& key) {
  std::vector<int32_t> rows(static_cast<size_t>(n));
  std::iota(rows.begin(), rows.end(), 0);
  const int64_t half = std::min(n / 2, most);
  RandomGenerator random(key);
  for (int64_t i = 0; i < 2 * half; ++i)
    std::swap(rows[static_cast<size_t>(i)],
              rows[static_cast<size_t>(i + random.below(static_cast<uint32_t>(n - i)))]);
  const auto middle = rows.begin() + half;
  return {{rows.begin(), middle}, {middle, middle + half}};
}

double stability(const std::vector<int32_t>& own, const std::vector<int32_t>& predicted, int64_t clusters) {
  const std::set<int32_t> occurring(own.begin(), own.end());
  return std::ssize(occurring) < clusters ? 0 : adjusted_rand_index(own, predicted);
}

size_t choose_number(const std::vector<double>& stabilities) {
  check(!stabilities.empty(), "no number of clusters to choose from");
  constexpr double little = 0.005;  // the third decimal of two means is luck
  const double least = *std::max_element(stabilities.begin(), stabilities.end()) - little;
  size_t last = stabilities.size() - 1;
  while (stabilities[last] <= least) --last;
  return last;
}

// A chain in which each cluster is the one that is cheapest to merge with the one before ends with two that
// are so for one another: they may be merged at once, though others are cheaper, and the merges sorted
// afterwards (Murtagh 1983). So not all pairs are looked at for each merge.
MergeTree::MergeTree(const Tensor& means, const std::vector<int32_t>& counts) {
  const Tensor host = means.to(Device::cpu());
  std::vector<int32_t> kept;
  for (size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] == 0) continue;
    kept.push_back(static_cast<int32_t>(i));
    counts_.push_back(counts[i]);
    const float* row = host.data<float>() + static_cast<int64_t>(i) * host.size(1);
    rows_.emplace_back(row, row + host.size(1));
  }
  check(!rows_.empty(), "no clusters to merge");
  Costs costs(ops::gather_rows(host, kept), counts_);
  const size_t none = rows_.size();
  for (size_t first = 0; merges_.size() + 1 < rows_.size();) {
    while (costs.merged(first)) ++first;
    size_t before = none, last = first, next = costs.nearest(last, before);
    check(next != none, "clusters to merge: their means are not finite");
    while (next != before) {
      before = std::exchange(last, next);
      next = costs.nearest(last, before);
    }
    merges_.push_back({costs.merge(before, last), static_cast<int32_t>(before), static_cast<int32_t>(last)});
  }
  std::stable_sort(merges_.begin(), merges_.end(),
                   [](const Merge& a, const Merge& b) { return a.cost < b.cost; });
}

Tensor MergeTree::means(int64_t m) const {
  check(m >= 1 && m <= leaves(), "{} of {} clusters to be merged; expected 1 to as many", m, leaves());
  std::vector<size_t> parents(rows_.size());
  std::iota(parents.begin(), parents.end(), size_t{0});
  const auto root = [&](size_t i) {
    while (parents[i] != i) i = parents[i] = parents[parents[i]];
    return i;
  };
  for (int64_t i = 0; i < leaves() - m; ++i) {
    const Merge& merge = merges_[static_cast<size_t>(i)];
    parents[root(static_cast<size_t>(merge.from))] = root(static_cast<size_t>(merge.into));
  }
  const size_t dim = rows_.front().size();
  std::map<size_t, std::vector<double>> sums;  // and the counts behind them
  for (size_t i = 0; i < rows_.size(); ++i) {
    std::vector<double>& sum = sums[root(i)];
    sum.resize(dim + 1);
    for (size_t d = 0; d < dim; ++d) sum[d] += counts_[i] * rows_[i][d];
    sum[dim] += counts_[i];
  }
  std::vector<float> values;
  for (const auto& [number, sum] : sums)
    for (size_t d = 0; d < dim; ++d) values.push_back(static_cast<float>(sum[d] / sum[dim]));
  return Tensor::from(values, {m, static_cast<int64_t>(dim)});
}

}  // namespace la
