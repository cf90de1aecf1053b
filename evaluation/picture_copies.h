// PictureCopies: copies of pictures as they come about: cropped, mirrored, rescaled, recolored, recompressed.
#pragma once

#include <vector>

#include "data/dataset.h"

namespace la {

enum class CopyKind { cropped, mirrored, rescaled, recolored, recompressed };
constexpr int copy_kinds = 5;

/// A copy of a picture; what is left open, chance decides: a crop of 3/4 of the area or more; a scale from 3/4
/// to 1; a gamma from 0.7 to 1.4, after which brightness takes up 0.7 to 1 of its range; a JPEG quality from
/// 50 to 90.
Picture copy_of(const Picture& picture, CopyKind kind, uint64_t seed, int64_t index);

/// Of some pictures of a data set a copy each, of all kinds by turns. Large pictures are shrunk before to
/// 256 pixels on the shorter side, long ones to 2,048 on the longer.
class PictureCopies final : public Dataset {
 public:
  /// `all` must outlive it; originals: numbers of pictures, of which one may come again, for another copy.
  PictureCopies(const Dataset& all, std::vector<int64_t> originals, uint64_t seed);

  int64_t size() const override { return static_cast<int64_t>(originals_.size()); }
  int channels() const override { return all_.channels(); }
  Picture picture(int64_t i) const override;
  bool has_labels() const override { return false; }
  int label(int64_t) const override { return unlabeled; }
  std::string description() const override;
  size_t memory_bytes() const override { return 0; }
  bool is_bad(int64_t i) const override { return all_.is_bad(original(i)); }
  std::vector<std::string> take_warnings() const override { return all_.take_warnings(); }

  int64_t original(int64_t i) const { return originals_.at(static_cast<size_t>(i)); }

 private:
  const Dataset& all_;
  std::vector<int64_t> originals_;
  int64_t distinct_;  // pictures among them
  uint64_t seed_;
};

}  // namespace la
