#include "layers/networks.h"

#include <cmath>
#include <functional>

#include "layers/initializers.h"
#include "tensor/error.h"

namespace la {
namespace {

constexpr int64_t largest_small_picture = 64;

using Maker = std::function<std::unique_ptr<Module>(const NetworkOptions&)>;

template <class Network, class Form>
Maker plain(Form form) {
  return [form](const NetworkOptions& o) { return std::make_unique<Network>(o, form); };
}

Maker resnet(const ResNetOptions& form) {
  return [form](const NetworkOptions& o) -> std::unique_ptr<Module> {
    ResNetOptions r = form;
    r.channels = o.channels;
    r.image_size = o.image_size;
    r.dim = o.dim;
    r.head = o.head;
    r.last_stride = o.last_stride;
    if (r.stem == Stem::large && o.image_size <= largest_small_picture) r.stem = Stem::small;
    return std::make_unique<ResNet>(r);
  };
}

constexpr BlockKind bottleneck = BlockKind::bottleneck;

struct Row {
  const char* name;
  Maker make;
  int64_t image_size = 224;
};

const std::vector<Row>& networks() {
  static const std::vector<Row> rows{
      {"alexnet", plain<AlexNet>(2)},
      // The networks of LA's original program; with vgg16, which nobody else has so.
      {"original-alexnet", plain<AlexNet>(0)},
      {"original-resnet18", resnet({.blocks = {2, 2, 2, 2}, .pre_activation = true, .original = true})},
      {"original-resnet50",
       resnet({.blocks = {3, 4, 6, 3}, .block = bottleneck, .pre_activation = true, .original = true})},
      {"preact-resnet101", resnet({.blocks = {3, 4, 23, 3}, .block = bottleneck, .pre_activation = true})},
      {"preact-resnet18", resnet({.blocks = {2, 2, 2, 2}, .pre_activation = true})},
      {"preact-resnet34", resnet({.blocks = {3, 4, 6, 3}, .pre_activation = true})},
      {"preact-resnet50", resnet({.blocks = {3, 4, 6, 3}, .block = bottleneck, .pre_activation = true})},
      {"resnet101", resnet({.blocks = {3, 4, 23, 3}, .block = bottleneck})},
      {"resnet18", resnet({.blocks = {2, 2, 2, 2}})},
      // The narrow network of He et al. 2015 for pictures of 28 to 32 pixels: 16, 32 and 64 channels.
      {"resnet20", resnet({.blocks = {3, 3, 3}, .width = 16, .stem = Stem::small}), 32},
      // The same depth and work, with pictures halved by the stem and 32, 64 and 128 channels, which vector
      // units like better.
      {"resnet20-wide", resnet({.blocks = {3, 3, 3}, .width = 32, .stem = Stem::strided}), 32},
      {"resnet34", resnet({.blocks = {3, 4, 6, 3}})},
      {"resnet50", resnet({.blocks = {3, 4, 6, 3}, .block = bottleneck})},
      // Of resnet20-wide one block a stage: the smallest that finds more than pixels show.
      {"resnet8-wide", resnet({.blocks = {1, 1, 1}, .width = 32, .stem = Stem::strided}), 32},
      {"vgg16", plain<Vgg16>(Vgg16::Norm::last_of_block_and_hidden)},
      {"vgg16_bn", plain<Vgg16>(Vgg16::Norm::every_convolution)},
  };
  return rows;
}

const Row& find_row(std::string_view name) {
  for (const Row& row : networks())
    if (name == row.name) return row;
  fail("unknown network \"{}\"; there are {}", name, joined(network_names(), ", "));
}

using NamedModules = std::vector<std::pair<std::string, Module*>>;

/// Runs the network in evaluation mode and calls f(name, module, shape of its output) for each of `modules`
/// as it is reached.
template <class F>
void observe_one_pass(Module& network, const NamedModules& modules, const Shape& input, Device device, F f) {
  for (const auto& [name, module] : modules)
    module->observe([&f, name = name, module = module](const Variable& y) { f(name, *module, y.shape()); });
  const bool was_training = network.training();
  network.set_training(false);
  network.set_initialized();  // the shapes are asked for, not the values
  {
    NoGrad no_grad;
    network(Variable(Tensor::zeros(input, DType::f32, device)));
  }
  network.set_training(was_training);
  for (const auto& [name, module] : modules) module->observe({});
}

/// What the original program begins a weight with. Biases and batch norm begin with 0, 1 and 0.
Initializer original_initializer(const std::string& network, const Module::Parameter& p) {
  if (p.role == Module::Role::bias) return constant(0.0f);
  if (p.role == Module::Role::norm) return nullptr;
  const Shape& shape = p.variable->shape();
  const bool convolution = shape.rank() == 4;
  const int64_t window = convolution ? shape[1] * shape[2] : p.positions, fan_in = shape.numel() / shape[0];
  if (convolution && network.find("resnet") != std::string::npos)
    return truncated_normal(1.0f / std::sqrt(static_cast<float>(fan_in)));
  if (!convolution && network.find("alexnet") != std::string::npos) return truncated_normal(0.005f);
  return glorot_uniform(fan_in, window * shape[0]);
}

int64_t count_parameters(Module& module) {
  int64_t count = 0;
  for (const auto& p : module.parameters()) count += p.variable->value().numel();
  return count;
}

}  // namespace

std::unique_ptr<Module> make_network(const NetworkOptions& options) {
  const bool as_many_as_features = options.head == HeadKind::none && options.dim == 0;
  check(options.channels >= 1 && options.image_size >= 1 && (options.dim >= 1 || as_many_as_features),
        "{}: {} channels, image size {} and {} dimensions; expected at least 1 of each", options.name,
        options.channels, options.image_size, options.dim);
  auto network = find_row(options.name).make(options);
  for (const auto& [name, module] : network->descendants())
    if (auto* const norm = dynamic_cast<BatchNorm2d*>(module)) norm->set_momentum(options.norm_momentum);
  return network;
}

void initialize(Module& network, const NetworkOptions& options, uint64_t seed) {
  if (options.initialization == Initialization::torchvision) return network.initialize(seed);
  network.initialize(seed, [&](const Module::Parameter& p) { return original_initializer(options.name, p); });
}

std::vector<std::string> network_names() {
  std::vector<std::string> names;
  for (const Row& row : networks()) names.emplace_back(row.name);
  return names;
}

int64_t usual_image_size(std::string_view name) { return find_row(name).image_size; }

std::vector<LayerSummary> summarize(Module& network, const Shape& input, Device device) {
  NamedModules layers;
  for (const auto& [name, child] : network.children()) {
    if (child->children().empty()) layers.emplace_back(name, child);
    for (const auto& [inner_name, inner] : child->children())
      layers.emplace_back(name + "." + inner_name, inner);
  }
  std::vector<LayerSummary> rows;
  observe_one_pass(network, layers, input, device,
                   [&](const std::string& name, Module& layer, const Shape& y) {
                     rows.push_back({name, y, count_parameters(layer)});
                   });
  return rows;
}

NetworkCost cost_of(Module& network, const Shape& input) {
  NetworkCost cost{.parameters = count_parameters(network)};
  observe_one_pass(network, network.descendants(), input, {},
                   [&](const std::string& name, Module& module, const Shape& y) {
                     const int64_t products = module.multiply_adds(y);
                     cost.multiply_adds += products;
                     cost.layers += products > 0 && name.find("downsample") == std::string::npos;
                   });
  return cost;
}

}  // namespace la
