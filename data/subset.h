// Subset: some pictures of a data set.
#pragma once

#include "data/dataset.h"

namespace la {

class Subset final : public Dataset {
 public:
  /// `all` must outlive it; rows: the numbers of the pictures, in the order that they have here.
  Subset(const Dataset& all, std::vector<int64_t> rows);

  int64_t size() const override { return static_cast<int64_t>(rows_.size()); }
  int channels() const override { return all_.channels(); }
  Picture picture(int64_t i) const override { return all_.picture(row(i)); }
  Excerpt excerpt(int64_t i, int size, const ChooseCrop& choose) const override;
  bool has_labels() const override { return all_.has_labels(); }
  int label(int64_t i) const override { return all_.label(row(i)); }
  std::string name(int64_t i) const override { return all_.name(row(i)); }
  std::string file(int64_t i) const override { return all_.file(row(i)); }
  std::string description() const override;
  size_t memory_bytes() const override { return 0; }
  bool is_bad(int64_t i) const override { return all_.is_bad(row(i)); }
  std::vector<std::string> take_warnings() const override { return all_.take_warnings(); }

 private:
  int64_t row(int64_t i) const { return rows_.at(static_cast<size_t>(i)); }

  const Dataset& all_;
  std::vector<int64_t> rows_;
};

/// The pictures that have a label.
std::unique_ptr<Dataset> labeled_pictures(const Dataset& all);

/// A share of the labeled pictures of each class, chosen at random but at least one.
std::unique_ptr<Dataset> share_of_labels(const Dataset& all, double share, uint64_t seed);

}  // namespace la
