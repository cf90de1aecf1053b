// What the sets of equation (3) consist of: how many close neighbors there are within the background, and how many neighbors
// show the same kind of thing, where labels tell. The picture itself, which is in both of its sets, is not counted.
#pragma once

#include <optional>
#include <vector>

#include "la/neighbors.h"

namespace la {

/// Of some pictures: the means of how many neighbors they have, and the shares of those neighbors that have the picture's label.
struct Neighborhoods {
  double background = 0;             // in B_i
  std::optional<double> close = {};  // in C_i and B_i; nothing before there are clusters
  std::optional<double> background_same_label = {}, close_same_label = {};  // nothing where no labels tell
};

/// Counts the neighbors of picture after picture.
class NeighborCounts {
 public:
  /// labels: of this process's pictures, -1 where there is none. The bank must outlive it; all processes make the same calls.
  NeighborCounts(const MemoryBank& bank, const std::vector<int32_t>& labels);

  /// The neighbors of these pictures; `close` is empty where it is not known who is close.
  void add(const std::vector<int32_t>& pictures, const Background& background, const CloseMasks& close);
  /// Of all pictures that were added.
  Neighborhoods result() const;

 private:
  /// Of those that this process has: all; those for whom both labels are known; and of these, those with the same.
  struct Counts {
    int64_t all = 0, labeled = 0, same = 0;
    void add(int32_t label, int32_t other);
    std::optional<double> same_share() const;
  };
  void add_part(int64_t p, const std::vector<int32_t>& labels, const std::vector<int32_t>& itself,
                const TopK& neighbors, const Tensor& close);
  Counts of_all_ranks(const Counts& own) const;

  const MemoryBank& bank_;
  ShardedRows labels_;  // i32 [N]
  int64_t pictures_ = 0;
  bool knows_close_ = false;
  Counts background_, close_;
};

}  // namespace la
