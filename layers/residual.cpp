#include "layers/residual.h"

namespace la {
namespace {

Conv2d::Options conv1x1(int stride = 1) { return {.kernel = 1, .stride = stride, .bias = false}; }
Conv2d::Options conv3x3(int stride = 1) {
  return {.kernel = 3, .stride = stride, .padding = 1, .bias = false};
}

bool needs_projection(const BlockOptions& o, int64_t out) {
  return o.projects || o.stride != 1 || o.in != out;
}

std::unique_ptr<Sequential> make_projection(const BlockOptions& o, int64_t out) {
  if (!needs_projection(o, out)) return nullptr;
  auto projection = std::make_unique<Sequential>();
  projection->append<Conv2d>(o.in, out, conv1x1(o.stride)).append<BatchNorm2d>(out);
  return projection;
}

std::unique_ptr<Conv2d> make_bare_projection(const BlockOptions& o, int64_t out) {
  return needs_projection(o, out) ? std::make_unique<Conv2d>(o.in, out, conv1x1(o.stride)) : nullptr;
}

constexpr BatchNorm2d::Options with_relu{.relu = true};

}  // namespace

BasicBlock::BasicBlock(BlockOptions o)
    : conv1_(o.in, o.width, conv3x3(o.stride)),
      conv2_(o.width, o.width, conv3x3()),
      bn1_(o.width, with_relu),
      bn2_(o.width, with_relu),
      downsample_(make_projection(o, o.width)) {
  add("conv1", conv1_);
  add("bn1", bn1_);
  add("conv2", conv2_);
  add("bn2", bn2_);
  if (downsample_) add("downsample", *downsample_);
}

Variable BasicBlock::forward(const Variable& x) {
  Variable y = conv2_(bn1_(conv1_(x)));
  return bn2_.forward(y, downsample_ ? (*downsample_)(x) : x);
}

Bottleneck::Bottleneck(BlockOptions o)
    : conv1_(o.in, o.width, conv1x1()),
      conv2_(o.width, o.width, conv3x3(o.stride)),
      conv3_(o.width, expansion * o.width, conv1x1()),
      bn1_(o.width, with_relu),
      bn2_(o.width, with_relu),
      bn3_(expansion * o.width, with_relu),
      downsample_(make_projection(o, expansion * o.width)) {
  add("conv1", conv1_);
  add("bn1", bn1_);
  add("conv2", conv2_);
  add("bn2", bn2_);
  add("conv3", conv3_);
  add("bn3", bn3_);
  if (downsample_) add("downsample", *downsample_);
}

Variable Bottleneck::forward(const Variable& x) {
  Variable y = conv3_(bn2_(conv2_(bn1_(conv1_(x)))));
  return bn3_.forward(y, downsample_ ? (*downsample_)(x) : x);
}

PreActivationBlock::PreActivationBlock(const BlockOptions& o, int64_t out)
    : bn1_(o.in, with_relu), downsample_(make_bare_projection(o, out)) {
  add("bn1", bn1_);
}

void PreActivationBlock::add_shortcut() {
  if (downsample_) add("downsample", *downsample_);
}

Variable PreActivationBlock::forward(const Variable& x) {
  const Variable a = activate(x);
  return branch(a) + (downsample_ ? (*downsample_)(a) : x);
}

Variable PreActivationBlock::forward_activated(const Variable& a) {
  check(downsample_ != nullptr, "a block whose shortcut is the identity needs what comes before batch norm");
  return branch(a) + (*downsample_)(a);
}

PreActivationBasicBlock::PreActivationBasicBlock(BlockOptions o)
    : PreActivationBlock(o, o.width),
      bn2_(o.width, with_relu),
      conv1_(o.in, o.width, conv3x3(o.stride)),
      conv2_(o.width, o.width, conv3x3()) {
  add("conv1", conv1_);
  add("bn2", bn2_);
  add("conv2", conv2_);
  add_shortcut();
}

PreActivationBottleneck::PreActivationBottleneck(BlockOptions o)
    : PreActivationBlock(o, expansion * o.width),
      bn2_(o.width, with_relu),
      bn3_(o.width, with_relu),
      conv1_(o.in, o.width, conv1x1()),
      conv2_(o.width, o.width, conv3x3(o.stride)),
      conv3_(o.width, expansion * o.width, conv1x1()) {
  add("conv1", conv1_);
  add("bn2", bn2_);
  add("conv2", conv2_);
  add("bn3", bn3_);
  add("conv3", conv3_);
  add_shortcut();
}

}  // namespace la
