// Shape: the extents of a row-major array, outermost first; images are [N, H, W, C], convolution weights [O,
// H, W, I].
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "tensor/error.h"

namespace la {

class Shape {
 public:
  static constexpr int max_rank = 6;

  Shape() = default;
  Shape(std::initializer_list<int64_t> extents) {
    for (int64_t extent : extents) append(extent);
  }

  void append(int64_t extent) {
    check(rank_ < max_rank, "a shape has at most {} dimensions", max_rank);
    check(extent >= 0, "a shape's extent must not be negative, got {}", extent);
    extents_[rank_++] = extent;
  }

  int rank() const { return rank_; }
  int64_t operator[](int dimension) const {
    if (dimension < -rank_ || dimension >= rank_) [[unlikely]]
      no_dimension(dimension);
    return extents_[dimension < 0 ? rank_ + dimension : dimension];
  }
  const int64_t* begin() const { return extents_.data(); }
  const int64_t* end() const { return extents_.data() + rank_; }

  /// Number of elements; 1 for the empty shape of a scalar.
  int64_t numel() const {
    int64_t n = 1;
    for (int64_t extent : *this) n *= extent;
    return n;
  }

  /// Without the first extent: of a row of a tensor of this shape; and of n such rows.
  Shape row() const {
    Shape row;
    for (int d = 1; d < rank_; ++d) row.append(extents_[d]);
    return row;
  }
  Shape with_rows(int64_t n) const {
    Shape rows = *this;
    rows.extents_[0] = n;
    return rows;
  }

  bool operator==(const Shape& other) const = default;

  std::string str() const;

 private:
  [[noreturn]] void no_dimension(int dimension) const;

  std::array<int64_t, max_rank> extents_{};
  int rank_ = 0;
};

}  // namespace la
