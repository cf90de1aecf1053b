#include <algorithm>
#include <utility>

#include "evaluation/sample.h"
#include "la/trainer.h"

namespace la {
namespace {

constexpr int64_t most_neighborhoods = 1000;  // pictures

}  // namespace

Tensor Trainer::sample_of_bank() const {
  return bank_.rows()
      .gather("vectors of the bank", evenly_spread(bank_.size(), most_sampled))
      .to(Device::cpu());
}

void Trainer::remember_bank() {
  if (bank_.size() > 0) bank_before_ = sample_of_bank();
}

BankHealth Trainer::bank_health(const std::vector<int32_t>& own_labels) {
  BankHealth health{.spread = spread_of(bank_.rows()), .neighborhoods = neighborhoods(own_labels)};
  const Tensor before = std::exchange(bank_before_, sample_of_bank());
  if (before.defined()) health.moved = moved_share(before, bank_before_);
  return health;
}

/// With the vectors of the bank in place of embeddings, which would have to be computed.
Neighborhoods Trainer::neighborhoods(const std::vector<int32_t>& own_labels) const {
  const bool knows_close = config_.la.close_neighbors == CloseNeighborKind::knn || cluster_labels_.defined();
  const std::vector<int32_t> pictures = evenly_spread(bank_.size(), most_neighborhoods);
  const int64_t at_once = config_.optimizer.batch, count = std::ssize(pictures);  // as many as a step has
  NeighborCounts counts(bank_, own_labels);
  for (int64_t begin = 0; begin < count; begin += at_once) {
    const std::vector<int32_t> some(pictures.begin() + begin,
                                    pictures.begin() + std::min(begin + at_once, count));
    const Tensor indices = Tensor::from(some, {std::ssize(some)}, device_);
    const Background background = background_of(bank_.rows().gather("vectors of the bank", some), indices);
    counts.add(some, background, knows_close ? close_of(background, indices) : CloseMasks{});
  }
  return counts.result();
}

}  // namespace la
