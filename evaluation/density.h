// The geometry of an embedding (section 5 of the paper looks at it): how densely the sphere is filled around each
// picture, near it and farther away, and how well the labels of a category are found where it is dense.
#pragma once

#include <cstdint>
#include <vector>

#include "evaluation/knn.h"
#include "evaluation/vector_search.h"
#include "tensor/progress_callback.h"

namespace la {

/// Of each vector, the mean similarity to its nearest others: to a few, the local density, and to as many as an
/// LA training compares with, the background density.
struct Densities {
  std::vector<double> local, background;
};

/// vectors: N on the unit sphere. 1 <= local <= background < N, else an Error. `progress` is told after each block.
Densities densities(const VectorSearch& vectors, int64_t local, int64_t background,
                    const ProgressCallback& progress = {});

/// Counts of values in equal bins over [-1, 1], the range of similarities; 1 itself is in the last.
std::vector<int64_t> histogram(const std::vector<double>& values, int bins);

/// A category: how many training pictures it has, how densely they lie, and what share of its test pictures is
/// recognized.
struct CategoryDensity {
  int32_t label = 0;
  int64_t pictures = 0, test_pictures = 0;
  double local = 0, background = 0;
  double accuracy = 0;
};

/// The categories that have training and test pictures, by label. guesses: of the test vectors with a label (knn_guesses).
std::vector<CategoryDensity> density_by_category(const Densities& densities,
                                                 const std::vector<int32_t>& train_labels,
                                                 const Guesses& guesses);

/// Pearson's correlation; 0 where one of them does not vary.
double correlation(const std::vector<double>& a, const std::vector<double>& b);

}  // namespace la
