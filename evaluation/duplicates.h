// Near-duplicates: pictures that are copies of one another. Candidates are near neighbors by embedding, which
// ignores what training has varied; of these, those are copies that agree when one is laid over the other
// (evaluation/registration.h). What is near and what agrees enough is measured on copies that are made for it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "data/dataset.h"
#include "evaluation/embedder.h"
#include "evaluation/registration.h"

namespace la {

/// Pictures as they are compared; those that can be read.
struct ComparedPictures {
  std::vector<int64_t> numbers = {};  // in the data set
  /// f32 [N, D], on the unit sphere: the mean of the embeddings of the whole picture and of three parts of it,
  /// two of them mirrored; and that of the parts alone, to which a part of a picture is nearer. All are views of
  /// one brightness and contrast.
  Tensor vectors = {}, of_parts = {};
  std::vector<GrayThumbnail> thumbnails = {};
};

ComparedPictures prepare_comparison(const Embedder& embedder, const AugmentationOptions& view,
                                    const Dataset& pictures, const ProgressCallback& progress = {});

/// What two pictures must have in common to be copies.
struct CopyThresholds {
  float similarity = 0;  // of the vector of one and the vector of parts of the other
  Likeness likeness = {};
};

/// Less is no likeness, whatever has been measured.
constexpr float lowest_likeness = 0.9f;

/// Whether they are as alike as copies must be.
inline bool are_copies(const GrayThumbnail& a, const GrayThumbnail& b, const Likeness& least) {
  return likeness(a, b, least.coarse).fine >= least.fine;
}

/// What copies of the pictures have in common with them.
struct CopiesMeasured {
  CopyThresholds thresholds = {};
  int64_t copies = 0;
  int64_t alike = 0;  // whose likeness is at least that of the thresholds
  int64_t found = 0;  // which find_copies would compare, too
};

/// The copies are of pictures originals[i], places in `pictures`, by the numbers of the copies. Of `recall` of them `fine` is at least the threshold, of 99 % each of
/// the others is, unless that is less than the lowest. `least_fine`: that threshold, if it is not to be measured.
CopiesMeasured measure_copies(const ComparedPictures& pictures, const ComparedPictures& copies,
                              const std::vector<int32_t>& originals, int64_t neighbors, double recall,
                              std::optional<float> least_fine);

struct CopyPair {
  int32_t first = 0, second = 0;  // of the compared pictures, the lower first
  float likeness = 0;

  bool operator==(const CopyPair&) const = default;
};

/// Each picture is compared with so many others, whose vectors of parts are the nearest to its vector. In ascending
/// order.
std::vector<CopyPair> find_copies(const ComparedPictures& pictures, int64_t neighbors,
                                  const CopyThresholds& thresholds, const ProgressCallback& progress = {});

/// Pictures that pairs join, in ascending order; the groups by their first.
std::vector<std::vector<int32_t>> groups_of(const std::vector<CopyPair>& pairs);

}  // namespace la
