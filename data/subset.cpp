#include "data/subset.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "tensor/format.h"
#include "tensor/random.h"

namespace la {

Subset::Subset(const Dataset& all, std::vector<int64_t> rows) : all_(all), rows_(std::move(rows)) {
  for (const int64_t i : rows_)
    check(i >= 0 && i < all.size(), "picture {} of a data set of {}", i, all.size());
}

Excerpt Subset::excerpt(int64_t i, int size, const ChooseCrop& choose) const {
  return all_.excerpt(row(i), size, choose);
}

std::string Subset::description() const { return formatted("{} of {}", size(), all_.description()); }

std::unique_ptr<Dataset> labeled_pictures(const Dataset& all) {
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < all.size(); ++i)
    if (all.label(i) != unlabeled) rows.push_back(i);
  return std::make_unique<Subset>(all, std::move(rows));
}

std::unique_ptr<Dataset> share_of_labels(const Dataset& all, double share, uint64_t seed) {
  check(share > 0 && share <= 1, "a share of {} of the labels, expected more than 0 and at most 1", share);
  std::map<int, std::vector<int64_t>> of_class;
  for (int64_t i = 0; i < all.size(); ++i)
    if (all.label(i) != unlabeled) of_class[all.label(i)].push_back(i);
  std::vector<int64_t> rows;
  for (auto& [label, members] : of_class) {
    RandomGenerator random({seed, RandomStream::low_shot, static_cast<uint64_t>(label)});
    const auto wanted =
        static_cast<size_t>(std::max(1.0, std::round(share * static_cast<double>(members.size()))));
    for (size_t i = 0; i < wanted; ++i)
      std::swap(members[i], members[i + random.below(static_cast<uint32_t>(members.size() - i))]);
    rows.insert(rows.end(), members.begin(), members.begin() + static_cast<int64_t>(wanted));
  }
  std::sort(rows.begin(), rows.end());
  return std::make_unique<Subset>(all, std::move(rows));
}

}  // namespace la
