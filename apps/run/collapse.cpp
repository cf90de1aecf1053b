#include "apps/run/collapse.h"

#include <algorithm>
#include <cmath>

#include "tensor/format.h"

namespace la {
namespace {

constexpr const char* remedies =
    "a lower `learning_rate` or `weight_decay`, more `warm_start_epochs`, or `bank_init` forward may help";

}  // namespace

std::string collapse_of(const Spread& spread, int64_t dim) {
  constexpr double least_share = 0.05, most_similarity = 0.8;
  const double beyond_one = static_cast<double>(std::max<int64_t>(dim - 1, 1));
  const bool few_directions = spread.effective_rank - 1 < least_share * beyond_one;
  if (!few_directions && spread.mean_similarity <= most_similarity) return "";
  return formatted(
      "the embeddings have collapsed: effective rank {:.1f} of {} (usual: a tenth of it at the least), mean "
      "similarity of two pictures {:.3f} (usual: below 0.4). To train longer does not undo it: {}; and look "
      "whether the pictures differ at all",
      spread.effective_rank, dim, spread.mean_similarity, remedies);
}

std::string collapse_of(const ClusterSizes& sizes, int64_t pictures) {
  constexpr double most_in_cluster = 0.9;
  if (static_cast<double>(sizes.largest) <= most_in_cluster * static_cast<double>(pictures)) return "";
  return formatted(
      "the clusters have collapsed: one has {} of {} pictures, the median is {} (usual: the largest is a few "
      "times the median), and all are about to become alike: {}; and look whether the pictures differ at all",
      sizes.largest, pictures, sizes.median, remedies);
}

std::string collapse_of(const Neighborhoods& neighborhoods) {
  constexpr double most_close = 0.9;
  if (neighborhoods.close.value_or(0) <= most_close * neighborhoods.background) return "";
  return formatted(
      "there is nothing to learn: of {:.0f} background neighbors of a picture, {:.1f} are close (usual: less "
      "than two thirds), and the loss is near 0 whatever the embeddings are: more `clusters` (m), fewer "
      "`clusterings` (H) or a larger `background` (k) may help",
      neighborhoods.background, *neighborhoods.close);
}

std::string collapse_of(double loss, int64_t pictures) {
  const double of_guessing = std::log(static_cast<double>(pictures));
  if (loss < of_guessing) return "";
  return formatted(
      "the warm start has learnt nothing: its loss is {:.2f} in the last epoch, and that of guessing among "
      "{} "
      "pictures {:.2f} (usual: less by one at the least): {}",
      loss, pictures, of_guessing, remedies);
}

}  // namespace la
