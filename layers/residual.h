// Residual blocks (He, Zhang, Ren, Sun: "Deep residual learning", 2015) and their pre-activation form
// ("Identity mappings in deep residual networks", 2016), in which batch norm and ReLU come before each
// convolution and the sum is passed on as it is. The names of parameters are torchvision's.
#pragma once

#include <memory>

#include "layers/layers.h"

namespace la {

/// in: channels of x; width: channels inside the block; stride: of the first 3x3 convolution. The shortcut is
/// the identity where the shapes allow it and it must not project, else a 1x1 convolution ("downsample").
struct BlockOptions {
  int64_t in = 64;
  int64_t width = 64;
  int stride = 1;
  bool projects = false;
};

/// Two 3x3 convolutions: relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x)). Gives `width` channels.
class BasicBlock : public Module {
 public:
  static constexpr int expansion = 1;  // output channels / width
  explicit BasicBlock(BlockOptions options);
  Variable forward(const Variable& x) override;

 private:
  Conv2d conv1_, conv2_;
  BatchNorm2d bn1_, bn2_;
  std::unique_ptr<Sequential> downsample_;
};

/// 1x1 to `width` channels, 3x3, 1x1 to 4 * width channels; the stride is the 3x3's.
class Bottleneck : public Module {
 public:
  static constexpr int expansion = 4;
  explicit Bottleneck(BlockOptions options);
  Variable forward(const Variable& x) override;

 private:
  Conv2d conv1_, conv2_, conv3_;
  BatchNorm2d bn1_, bn2_, bn3_;
  std::unique_ptr<Sequential> downsample_;
};

/// branch(a) + shortcut, a = relu(bn1(x)); a projection shortcut takes a, the identity takes x.
class PreActivationBlock : public Module {
 public:
  Variable forward(const Variable& x) override;
  /// a, and what follows from it, for blocks whose shortcut projects.
  Variable activate(const Variable& x) { return bn1_(x); }
  Variable forward_activated(const Variable& a);
  Module& activation() { return bn1_; }

 protected:
  PreActivationBlock(const BlockOptions& options, int64_t out);
  virtual Variable branch(const Variable& a) = 0;
  void add_shortcut();

 private:
  BatchNorm2d bn1_;
  std::unique_ptr<Conv2d> downsample_;
};

/// branch(a) = conv2(relu(bn2(conv1(a)))).
class PreActivationBasicBlock : public PreActivationBlock {
 public:
  static constexpr int expansion = 1;
  explicit PreActivationBasicBlock(BlockOptions options);

 private:
  Variable branch(const Variable& a) override { return conv2_(bn2_(conv1_(a))); }

  BatchNorm2d bn2_;
  Conv2d conv1_, conv2_;
};

/// branch(a) = conv3(relu(bn3(conv2(relu(bn2(conv1(a))))))).
class PreActivationBottleneck : public PreActivationBlock {
 public:
  static constexpr int expansion = 4;
  explicit PreActivationBottleneck(BlockOptions options);

 private:
  Variable branch(const Variable& a) override { return conv3_(bn3_(conv2_(bn2_(conv1_(a))))); }

  BatchNorm2d bn2_, bn3_;
  Conv2d conv1_, conv2_, conv3_;
};

}  // namespace la
