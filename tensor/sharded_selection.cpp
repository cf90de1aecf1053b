#include "tensor/sharded_selection.h"

#include "tensor/ops.h"

namespace la {

std::vector<Tensor> mark_largest(const Shards& shards, std::span<const TopK> parts,
                                 std::span<const Tensor> always, int64_t k) {
  check(std::ssize(parts) == shards.own() && (always.empty() || always.size() == parts.size()),
        "mark_largest: {} parts and {} lists of rows for {} shards of this rank", parts.size(), always.size(),
        shards.own());
  const int64_t rows = parts[0].values.size(0);
  const Device device = parts[0].values.device();
  const auto taken = [&](size_t s) { return always.empty() ? Tensor() : always[s]; };
  const auto zeros = [&](int64_t n, int64_t width) { return Tensor::zeros({n, width}, DType::i32, device); };

  const Tensor chosen({rows, 2}, DType::i32, device);
  for (int place = 0; place < digit_places; ++place) {
    const Tensor counts = zeros(rows, digit_values);
    for (size_t s = 0; s < parts.size(); ++s) ops::count_digits(counts, parts[s], taken(s), place, chosen);
    shards.ranks().all_reduce("histograms of similarities", counts, Reduction::sum);
    ops::choose_digit(counts, place, k, chosen);
  }

  const Tensor own_ties = zeros(shards.own(), rows);
  for (size_t s = 0; s < parts.size(); ++s) {
    const auto row = static_cast<int64_t>(s);
    ops::count_digits(own_ties.rows(row, row + 1).reshape({rows, 1}), parts[s], taken(s), digit_places,
                      chosen);
  }
  const Tensor ties = shards.gather_shards("equal similarities", own_ties);
  std::vector<Tensor> masks;
  for (size_t s = 0; s < parts.size(); ++s)
    masks.push_back(
        ops::mark_largest(parts[s], taken(s), chosen, ties, shards.first() + static_cast<int64_t>(s)));
  return masks;
}

}  // namespace la
