// The loss of a detector (Ren et al. 2015, equation 1): is each anchor of a sample an object, and where does it
// lie; and the same for the regions that the network proposes (Girshick 2015, equation 1).
#pragma once

#include "layers/detection/detector.h"
#include "layers/detection/targets.h"
#include "tensor/error.h"

namespace la {

struct DetectionLossOptions {
  AnchorSampling anchors = {};
  ProposalOptions proposals = {};
  RegionSampling regions = {};
};

/// f32 [1] each.
struct DetectionLosses {
  Variable anchor_class, anchor_box, region_class, region_box;

  Variable sum() const { return anchor_class + anchor_box + region_class + region_box; }
};

/// Thrown where what a detector says is not finite.
struct Diverged : Error {
  using Error::Error;
};

/// Of a picture of height x width pixels, which stands in `pixels` [1, H, W, channels], with border, in the type of
/// the network's activations. `choose` draws the samples.
DetectionLosses detection_losses(Detector& detector, const Tensor& pixels, int64_t height, int64_t width,
                                 const ObjectBoxes& objects, const DetectionLossOptions& options,
                                 const Choose& choose);

}  // namespace la
