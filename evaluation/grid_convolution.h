// The convolution of a square grid with a kernel, by Fourier transforms.
#pragma once

#include <array>
#include <complex>
#include <cstdint>
#include <functional>
#include <vector>

namespace la {

class GridConvolution {
 public:
  /// Of grids with so many nodes along a side at most. The kernel is kernel(d^2) at nodes that are d apart, seen through cubic
  /// B-splines at both ends: sums over nodes weighted by the splines' values interpolate it between the nodes.
  GridConvolution(int64_t nodes, const std::function<double(double)>& kernel);

  /// The numbers in a row of a grid: at least 2 nodes - 1, so that what comes around the edge meets zeros.
  int64_t size() const { return size_; }
  /// The same for a grid with so many nodes.
  static int64_t size_for(int64_t nodes);

  /// What a node gets of another, so many nodes away along each side, 0 to 3.
  float between(int64_t dx, int64_t dy) const { return near_[dx][dy]; }

  /// grid: [nodes, size], zeros but for its first `nodes` columns, which become the result; what the others become has no meaning.
  /// The real parts of the numbers are one grid, the imaginary parts another.
  void apply(std::vector<std::complex<float>>& grid, int64_t nodes) const;

 private:
  int64_t size_;
  std::vector<float> spectrum_;  // [size, size], real because the kernel is even
  std::array<std::array<float, 4>, 4> near_{};
};

}  // namespace la
