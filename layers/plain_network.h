// Networks without shortcuts: convolutions, then fully connected layers. The parameters' names are those of
// torchvision's AlexNet and VGG.
#pragma once

#include "layers/backbone.h"
#include "layers/head.h"
#include "layers/layers.h"
#include "layers/network_options.h"

namespace la {

/// x [N, image_size, image_size, channels] (f32 or bf16) -> f32 [N, dim].
class PlainNetwork : public Backbone {
 public:
  Variable forward(const Variable& x) override { return region_features(features_(x)); }
  /// What comes before the last pooling.
  Variable map(const Variable& x) override;
  Variable region_features(const Variable& regions) override { return classifier_(flatten_(regions)); }
  BackboneLayout layout() const override { return layout_; }
  /// conv1 to conv5: what comes out of the last ReLU before the pooling, or the next convolution, of each.
  std::vector<std::pair<std::string, Module*>> stages() override { return stages_; }

 protected:
  PlainNetwork() {
    add("features", features_);
    add("classifier", classifier_);
  }

  Sequential features_, classifier_;
  BackboneLayout layout_;
  std::vector<std::pair<std::string, Module*>> stages_;

 private:
  Flatten flatten_;
};

/// AlexNet with the widths of "One weird trick" (Krizhevsky 2014) and, in place of local response
/// normalization and dropout, batch norm after every layer, as LA was trained. The first convolution pads by 2
/// in torchvision's, by 0 in the original program of LA: maps of 55, 27, 13, 6 or 54, 26, 12, 5 pixels.
class AlexNet : public PlainNetwork {
 public:
  AlexNet(const NetworkOptions& options, int first_padding);
};

/// VGG16 (Simonyan, Zisserman 2015) without dropout, with batch norm after the last convolution of each block
/// and the two hidden layers, as LA was trained; or as torchvision's vgg16_bn, after every convolution alone.
class Vgg16 : public PlainNetwork {
 public:
  enum class Norm { last_of_block_and_hidden, every_convolution };
  Vgg16(const NetworkOptions& options, Norm norm);
};

}  // namespace la
