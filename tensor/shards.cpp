#include "tensor/shards.h"

#include <algorithm>
#include <numeric>

#include "tensor/ops.h"

namespace la {
namespace {

/// The largest power of two that divides n.
int64_t power_of_two_in(int64_t n) { return n & -n; }

Shape with_rows(const Shape& shape, int64_t n) {
  Shape result{n};
  for (int d = 1; d < shape.rank(); ++d) result.append(shape[d]);
  return result;
}

}  // namespace

void OrderedSum::add(const Tensor& sum, int64_t terms) {
  blocks_.push_back({sum, terms});
  while (blocks_.size() > 1 && blocks_[blocks_.size() - 2].terms == blocks_.back().terms) {
    Block& before = blocks_[blocks_.size() - 2];
    ops::add_in_place(before.sum, blocks_.back().sum);
    before.terms *= 2;
    blocks_.pop_back();
  }
}

Tensor OrderedSum::total() {
  check(!blocks_.empty(), "a sum of no terms");
  for (; blocks_.size() > 1; blocks_.pop_back())
    ops::add_in_place(blocks_[blocks_.size() - 2].sum, blocks_.back().sum);
  return blocks_.front().sum;
}

Shards::Shards(Collectives& ranks, int64_t count) : ranks_(&ranks), count_(count) {
  check(count >= 1 && count % ranks.size() == 0,
        "`shards` {} is not a multiple of the number of processes, {}", count, ranks.size());
}

Tensor Shards::gather(const char* what, const Tensor& own, const std::vector<int64_t>& rows_of_ranks) const {
  if (ranks_->alone()) return own;
  const int64_t n = std::accumulate(rows_of_ranks.begin(), rows_of_ranks.end(), int64_t{0});
  const Tensor all(with_rows(own.shape(), n), own.dtype(), own.device());
  ranks_->all_gather(what, own, all, rows_of_ranks);
  return all;
}

Tensor Shards::gather(const char* what, const Tensor& own, int64_t n) const {
  std::vector<int64_t> rows;
  for (int r = 0; r < ranks_->size(); ++r) rows.push_back(rank_rows(n, r).size());
  return gather(what, own, rows);
}

Tensor Shards::gather_shards(const char* what, const Tensor& own_shards) const {
  return gather(what, own_shards, std::vector<int64_t>(static_cast<size_t>(ranks_->size()), own()));
}

// Each rank adds for all ranks the elements of its range: one message from each to each, then an addition in the order of the
// shards. So much travels as in the first half of a ring.
Tensor Shards::exchange_and_add(const char* what, const std::vector<Tensor>& blocks, int64_t terms,
                                std::span<const RowRange> of_ranks) const {
  const auto pieces = std::ssize(blocks);
  int64_t longest = 1;
  for (const RowRange& range : of_ranks) longest = std::max(longest, range.size());
  const Device device = blocks.front().device();
  const Tensor from({ranks_->size() * pieces, longest}, DType::f32, device);
  const Tensor to(from.shape(), DType::f32, device);
  for (int64_t r = 0; r < ranks_->size(); ++r)
    for (int64_t b = 0; b < pieces; ++b) {
      const RowRange& range = of_ranks[static_cast<size_t>(r)];
      const Tensor place = from.rows(r * pieces + b, r * pieces + b + 1).reshape({longest});
      ops::copy_into(place.rows(0, range.size()),
                     blocks[static_cast<size_t>(b)].reshape({-1}).rows(range.begin, range.end));
    }
  ranks_->all_to_all(what, from, to);
  OrderedSum sum;
  for (int64_t i = 0; i < to.size(0); ++i) sum.add(to.rows(i, i + 1), terms);
  const RowRange& own = of_ranks[static_cast<size_t>(ranks_->rank())];
  return sum.total().reshape({longest}).rows(0, own.size());
}

namespace {

/// Sums of `terms` consecutive parts each.
std::vector<Tensor> add_runs(const std::vector<Tensor>& parts, int64_t terms) {
  std::vector<Tensor> sums;
  for (size_t begin = 0; begin < parts.size(); begin += static_cast<size_t>(terms)) {
    OrderedSum sum;
    for (size_t i = begin; i < begin + static_cast<size_t>(terms); ++i) sum.add(parts[i]);
    sums.push_back(sum.total());
  }
  return sums;
}

Tensor add_all(const std::vector<Tensor>& parts) {
  OrderedSum sum;
  for (const Tensor& part : parts) sum.add(part);
  return sum.total();
}

}  // namespace

Tensor Shards::sum(const char* what, std::vector<Tensor> parts) const {
  check(std::ssize(parts) == own(), "a sum over {} shards of this rank, expected {}", parts.size(), own());
  if (ranks_->alone()) return add_all(parts);
  if (ranks_->has_own_order()) {
    const Tensor total = add_all(parts);
    ranks_->all_reduce(what, total, Reduction::sum);
    return total;
  }
  const int64_t terms = power_of_two_in(own());
  const Shape shape = parts.front().shape();
  const int64_t n = shape.numel();
  std::vector<RowRange> ranges;
  for (int r = 0; r < ranks_->size(); ++r) ranges.push_back(rank_rows(n, r));
  return gather(what, exchange_and_add(what, add_runs(parts, terms), terms, ranges), n).reshape(shape);
}

Tensor Shards::sum_own_rows(const char* what, std::vector<Tensor> parts) const {
  check(std::ssize(parts) == own(), "a sum over {} shards of this rank, expected {}", parts.size(), own());
  const Shape shape = parts.front().shape();
  const int64_t n = shape[0], width = n == 0 ? 0 : shape.numel() / n;
  const RowRange rows = own_rows(n);
  if (ranks_->has_own_order() && n % ranks_->size() == 0) {
    const Tensor own(with_rows(shape, rows.size()), DType::f32, parts.front().device());
    ranks_->reduce_scatter(what, add_all(parts), own);
    return own;
  }
  if (ranks_->alone() || ranks_->has_own_order())
    return sum(what, std::move(parts)).rows(rows.begin, rows.end);
  const int64_t terms = power_of_two_in(own());
  std::vector<RowRange> ranges;
  for (int r = 0; r < ranks_->size(); ++r) {
    const RowRange of_rank = rank_rows(n, r);
    ranges.push_back({of_rank.begin * width, of_rank.end * width});
  }
  return exchange_and_add(what, add_runs(parts, terms), terms, ranges).reshape(with_rows(shape, rows.size()));
}

}  // namespace la
