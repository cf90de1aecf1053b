#include "tensor/shards.h"

#include <algorithm>
#include <numeric>

#include "tensor/ops.h"

namespace la {
namespace {

/// The largest power of two that divides n.
int64_t power_of_two_in(int64_t n) { return n & -n; }

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

Tensor ShardedRows::gather(const char* what, const std::vector<int32_t>& numbers) const {
  const Tensor all = Tensor::from(numbers, {std::ssize(numbers)}, own.device());
  const Tensor rows = ops::gather_rows(own, ops::rows_of_part(all, range().begin, range().end));
  shards.ranks().all_reduce(what, rows, Reduction::sum);  // with zeros of those who do not have them
  return rows;
}

Shards::Shards(Collectives& ranks, int64_t count) : ranks_(&ranks), count_(count) {
  check(count >= 1 && count % ranks.size() == 0,
        "`shards` {} is not a multiple of the number of processes, {}", count, ranks.size());
}

void Shards::check_count(const std::vector<Tensor>& parts) const {
  check(std::ssize(parts) == own(), "a sum over {} shards of this rank, expected {}", parts.size(), own());
}

Tensor Shards::gather(const char* what, const Tensor& own, const std::vector<int64_t>& rows_of_ranks) const {
  if (ranks_->alone()) return own;
  const int64_t n = std::accumulate(rows_of_ranks.begin(), rows_of_ranks.end(), int64_t{0});
  const Tensor all(own.shape().with_rows(n), own.dtype(), own.device());
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

// Each rank adds for all ranks the elements of its range: one message from each to each, then an addition in the order of the
// shards. So much travels as in the first half of a ring.
struct Shards::Pieces {
  // What is sent to the ranks, and what comes from them: [ranks x blocks, elements of the longest range].
  Tensor from, to;
  int64_t terms = 1;  // shards that each block is the sum of
  std::vector<RowRange> of_ranks;

  std::vector<int64_t> sizes() const {
    std::vector<int64_t> sizes;
    for (const RowRange& range : of_ranks) sizes.push_back(range.size());
    return sizes;
  }
};

Shards::Pieces Shards::cut(const std::vector<Tensor>& parts, std::vector<RowRange> of_ranks) const {
  const int64_t terms = power_of_two_in(own());
  const std::vector<Tensor> blocks = add_runs(parts, terms);
  const auto count = std::ssize(blocks);
  int64_t longest = 1;
  for (const RowRange& range : of_ranks) longest = std::max(longest, range.size());
  const Shape shape{ranks_->size() * count, longest};
  const Tensor to(shape, DType::f32, blocks.front().device());
  // A block whose ranges are all as long lies there already as it is sent.
  if (count == 1 && blocks.front().numel() == shape.numel())
    return {blocks.front().reshape(shape), to, terms, std::move(of_ranks)};
  const Tensor from(shape, DType::f32, to.device());
  for (int64_t r = 0; r < ranks_->size(); ++r)
    for (int64_t b = 0; b < count; ++b) {
      const RowRange& range = of_ranks[static_cast<size_t>(r)];
      const Tensor place = from.rows(r * count + b, r * count + b + 1).reshape({longest});
      ops::copy_into(place.rows(0, range.size()),
                     blocks[static_cast<size_t>(b)].reshape({-1}).rows(range.begin, range.end));
    }
  return {from, to, terms, std::move(of_ranks)};
}

/// Of all elements, each rank about as many.
Shards::Pieces Shards::cut(const std::vector<Tensor>& parts) const {
  const int64_t n = parts.front().numel(), ranks = ranks_->size();
  std::vector<RowRange> ranges;
  for (int64_t r = 0; r < ranks; ++r) ranges.push_back({n * r / ranks, n * (r + 1) / ranks});
  return cut(parts, std::move(ranges));
}

/// This rank's range of the sum.
Tensor Shards::add(const Pieces& received) const {
  OrderedSum sum;
  for (int64_t i = 0; i < received.to.size(0); ++i) sum.add(received.to.rows(i, i + 1), received.terms);
  const RowRange& own = received.of_ranks[static_cast<size_t>(ranks_->rank())];
  return sum.total().reshape({-1}).rows(0, own.size());
}

Tensor Shards::sum(const char* what, std::vector<Tensor> parts) const {
  check_count(parts);
  if (ranks_->alone()) return add_all(parts);
  if (ranks_->has_own_order()) {
    const Tensor total = add_all(parts);
    ranks_->all_reduce(what, total, Reduction::sum);
    return total;
  }
  const Shape shape = parts.front().shape();
  const Pieces pieces = cut(parts);
  ranks_->all_to_all(what, pieces.from, pieces.to);
  return gather(what, add(pieces), pieces.sizes()).reshape(shape);
}

Tensor Shards::sum_own_rows(const char* what, std::vector<Tensor> parts) const {
  check_count(parts);
  const Shape shape = parts.front().shape();
  const int64_t n = shape[0], width = n == 0 ? 0 : shape.numel() / n;
  const RowRange rows = own_rows(n);
  if (ranks_->has_own_order() && n % ranks_->size() == 0) {
    const Tensor own(shape.with_rows(rows.size()), DType::f32, parts.front().device());
    ranks_->reduce_scatter(what, add_all(parts), own);
    return own;
  }
  if (ranks_->alone() || ranks_->has_own_order())
    return sum(what, std::move(parts)).rows(rows.begin, rows.end);
  std::vector<RowRange> ranges;
  for (int r = 0; r < ranks_->size(); ++r) {
    const RowRange of_rank = rank_rows(n, r);
    ranges.push_back({of_rank.begin * width, of_rank.end * width});
  }
  const Pieces pieces = cut(parts, std::move(ranges));
  ranks_->all_to_all(what, pieces.from, pieces.to);
  return add(pieces).reshape(shape.with_rows(rows.size()));
}

// First parts of it go from each rank to each, then, when they have come and are added, each rank's range of the sum to all.
struct SumsInProgress::Sum {
  std::string what;
  Shape shape;
  Shards::Pieces pieces;
  std::unique_ptr<Exchange> exchange;
  bool gathering = false;
  Tensor result;
};

SumsInProgress::SumsInProgress(const Shards& shards) : shards_(shards) {}
SumsInProgress::~SumsInProgress() = default;

void SumsInProgress::start(const char* what, std::vector<Tensor> parts) {
  shards_.check_count(parts);
  const Shape shape = parts.front().shape();
  Collectives& ranks = shards_.ranks();
  Sum sum{.what = what, .shape = shape, .pieces = {}, .exchange = {}, .result = {}};
  if (ranks.alone() || ranks.has_own_order()) {
    sum.result = shards_.sum(what, std::move(parts));
    sum.exchange = std::make_unique<Exchange>();
    sum.gathering = true;
  } else {
    sum.pieces = shards_.cut(parts);
    sum.exchange = ranks.start_all_to_all(what, sum.pieces.from, sum.pieces.to);
  }
  sums_.push_back(std::move(sum));
}

/// Adds what has come, and starts to gather the sum.
void SumsInProgress::gather(Sum& sum) {
  const Tensor own = shards_.add(sum.pieces);
  sum.result = Tensor({sum.shape.numel()}, DType::f32, own.device());
  sum.exchange = shards_.ranks().start_all_gather(sum.what.c_str(), own, sum.result, sum.pieces.sizes());
  sum.pieces = {};
  sum.gathering = true;
}

// Sums are gathered in the order of their starts, as on all ranks.
void SumsInProgress::advance() {
  for (Sum& sum : sums_) {
    const bool done = sum.exchange->done();
    if (sum.gathering) continue;
    if (!done) return;
    gather(sum);
  }
}

std::vector<Tensor> SumsInProgress::finish() {
  for (Sum& sum : sums_) {
    if (sum.gathering) continue;
    sum.exchange->wait();
    gather(sum);
  }
  std::vector<Tensor> results;
  for (Sum& sum : sums_) {
    sum.exchange->wait();
    results.push_back(sum.result.reshape(sum.shape));
  }
  sums_.clear();
  return results;
}

}  // namespace la
