// Principal component analysis of rows that come a few at a time, such as the maps of a layer, which are too many to
// be kept.
#pragma once

#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace la {

/// Directions in which rows vary most.
struct PrincipalComponents {
  Tensor mean;        // f32 [D]
  Tensor components;  // f32 [K, D], orthonormal, the one of the largest variance first
  Tensor variances;   // f32 [K], along the components, with the divisor n - 1

  /// x f32 [N, D], on any device -> [N, K]: the coordinates of x - mean along the components.
  Tensor project(const Tensor& x) const;
};

void save_components(const std::string& path, const PrincipalComponents& pca);
/// An Error that names the file if it holds no components.
PrincipalComponents load_components(const std::string& path);

/// Incremental PCA (Ross, Lim, Lin, Yang 2008): after each block of rows it keeps K directions, so that what it
/// finds is exact where the rows have at most K, or all come in the first block, and else close to it. Its memory
/// is that of some six times K rows.
class StreamingPca {
 public:
  /// dim: D; components: K, at most D.
  StreamingPca(int64_t dim, int64_t components);

  /// rows: f32 [N, D] in host memory.
  void add(const Tensor& rows);
  int64_t rows() const { return count_ + filled_; }
  /// Of all rows so far, of which there must be more than K.
  PrincipalComponents result();

 private:
  void take_in_block();

  int64_t dim_, components_;
  Tensor block_;        // f32 [block, D]: rows that were not taken in yet
  int64_t filled_ = 0;  // of them
  Tensor directions_;   // f32 [up to K, D]: each as long as the root of the sum of the squares along it
  std::vector<double> mean_;
  int64_t count_ = 0;  // of the rows that were taken in
};

}  // namespace la
