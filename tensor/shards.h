// Shards: a batch, the pictures and the memory bank are cut into S logical shards, of which each rank computes one or several
// that follow one another. Every sum over shards is added in the same order, pairs first, then pairs of pairs, so that what
// comes out depends on S and not on the number of ranks. One process with one shard is the simplest case of it.
#pragma once

#include <span>
#include <vector>

#include "tensor/collectives.h"

namespace la {

/// Rows begin to end (exclusive) of something.
struct RowRange {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
};

class Shards {
 public:
  /// One shard, of a process alone.
  Shards() : ranks_(&alone()) {}
  /// `count` shards, a multiple of the number of ranks, which must outlive it.
  Shards(Collectives& ranks, int64_t count);

  Collectives& ranks() const { return *ranks_; }
  int64_t count() const { return count_; }
  /// This rank computes shards first() to last() (exclusive).
  int64_t first() const { return count_ / ranks_->size() * ranks_->rank(); }
  int64_t last() const { return first() + own(); }
  int64_t own() const { return count_ / ranks_->size(); }

  /// Which of n rows a shard has, and which all shards of this rank, or of another, have. Where there is not a pair of rows for
  /// each shard, some have none, for a row alone has no variance.
  RowRange rows(int64_t n, int64_t shard) const { return {first_row(n, shard), first_row(n, shard + 1)}; }
  RowRange own_rows(int64_t n) const { return rank_rows(n, ranks_->rank()); }
  RowRange rank_rows(int64_t n, int64_t rank) const {
    return {first_row(n, rank * own()), first_row(n, (rank + 1) * own())};
  }

  /// The n rows of all ranks, of which `own` are own_rows(n).
  Tensor gather(const char* what, const Tensor& own, int64_t n) const;
  /// One row for each shard, of all ranks; `own` are those of this rank's shards.
  Tensor gather_shards(const char* what, const Tensor& own) const;
  /// The sum over all shards, in their order, of one f32 tensor for each shard of this rank, all of one shape; they are
  /// overwritten. Every rank has it.
  Tensor sum(const char* what, std::vector<Tensor> parts) const;
  /// The same of parts with n rows; every rank has its own_rows(n) of it.
  Tensor sum_own_rows(const char* what, std::vector<Tensor> parts) const;

 private:
  int64_t first_row(int64_t n, int64_t shard) const {
    if (n >= 2 * count_ || shard == count_) return n * shard / count_;
    return 2 * (n / 2 * shard / count_);
  }
  void check_count(const std::vector<Tensor>& parts) const;
  Tensor gather(const char* what, const Tensor& own, const std::vector<int64_t>& rows_of_ranks) const;

  /// A sum over shards as each rank adds it for all ranks, of a range of its elements.
  struct Pieces;
  Pieces cut(const std::vector<Tensor>& parts, std::vector<RowRange> of_ranks) const;
  Pieces cut(const std::vector<Tensor>& parts) const;
  Tensor add(const Pieces& received) const;
  friend class SumsInProgress;

  Collectives* ranks_;
  int64_t count_ = 1;
};

/// Sums over shards, as Shards::sum makes them, that go on during other work, such as a backward pass. All ranks start the same
/// sums in the same order. Each goes on by itself from there, so that only one of these may have sums in progress at a time. A
/// process alone adds at the start; NCCL does it on the stream of the GPU.
class SumsInProgress {
 public:
  explicit SumsInProgress(const Shards& shards);
  ~SumsInProgress();

  SumsInProgress(const SumsInProgress&) = delete;
  SumsInProgress& operator=(const SumsInProgress&) = delete;

  /// The arguments of Shards::sum; nobody else may change the parts.
  void start(const char* what, std::vector<Tensor> parts);
  /// Goes on with all of them as far as it can without waiting. What travels by MPI needs this to be called often.
  void advance();
  /// Waits for all: the sums, in the order of their starts.
  std::vector<Tensor> finish();

 private:
  struct Sum;
  void gather(Sum& sum);

  Shards shards_;
  std::vector<Sum> sums_;
};

/// A table whose n rows are cut into shards; `own` are those of this rank.
struct ShardedRows {
  Tensor own;  // [shards.own_rows(n).size(), D]
  int64_t n = 0;
  Shards shards = {};

  ShardedRows() = default;
  /// All rows, in one process.
  ShardedRows(const Tensor& all) : own(all), n(all.size(0)) {}
  ShardedRows(const Tensor& own_rows, int64_t rows, const Shards& cut)
      : own(own_rows), n(rows), shards(cut) {}

  /// The rows that this rank has, and those of the p-th shard of this rank.
  RowRange range() const { return shards.own_rows(n); }
  RowRange range(int64_t p) const { return shards.rows(n, shards.first() + p); }
  /// Of a table with a row for each of this rank's, those of its p-th shard.
  Tensor part_of(const Tensor& table, int64_t p) const {
    return table.rows(range(p).begin - range().begin, range(p).end - range().begin);
  }
  Tensor part(int64_t p) const { return part_of(own, p); }
  /// Rows of f32 or i32, whoever has them, in this order, on every rank.
  Tensor gather(const char* what, const std::vector<int32_t>& numbers) const;
};

/// A sum of f32 tensors in the order in which they come: two sums of as many terms each are added as soon as there are two, as
/// a binary counter carries, and what is left from the last to the first. Some consecutive terms can so be added elsewhere
/// beforehand: as many as a power of two, after a multiple of that number.
class OrderedSum {
 public:
  /// A sum of so many terms, which may be overwritten.
  void add(const Tensor& sum, int64_t terms = 1);
  /// Of all; at least one.
  Tensor total();
  /// What is there so far, each a sum of so many terms.
  struct Block {
    Tensor sum;
    int64_t terms;
  };
  const std::vector<Block>& blocks() const { return blocks_; }

 private:
  std::vector<Block> blocks_;
};

}  // namespace la
