// What tests of several processes share: rows, pictures and a folder, the same on all of them.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>

#include "data/dataset.h"
#include "la/memory_bank.h"
#include "tensor/ops.h"
#include "tensor/random.h"
#include "tests/processes.h"
#include "tests/temporary_folder.h"

namespace la {

constexpr int64_t twelve = 12;  // shards that 1, 2, 3 and 4 processes can share
constexpr int64_t dim = 12;

inline Tensor unit_rows(int64_t rows, uint64_t seed) {
  return ops::l2_normalize(ops::random_normal({rows, dim}, {.seed = seed})).y;
}

/// Multiples of 1/8 whose products are exact, so that there are many ties.
inline Tensor coarse_rows(int64_t rows, uint64_t seed) {
  std::vector<float> values;
  for (const int32_t x : ops::random_below({rows, dim}, 5, {.seed = seed}).to_vector<int32_t>())
    values.push_back(static_cast<float>(x - 2) / 8);
  return Tensor::from(values, {rows, dim});
}

inline MemoryBank bank_of(const Tensor& vectors, const Shards& shards) {
  MemoryBank bank(vectors.size(0), vectors.size(1), 0.5f, 0, {}, shards);
  const RowRange rows = shards.own_rows(vectors.size(0));
  bank.assign_all(vectors.rows(rows.begin, rows.end));
  return bank;
}

/// Bytes that this process has sent for that, so far.
inline int64_t sent(const char* what) {
  const auto found = processes().bytes_sent().find(what);
  return found == processes().bytes_sent().end() ? 0 : found->second;
}

/// A small data set in memory, whose pictures with a number in `bad` cannot be read.
class Squares final : public Dataset {
 public:
  explicit Squares(int64_t n, std::set<int64_t> bad = {}) : n_(n), bad_(std::move(bad)) {}
  int64_t size() const override { return n_; }
  int channels() const override { return 1; }
  Picture picture(int64_t i) const override {
    if (bad_.contains(i)) throw BadPicture("this one is bad");
    const auto pixels = std::make_shared<std::vector<uint8_t>>(side * side);
    RandomGenerator random({.seed = static_cast<uint64_t>(i)});
    for (int y = 0; y < side; ++y)
      for (int x = 0; x < side; ++x)
        (*pixels)[static_cast<size_t>(y * side + x)] =
            static_cast<uint8_t>((i % 4 * 50 + (x / 3 + y / 3) % 2 * 40 + random.below(60)) % 256);
    return {pixels->data(), side, side, 1, pixels};
  }
  bool has_labels() const override { return true; }
  int label(int64_t i) const override { return static_cast<int>(i % 4); }
  std::string description() const override { return "squares"; }
  size_t memory_bytes() const override { return 0; }

 private:
  static constexpr int side = 12;
  int64_t n_;
  std::set<int64_t> bad_;
};

/// A folder that all processes see.
class CommonFolder {
 public:
  CommonFolder() {
    if (processes().rank() == 0) own_.emplace();
    path_ = processes().broadcast("a folder", own_ ? own_->path() : "", 0);
  }
  ~CommonFolder() { processes().barrier("the end of a folder"); }
  const std::string& path() const { return path_; }

 private:
  std::optional<TemporaryFolder> own_;
  std::string path_;
};

}  // namespace la
