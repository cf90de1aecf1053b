#include "la/neighborhoods.h"

#include <cmath>
#include <numeric>

#include "data/dataset.h"

namespace la {

NeighborCounts::NeighborCounts(const MemoryBank& bank, const std::vector<int32_t>& labels)
    : bank_(bank), labels_(Tensor::from(labels, {std::ssize(labels)}), bank.size(), bank.shards()) {
  check(labels_.own.size(0) == bank.rows().range().size(), "{} labels of {} pictures", labels.size(),
        bank.rows().range().size());
}

void NeighborCounts::Counts::add(int32_t label, int32_t other) {
  ++all;
  if (label == unlabeled || other == unlabeled) return;
  ++labeled;
  same += label == other ? 1 : 0;
}

std::optional<double> NeighborCounts::Counts::same_share() const {
  if (labeled == 0) return {};
  return static_cast<double>(same) / static_cast<double>(labeled);
}

void NeighborCounts::add(const std::vector<int32_t>& pictures, const Background& background,
                         const CloseMasks& close) {
  const Tensor numbers = Tensor::from(pictures, {std::ssize(pictures)});
  const std::vector<int32_t> labels = labels_.gather("labels of pictures", pictures).to_vector<int32_t>();
  pictures_ += std::ssize(pictures);
  knows_close_ = !close.empty();
  for (size_t p = 0; p < background.size(); ++p) {
    const std::vector<int32_t> itself =
        bank_.part_rows_of(numbers, static_cast<int64_t>(p)).to_vector<int32_t>();
    add_part(static_cast<int64_t>(p), labels, itself, background[p], knows_close_ ? close[p] : Tensor());
  }
}

/// Those neighbors that are rows of the p-th shard of this process. itself: the row of each picture there, or absent_row.
void NeighborCounts::add_part(int64_t p, const std::vector<int32_t>& labels,
                              const std::vector<int32_t>& itself, const TopK& neighbors,
                              const Tensor& close) {
  const Tensor labels_of_part = labels_.part_of(labels_.own, p);
  const std::vector<int32_t> rows = neighbors.indices.to_vector<int32_t>();
  const std::vector<float> similarities = neighbors.values.to_vector<float>();
  const std::vector<uint8_t> is_close = close.defined() ? close.to_vector<uint8_t>() : std::vector<uint8_t>();
  const auto k = static_cast<size_t>(neighbors.indices.size(1));
  for (size_t j = 0; j < rows.size(); ++j) {
    const size_t i = j / k;  // which picture
    const bool is_neighbor = !std::isinf(similarities[j]);
    if (!is_neighbor || rows[j] == itself[i]) continue;
    const int32_t other = labels_of_part.data<int32_t>()[rows[j]];
    background_.add(labels[i], other);
    if (!is_close.empty() && is_close[j] != 0) close_.add(labels[i], other);
  }
}

NeighborCounts::Counts NeighborCounts::of_all_ranks(const Counts& own) const {
  const auto sum = [&](int64_t count) {
    const std::vector<int64_t> counts = bank_.shards().ranks().all_gather("numbers of neighbors", count);
    return std::accumulate(counts.begin(), counts.end(), int64_t{0});
  };
  return {sum(own.all), sum(own.labeled), sum(own.same)};
}

Neighborhoods NeighborCounts::result() const {
  check(pictures_ > 0, "neighbors of no pictures");
  const Counts background = of_all_ranks(background_), close = of_all_ranks(close_);
  const auto mean = [&](const Counts& counts) {
    return static_cast<double>(counts.all) / static_cast<double>(pictures_);
  };
  Neighborhoods result{.background = mean(background)};
  result.background_same_label = background.same_share();
  if (!knows_close_) return result;
  result.close = mean(close);
  result.close_same_label = close.same_share();
  return result;
}

}  // namespace la
