// Residual networks: a stem, stages of residual blocks, global average pooling, and a head that gives the
// embedding before its L2 normalization.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "layers/backbone.h"
#include "layers/head.h"
#include "layers/residual.h"

namespace la {

enum class BlockKind { basic, bottleneck };
/// large: 7x7 convolution of stride 2 and 3x3 max pooling of stride 2, for 224 pixels; small: one 3x3
/// convolution; strided: one 5x5 convolution of stride 2, which buys twice the channels for the same work.
enum class Stem { large, small, strided };
struct ResNetOptions {
  std::vector<int> blocks = {2, 2, 2, 2};  // of each stage; each stage after the first halves the picture
  int64_t width = 64;                      // of the first stage; each further stage doubles it
  BlockKind block = BlockKind::basic;
  Stem stem = Stem::large;
  bool pre_activation = false;
  /// As the original program of LA has it, and the networks of TensorFlow that it took: the first block of every
  /// stage projects, and the pooling of the large stem pads an even map behind alone, (0, 1).
  bool original = false;
  int64_t channels = 3;      // of the pictures
  int64_t image_size = 224;  // their height and width
  int64_t dim = 128;         // of the embedding
  HeadKind head = HeadKind::linear;
  int last_stride = 2;  // of the last stage
};

/// x [N, H, W, channels] (f32 or bf16) -> f32 [N, dim]. Parameters are named as in torchvision: conv1, bn1,
/// layer1.0.conv1, ..., fc. In pre-activation form bn1 stands after the last stage.
class ResNet : public Backbone {
 public:
  explicit ResNet(const ResNetOptions& options);
  Variable forward(const Variable& x) override;
  /// What comes before the last stage; in pre-activation form after its first batch norm and ReLU.
  Variable map(const Variable& x) override;
  Variable region_features(const Variable& regions) override;
  BackboneLayout layout() const override { return layout_; }
  /// stem, layer1 ...; in pre-activation form after the batch norm and ReLU that the next stage begins with, as
  /// the original program reads them out.
  std::vector<std::pair<std::string, Module*>> stages() override;

 private:
  Variable stem(const Variable& x);
  /// The mean over the positions of what the last stage gives, f32.
  Variable pooled(const Variable& x);

  BackboneLayout layout_;
  bool pre_activation_;
  Conv2d conv1_;
  BatchNorm2d bn1_;
  std::unique_ptr<MaxPool2d> max_pool_;
  std::vector<std::unique_ptr<Sequential>> stages_;
  std::unique_ptr<Module> fc_;
};

}  // namespace la
