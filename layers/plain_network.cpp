#include "layers/plain_network.h"

#include <algorithm>

#include "tensor/format.h"

namespace la {
namespace {

constexpr int64_t hidden = 4096;  // width of the fully connected layers
constexpr BatchNorm2d::Options with_relu{.relu = true};

/// Appends layers to a sequence, and follows what they make of the picture's size and channels.
class Builder {
 public:
  Builder(Sequential& layers, int64_t image_size, int64_t channels)
      : layers_(layers), size_(image_size), channels_(channels) {}

  /// A convolution with batch norm and ReLU.
  void convolve(int64_t channels, const Conv2d::Options& options) {
    append_convolution(channels, options);
    layers_.append<BatchNorm2d>(channels, with_relu).skip();
    last_ = layers_.children().back().second;
  }
  /// A convolution with ReLU alone.
  void convolve_without_norm(int64_t channels, const Conv2d::Options& options) {
    append_convolution(channels, options);
    layers_.append<ReLU>();
    last_ = layers_.children().back().second;
  }
  /// What the last convolution, with its ReLU, gives.
  Module* last() const { return last_; }
  void pool(int kernel) {
    before_pool_ = {.stride = stride_,
                    .border = std::max(0, static_cast<int>(first_center_ - half(stride_)))};
    layers_.append<MaxPool2d>(PoolGeometry{.kernel = kernel, .stride = 2});
    shrink(kernel, 2, 0);
  }

  int64_t positions() const { return size_ * size_; }
  int64_t features() const { return positions() * channels_; }
  /// Of the map before the last pooling, in regions of as many cells as are left after it.
  BackboneLayout layout() const {
    BackboneLayout layout = before_pool_;
    layout.size = static_cast<int>(size_);
    layout.pools = true;
    layout.map_channels = channels_;
    layout.features = hidden;
    return layout;
  }

 private:
  static double half(int extent) { return (extent - 1) / 2.0; }

  void append_convolution(int64_t channels, const Conv2d::Options& options) {
    layers_.append<Conv2d>(channels_, channels, options);
    channels_ = channels;
    shrink(options.kernel, options.stride, options.padding);
  }
  void shrink(int kernel, int stride, int padding) {
    const int64_t room = size_ + 2 * padding - kernel;
    check(room >= 0, "the pictures are too small for this network: {} pixels are left for a window of {}",
          size_, kernel);
    size_ = room / stride + 1;
    first_center_ += stride_ * (half(kernel) - padding);
    stride_ *= stride;
  }

  Sequential& layers_;
  Module* last_ = nullptr;
  int64_t size_, channels_;
  int stride_ = 1;           // pixels of the picture in one of the map
  double first_center_ = 0;  // where in the picture the first pixel of the map has its center
  BackboneLayout before_pool_;
};

/// Two hidden layers, each with batch norm and ReLU, and the head.
void append_normalized_classifier(Sequential& classifier, const Builder& features, const NetworkOptions& o) {
  classifier
      .append<Linear>(features.features(), hidden,
                      Linear::Options{.bias = false, .positions = features.positions()})
      .append<BatchNorm2d>(hidden, with_relu)
      .append<Linear>(hidden, hidden, Linear::Options{.bias = false})
      .append<BatchNorm2d>(hidden, with_relu)
      .append<Cast>(DType::f32)
      .append(make_head(o.head, hidden, o.dim));
}

}  // namespace

Variable PlainNetwork::map(const Variable& x) {
  Variable y = x;
  for (size_t i = 0; i + 1 < features_.children().size(); ++i) y = (*features_.children()[i].second)(y);
  return y;
}

AlexNet::AlexNet(const NetworkOptions& o, int first_padding) {
  Builder features(features_, o.image_size, o.channels);
  const auto convolve = [&](int64_t channels, Conv2d::Options options) {
    options.bias = false;
    features.convolve(channels, options);
    stages_.emplace_back(formatted("conv{}", stages_.size() + 1), features.last());
  };
  convolve(64, {.kernel = 11, .stride = 4, .padding = first_padding});
  features.pool(3);
  convolve(192, {.kernel = 5, .padding = 2});
  features.pool(3);
  for (int64_t channels : {384, 384, 256}) convolve(channels, {.kernel = 3, .padding = 1});
  features.pool(3);
  layout_ = features.layout();
  append_normalized_classifier(classifier_, features, o);
}

Vgg16::Vgg16(const NetworkOptions& o, Norm norm) {
  const bool every = norm == Norm::every_convolution;
  Builder features(features_, o.image_size, o.channels);
  std::vector<std::string> frozen;  // the convolutions of the first two blocks
  for (const auto& [channels, count] : {std::pair{64, 2}, {128, 2}, {256, 3}, {512, 3}, {512, 3}}) {
    const Conv2d::Options options{.kernel = 3, .padding = 1};
    for (int i = 1; i < count; ++i)
      every ? features.convolve(channels, options) : features.convolve_without_norm(channels, options);
    features.convolve(channels, {.kernel = 3, .padding = 1, .bias = every});
    stages_.emplace_back(formatted("conv{}", stages_.size() + 1), features.last());
    if (stages_.size() == 2)
      for (const auto& [name, layer] : features_.children())
        frozen.push_back(formatted("features.{}.", name));
    features.pool(2);
  }
  layout_ = features.layout();
  layout_.frozen = frozen;
  if (!every) {
    append_normalized_classifier(classifier_, features, o);
    return;
  }
  // Where torchvision has dropout, nothing or the way back to f32 stands here.
  classifier_.append<Linear>(features.features(), hidden, Linear::Options{.positions = features.positions()})
      .append<ReLU>()
      .skip()
      .append<Linear>(hidden, hidden)
      .append<ReLU>()
      .append<Cast>(DType::f32)
      .append(make_head(o.head, hidden, o.dim));
}

}  // namespace la
