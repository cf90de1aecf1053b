// Detector: Faster R-CNN (Ren, He, Girshick, Sun 2015) on any backbone. A region proposal network says which of
// the anchors on the map are objects, and corrects them; of the best, the proposals, the rest of the network says
// what they show, and corrects them again. Boxes are those of anchors.h, in pixels of the picture that the
// network sees, without its border.
#pragma once

#include <memory>
#include <vector>

#include "layers/backbone.h"
#include "layers/detection/anchors.h"
#include "layers/layers.h"
#include "layers/network_options.h"

namespace la {

struct DetectorOptions {
  NetworkOptions network = {};
  int64_t categories = 20;  // of objects
  int64_t rpn_channels = 512;
  std::vector<float> anchor_scales{8, 16, 32}, anchor_ratios{0.5f, 1, 2};  // as in AnchorOptions
};

/// What the region proposal network says.
struct AnchorOutputs {
  Tensor anchors;   // f32 [A, 4], in host memory
  Variable scores;  // f32 [A, 2], logits: no object, an object
  Variable codes;   // f32 [A, 4], of the object's box beside the anchor
};

/// What the detector says of regions; category 0 is the background.
struct RegionOutputs {
  Variable scores;  // f32 [R, 1 + categories], logits
  Variable codes;   // f32 [R, 4 (1 + categories)], of the object's box beside the region, for each category
};

class Detector : public Module {
 public:
  explicit Detector(const DetectorOptions& options);

  /// Of pictures [1, H, W, channels], with the border that the backbone wants.
  Variable map(const Variable& pictures) { return network_->map(pictures); }
  Variable forward(const Variable& pictures) override { return map(pictures); }
  AnchorOutputs score_anchors(const Variable& map);
  /// boxes f32 [R, 4].
  RegionOutputs score_regions(const Variable& map, const Tensor& boxes);

  Backbone& network() { return *network_; }
  int64_t categories() const { return categories_; }
  const AnchorOptions& anchor_options() const { return anchor_options_; }
  /// From here on batch norm keeps its running statistics; `all_layers` says whether the layers that backbones keep in detectors
  /// are trained too, as where nothing was learnt before. To be called once.
  void fine_tune(bool all_layers);

 private:
  std::unique_ptr<Backbone> network_;
  AnchorOptions anchor_options_;
  int64_t categories_;

  struct ProposalNetwork : Module {
    ProposalNetwork(int64_t map_channels, int64_t channels, int64_t anchors);
    Variable forward(const Variable& map) override { return relu(conv(map)); }
    Conv2d conv, score, box;
  } rpn_;
  Linear score_, box_;
};

/// Draws the parameters: the network's as initialize(Module&, ...) does, the detector's own by Girshick 2015.
void initialize(Detector& detector, const NetworkOptions& network, uint64_t seed);

/// How codes of the region proposal network and of regions are scaled: one over their usual deviations.
constexpr BoxCoding anchor_coding{.extent = last_pixel_extent};
constexpr BoxCoding region_coding{.weights = {10, 10, 5, 5}, .extent = last_pixel_extent};

struct ProposalOptions {
  int64_t most = 2000;
  float iou_threshold = 0.7f;  // what overlaps a better one by more is dropped
};

/// The best of the corrected anchors within a picture, f32 [P, 4] on the device.
Tensor propose(const AnchorOutputs& outputs, int64_t height, int64_t width, const ProposalOptions& options);

}  // namespace la
