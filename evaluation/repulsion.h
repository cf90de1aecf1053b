// What repels the points of a map: for each point y_i the sums, over all points j,
//   weight_i = sum_j w_ij^2,   center_i = sum_j w_ij^2 y_j,   w_ij = 1 / (1 + ||y_i - y_j||^2),
// and sum_ij w_ij, in time that grows with N and with the area of the map, not with N^2 (Linderman, Rachh, Hoskins, Steinerberger,
// Kluger 2019: FIt-SNE): the points' charges are spread over a grid by cubic B-splines, convolved there with w^2, and the result is
// read at the points by the same splines.
#pragma once

#include <complex>
#include <cstdint>
#include <memory>
#include <vector>

#include "evaluation/grid_convolution.h"

namespace la {

struct MapPoint {
  float x = 0, y = 0;
};

class Repulsion {
 public:
  struct Sums {
    float weight = 0;
    MapPoint center;
  };

  /// Of the grid's nodes; doubled while a map would have more than 1,000 along a side.
  static constexpr float finest_spacing = 0.6f;

  /// Of these points; the same for any number of threads.
  void compute(const std::vector<MapPoint>& points);

  const std::vector<Sums>& sums() const { return sums_; }
  /// sum_{i != j} w_ij
  double total() const { return total_; }

 private:
  void lay_grid(const std::vector<MapPoint>& points);
  void sort_by_row(const std::vector<MapPoint>& points);
  void spread(const std::vector<MapPoint>& points);
  void read(const std::vector<MapPoint>& points);

  float spacing_ = 0;  // of the grid
  MapPoint corner_;    // of its first cell
  int64_t nodes_ = 0;  // along a side
  std::unique_ptr<GridConvolution> convolution_;
  std::vector<int32_t> order_;         // the points by the row of the cell that they are in
  std::vector<int64_t> first_of_row_;  // and where each row begins
  std::vector<std::complex<float>> a_,
      b_;  // charges 1 + i x, y + i (x^2 + y^2), and then their sums: [nodes, size]
  std::vector<Sums> sums_;
  std::vector<double> totals_;  // of each point
  double total_ = 0;
};

}  // namespace la
