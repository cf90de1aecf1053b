#include "layers/networks.h"

#include <functional>

#include "tensor/error.h"

namespace la {
namespace {

constexpr int64_t largest_small_picture = 64;

using Maker = std::function<std::unique_ptr<Module>(const NetworkOptions&)>;

template <class Network>
std::unique_ptr<Module> plain(const NetworkOptions& options) {
  return std::make_unique<Network>(options);
}

Maker resnet(const ResNetOptions& form) {
  return [form](const NetworkOptions& o) -> std::unique_ptr<Module> {
    ResNetOptions r = form;
    r.channels = o.channels;
    r.dim = o.dim;
    r.head = o.head;
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
      {"alexnet", plain<AlexNet>},
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
      {"vgg16", plain<Vgg16>},
  };
  return rows;
}

const Row& find_row(std::string_view name) {
  for (const Row& row : networks())
    if (name == row.name) return row;
  fail("unknown network \"{}\"; there are {}", name, joined(network_names(), ", "));
}

using NamedModules = std::vector<std::pair<std::string, Module*>>;

/// All modules below this one, with their full names.
void collect_modules(Module& module, const std::string& prefix, NamedModules& all) {
  for (const auto& [name, child] : module.children()) {
    all.emplace_back(prefix + name, child);
    collect_modules(*child, prefix + name + ".", all);
  }
}

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

int64_t count_parameters(Module& module) {
  int64_t count = 0;
  for (const auto& p : module.parameters()) count += p.variable->value().numel();
  return count;
}

}  // namespace

std::unique_ptr<Module> make_network(const NetworkOptions& options) {
  check(options.channels >= 1 && options.image_size >= 1 && options.dim >= 1,
        "{}: {} channels, image size {} and {} dimensions; expected at least 1 of each", options.name,
        options.channels, options.image_size, options.dim);
  return find_row(options.name).make(options);
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
  NamedModules all;
  collect_modules(network, "", all);
  observe_one_pass(network, all, input, {}, [&](const std::string& name, Module& module, const Shape& y) {
    const int64_t products = module.multiply_adds(y);
    cost.multiply_adds += products;
    cost.layers += products > 0 && name.find("downsample") == std::string::npos;
  });
  return cost;
}

}  // namespace la
