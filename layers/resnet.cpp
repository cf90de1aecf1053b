#include "layers/resnet.h"

#include "tensor/error.h"

namespace la {
namespace {

void append_block(Sequential& stage, const ResNetOptions& o, const BlockOptions& block) {
  const bool basic = o.block == BlockKind::basic;
  if (basic && !o.pre_activation) stage.append<BasicBlock>(block);
  if (basic && o.pre_activation) stage.append<PreActivationBasicBlock>(block);
  if (!basic && !o.pre_activation) stage.append<Bottleneck>(block);
  if (!basic && o.pre_activation) stage.append<PreActivationBottleneck>(block);
}

int64_t width_of_stage(const ResNetOptions& o, size_t stage) { return o.width << stage; }

int64_t feature_channels(const ResNetOptions& o) {
  const int expansion = o.block == BlockKind::basic ? BasicBlock::expansion : Bottleneck::expansion;
  return expansion * width_of_stage(o, o.blocks.size() - 1);
}

Conv2d::Options stem_convolution(Stem stem) {
  switch (stem) {
    case Stem::large:
      return {.kernel = 7, .stride = 2, .padding = 3, .bias = false};
    case Stem::small:
      return {.kernel = 3, .padding = 1, .bias = false};
    case Stem::strided:
      return {.kernel = 5, .stride = 2, .padding = 2, .bias = false};
  }
  fail("there is no such stem");
}

/// The pooling of the large stem. TensorFlow's pads so that windows begin at every second position: an odd map
/// by 1 on each side, an even one by 1 behind, which is what a last window makes that reaches beyond the map.
PoolGeometry stem_pooling(const ResNetOptions& o) {
  const bool even_map = (o.image_size + 1) / 2 % 2 == 0;
  if (o.original && even_map) return {.kernel = 3, .stride = 2, .ceil_mode = true};
  return {.kernel = 3, .stride = 2, .padding = 1};
}

/// Of a stage in pre-activation form.
PreActivationBlock& first_block(Module& stage) {
  return dynamic_cast<PreActivationBlock&>(*stage.children().front().second);
}

BackboneLayout layout_of(const ResNetOptions& o) {
  const int stem = o.stem == Stem::large ? 4 : o.stem == Stem::strided ? 2 : 1;
  const auto halvings = static_cast<int>(o.blocks.size()) - 2;  // between the stem and the last stage
  return {.stride = stem << halvings,
          .size = 7,
          .map_channels = feature_channels(o) / 2,
          .features = feature_channels(o),
          .frozen = {"conv1.", "layer1."}};
}

}  // namespace

ResNet::ResNet(const ResNetOptions& o)
    : layout_(layout_of(o)),
      pre_activation_(o.pre_activation),
      conv1_(o.channels, o.width, stem_convolution(o.stem)),
      bn1_(o.pre_activation ? feature_channels(o) : o.width, BatchNorm2d::Options{.relu = true}),
      fc_(make_head(o.head, feature_channels(o), o.dim)) {
  add("conv1", conv1_);
  if (!pre_activation_) add("bn1", bn1_);
  if (o.stem == Stem::large) max_pool_ = std::make_unique<MaxPool2d>(stem_pooling(o));

  int64_t in = o.width;
  for (size_t s = 0; s < o.blocks.size(); ++s) {
    auto stage = std::make_unique<Sequential>();
    const int64_t width = width_of_stage(o, s);
    for (int b = 0; b < o.blocks[s]; ++b) {
      const bool first = b == 0;
      const int stride = s == 0 ? 1 : s + 1 == o.blocks.size() ? o.last_stride : 2;
      append_block(*stage, o,
                   {.in = in, .width = width, .stride = first ? stride : 1, .projects = first && o.original});
      in = width * (o.block == BlockKind::basic ? BasicBlock::expansion : Bottleneck::expansion);
    }
    add(formatted("layer{}", s + 1), *stage);
    stages_.push_back(std::move(stage));
  }
  if (pre_activation_) add("bn1", bn1_);
  add("fc", *fc_);
}

std::vector<std::pair<std::string, Module*>> ResNet::stages() {
  Module* const stem = max_pool_ ? static_cast<Module*>(max_pool_.get()) : &bn1_;
  std::vector<std::pair<std::string, Module*>> result{{"stem", stem}};
  for (const auto& stage : stages_) result.emplace_back(formatted("layer{}", result.size()), stage.get());
  if (!pre_activation_) return result;
  for (size_t s = 0; s < stages_.size(); ++s) result[s].second = &first_block(*stages_[s]).activation();
  result.back().second = &bn1_;
  return result;
}

Variable ResNet::stem(const Variable& x) {
  Variable y = conv1_(x);
  if (!pre_activation_) y = bn1_(y);
  return max_pool_ ? (*max_pool_)(y) : y;
}

Variable ResNet::pooled(const Variable& x) {
  // The embedding is f32 whatever the network's precision.
  return cast(global_avg_pool(pre_activation_ ? bn1_(x) : x), DType::f32);
}

Variable ResNet::forward(const Variable& x) {
  Variable y = stem(x);
  for (const auto& stage : stages_) y = (*stage)(y);
  return (*fc_)(pooled(y));
}

Variable ResNet::map(const Variable& x) {
  Variable y = stem(x);
  for (size_t s = 0; s + 1 < stages_.size(); ++s) y = (*stages_[s])(y);
  return pre_activation_ ? first_block(*stages_.back()).activate(y) : y;
}

Variable ResNet::region_features(const Variable& regions) {
  Sequential& stage = *stages_.back();
  if (!pre_activation_) return pooled(stage(regions));
  Variable y = first_block(stage).forward_activated(regions);
  for (size_t b = 1; b < stage.children().size(); ++b) y = (*stage.children()[b].second)(y);
  return pooled(y);
}

}  // namespace la
