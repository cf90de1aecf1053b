// t-SNE (van der Maaten, Hinton 2008): a map, on which pictures are points of the plane, near one another where their embeddings are.
// With p_ij how close i and j are as embeddings, and q_ij how close they are as points,
//   q_ij = w_ij / Z,   w_ij = 1 / (1 + ||y_i - y_j||^2),   Z = sum_ij w_ij,
// it lowers sum_ij p_ij log(p_ij / q_ij) by gradient descent:
//   dL/dy_i = 4 sum_j p_ij w_ij (y_i - y_j)  -  4 / Z sum_j w_ij^2 (y_i - y_j).
// The first sum, which attracts, goes over nearest neighbors alone; the second, which repels, over all points (repulsion.h).
#pragma once

#include <cstdint>
#include <vector>

#include "evaluation/neighbor_graph.h"
#include "evaluation/repulsion.h"
#include "tensor/progress_callback.h"
#include "tensor/tensor.h"

namespace la {

struct TsneOptions {
  double perplexity =
      20;  // how many neighbors each point has, in effect; a third of the graph's k, and less if that is less
  int exaggerated_steps = 250;  // the first, in which p_ij counts for more, so that clusters gather
  double exaggeration = 12;
  int steps = 500;  // after these
};

/// The points of N vectors, from their graph and where they begin, f32 [N, 2] in host memory. The same for any number of threads.
/// `progress` is told after each step.
std::vector<MapPoint> tsne(const NeighborGraph& graph, const Tensor& start, const TsneOptions& options = {},
                           const ProgressCallback& progress = {});

/// Where they had best begin (Kobak, Berens 2019): x [N, D] along its first two principal components, scaled so that the first has
/// a standard deviation of 1e-4: f32 [N, 2] in host memory.
Tensor first_plane(const Tensor& x);

/// How far neighbors on the map are neighbors indeed (Venna, Kaski 2001); 1 is best. Of n points i that are evenly spread,
///   1 - 2 / (n k (2 N - 3 k - 1)) sum_i sum_j (r_ij - k),
/// over those j that are among the k nearest on the map, but as vectors only the r_ij-th, r_ij > k. x: unit vectors, f32 [N, D], in
/// host memory; k < N / 2.
double trustworthiness(const Tensor& x, const std::vector<MapPoint>& map, int64_t k, int64_t n);

}  // namespace la
