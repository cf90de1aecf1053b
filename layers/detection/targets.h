// What a detector shall say of a picture whose objects are known (Ren et al. 2015, section 3.1.2; Girshick 2015,
// section 2.3): of a sample of its anchors whether they are objects, of a sample of its proposals which.
#pragma once

#include <functional>
#include <vector>

#include "tensor/random.h"
#include "tensor/tensor.h"

namespace la {

/// The objects of a picture. Boxes are f32 [G, 4], in host memory, as those of anchors.h: x2 and y2 are the last
/// pixel. Labels [G] are numbers of categories; at least one object.
struct ObjectBoxes {
  Tensor boxes;
  std::vector<int32_t> labels;
};

/// Takes `count` of the numbers, of which there is at least one: where there are fewer, some of them more than once.
using Choose = std::function<std::vector<int32_t>(std::vector<int32_t> from, int64_t count)>;
/// Each equally likely, by a generator that must outlive it.
Choose choose_randomly(RandomGenerator& random);

/// The overlap of two boxes is their intersection over union.
struct AnchorSampling {
  int64_t count = 256;            // anchors of a picture
  float positive_share = 0.5f;    // of them, at most
  float positive_overlap = 0.7f;  // that an anchor has with an object at least
  float negative_overlap = 0.3f;  // below which all its overlaps are
};

/// Rows of anchors, first those that are objects.
struct AnchorTargets {
  std::vector<int32_t> anchors;
  std::vector<int32_t> labels;   // 1: an object, 0: none
  std::vector<int32_t> objects;  // which one, for each that is one
};

/// Anchors f32 [A, 4] in host memory. Those that reach beyond the picture take no part. An object is an anchor with
/// enough overlap with one, and those which overlap with an object most.
AnchorTargets anchor_targets(const Tensor& anchors, const ObjectBoxes& objects, int64_t height, int64_t width,
                             const AnchorSampling& sampling, const Choose& choose);

struct RegionSampling {
  int64_t count = 256;              // regions of a picture
  float foreground_share = 0.25f;   // of them, at most
  float foreground_overlap = 0.5f;  // that a region has with an object at least; all others are background
};

/// Rows of proposals, first the foreground, and which object each shows. Their number is `count`, whatever there is.
struct RegionTargets {
  std::vector<int32_t> proposals;
  std::vector<int32_t> objects;  // for the foreground
};

/// Proposals f32 [P, 4] in host memory, P >= 1.
RegionTargets region_targets(const Tensor& proposals, const ObjectBoxes& objects,
                             const RegionSampling& sampling, const Choose& choose);

}  // namespace la
