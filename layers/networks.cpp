#include "layers/networks.h"

#include <map>

#include "tensor/format.h"

namespace la {
namespace {

constexpr int64_t largest_small_picture = 64;

using Maker = std::unique_ptr<Module> (*)(const NetworkOptions&);

std::unique_ptr<Module> make_resnet(const NetworkOptions& o, ResNetOptions r) {
  r.channels = o.channels;
  r.dim = o.dim;
  r.head = o.head;
  if (r.stem == Stem::large && o.image_size <= largest_small_picture) r.stem = Stem::small;
  return std::make_unique<ResNet>(r);
}

template <class Network>
std::unique_ptr<Module> make_plain(const NetworkOptions& o) {
  return std::make_unique<Network>(
      PlainNetworkOptions{.channels = o.channels, .image_size = o.image_size, .dim = o.dim, .head = o.head});
}

template <bool pre_activation>
std::unique_ptr<Module> make_resnet18(const NetworkOptions& o) {
  return make_resnet(o, {.blocks = {2, 2, 2, 2}, .pre_activation = pre_activation});
}
template <bool pre_activation>
std::unique_ptr<Module> make_resnet34(const NetworkOptions& o) {
  return make_resnet(o, {.blocks = {3, 4, 6, 3}, .pre_activation = pre_activation});
}
template <bool pre_activation>
std::unique_ptr<Module> make_resnet50(const NetworkOptions& o) {
  return make_resnet(
      o, {.blocks = {3, 4, 6, 3}, .block = BlockKind::bottleneck, .pre_activation = pre_activation});
}

template <bool pre_activation>
std::unique_ptr<Module> make_resnet101(const NetworkOptions& o) {
  return make_resnet(
      o, {.blocks = {3, 4, 23, 3}, .block = BlockKind::bottleneck, .pre_activation = pre_activation});
}

/// The narrow network of He et al. 2015 for pictures of 28 to 32 pixels: 16, 32 and 64 channels.
std::unique_ptr<Module> make_resnet20(const NetworkOptions& o) {
  return make_resnet(o, {.blocks = {3, 3, 3}, .width = 16, .stem = Stem::small});
}

/// The same depth and work, with pictures halved by the stem and 32, 64 and 128 channels, which vector units
/// like better.
std::unique_ptr<Module> make_resnet20_wide(const NetworkOptions& o) {
  return make_resnet(o, {.blocks = {3, 3, 3}, .width = 32, .stem = Stem::strided});
}

/// Of that one block a stage: the smallest that finds more than pixels show.
std::unique_ptr<Module> make_resnet8_wide(const NetworkOptions& o) {
  return make_resnet(o, {.blocks = {1, 1, 1}, .width = 32, .stem = Stem::strided});
}

const std::map<std::string, Maker, std::less<>>& makers() {
  static const std::map<std::string, Maker, std::less<>> table{
      {"alexnet", make_plain<AlexNet>},
      {"vgg16", make_plain<Vgg16>},
      {"resnet20", make_resnet20},
      {"resnet20-wide", make_resnet20_wide},
      {"resnet8-wide", make_resnet8_wide},
      {"resnet18", make_resnet18<false>},
      {"resnet34", make_resnet34<false>},
      {"resnet50", make_resnet50<false>},
      {"resnet101", make_resnet101<false>},
      {"preact-resnet18", make_resnet18<true>},
      {"preact-resnet34", make_resnet34<true>},
      {"preact-resnet50", make_resnet50<true>},
      {"preact-resnet101", make_resnet101<true>},
  };
  return table;
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

std::unique_ptr<Module> make_network(std::string_view name, const NetworkOptions& options) {
  const auto found = makers().find(name);
  check(found != makers().end(), "unknown network \"{}\"; there are {}", name, joined(network_names(), ", "));
  return found->second(options);
}

std::vector<std::string> network_names() {
  std::vector<std::string> names;
  for (const auto& [name, maker] : makers()) names.push_back(name);
  return names;
}

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
