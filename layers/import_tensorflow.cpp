#include "layers/import_tensorflow.h"

#include <map>

#include "layers/networks.h"
#include "tensor/error.h"

namespace la {
namespace {

/// [H, W, I, O] -> [O, I, H, W]; [I, O] -> [O, I].
Tensor torch_kernel(const Tensor& kernel) {
  const bool matrix = kernel.rank() == 2;
  check(matrix || kernel.rank() == 4, "a kernel has the shape {}", kernel.shape());
  const int64_t out = kernel.size(kernel.rank() - 1), in = kernel.size(kernel.rank() - 2);
  const int64_t positions = matrix ? 1 : kernel.size(0) * kernel.size(1);
  Tensor weight(matrix ? Shape{out, in} : Shape{out, in, kernel.size(0), kernel.size(1)});
  const float* from = kernel.data<float>();
  for (int64_t p = 0; p < positions; ++p)
    for (int64_t i = 0; i < in; ++i)
      for (int64_t o = 0; o < out; ++o)
        weight.data<float>()[(o * in + i) * positions + p] = from[(p * in + i) * out + o];
  return weight;
}

/// Gives variables our names, one after the other.
class Renamer {
 public:
  Renamer(const std::vector<NamedTensor>& variables, std::string prefix) : prefix_(std::move(prefix)) {
    for (const NamedTensor& v : variables) variables_.emplace(v.name, v.tensor);
  }

  bool has(const std::string& name) const { return variables_.contains(prefix_ + name); }
  const Tensor& variable(const std::string& name) const {
    const auto found = variables_.find(prefix_ + name);
    check(found != variables_.end(), "has no variable {}{}", prefix_, name);
    return found->second;
  }
  void add(const std::string& our_name, const Tensor& tensor) { tensors.push_back({our_name, tensor}); }
  /// shape: of our weight in PyTorch's layout, where it is a matrix that sees a whole map.
  void add_kernel(const std::string& our_name, const std::string& name, bool as_matrix = false) {
    const Tensor weight = torch_kernel(variable(name));
    add(our_name, as_matrix ? weight.reshape({weight.size(0), -1}) : weight);
  }
  void add_norm(const std::string& ours, const std::string& scope) {
    add(ours + ".weight", variable(scope + "/gamma"));
    add(ours + ".bias", variable(scope + "/beta"));
    add(ours + ".running_mean", variable(scope + "/moving_mean"));
    add(ours + ".running_var", variable(scope + "/moving_variance"));
  }

  std::vector<NamedTensor> tensors;

 private:
  std::string prefix_;
  std::map<std::string, Tensor> variables_;
};

/// What stands before a name that ends so; nothing if there is none.
std::optional<std::string> prefix_of(const std::vector<NamedTensor>& variables, std::string_view ending) {
  for (const NamedTensor& v : variables)
    if (v.name.ends_with(ending)) return v.name.substr(0, v.name.size() - ending.size());
  return {};
}

/// "conv2d", "conv2d_1", ...: TensorFlow numbers layers in the order in which they are made.
class Counter {
 public:
  explicit Counter(const char* name) : name_(name) {}
  std::string next() {
    const int number = count_++;
    return number == 0 ? name_ : formatted("{}_{}", name_, number);
  }

 private:
  std::string name_;
  int count_ = 0;
};

/// A block begins with batch norm, then makes its projection, if it has one, before its convolutions.
RenamedNetwork rename_resnet(Renamer& renamer) {
  constexpr int convolutions_of_50 = 53;  // projections included
  const bool bottleneck = renamer.has(formatted("conv2d_{}/kernel", convolutions_of_50 - 1));
  const std::vector<int> blocks = bottleneck ? std::vector{3, 4, 6, 3} : std::vector{2, 2, 2, 2};
  const int convolutions = bottleneck ? 3 : 2;
  Counter convolution("conv2d"), norm("batch_normalization");
  renamer.add_kernel("conv1.weight", convolution.next() + "/kernel");
  for (size_t s = 0; s < blocks.size(); ++s)
    for (int b = 0; b < blocks[s]; ++b) {
      const std::string block = formatted("layer{}.{}.", s + 1, b);
      renamer.add_norm(block + "bn1", norm.next());
      if (b == 0) renamer.add_kernel(block + "downsample.weight", convolution.next() + "/kernel");
      for (int c = 1; c <= convolutions; ++c) {
        if (c > 1) renamer.add_norm(formatted("{}bn{}", block, c), norm.next());
        renamer.add_kernel(formatted("{}conv{}.weight", block, c), convolution.next() + "/kernel");
      }
    }
  renamer.add_norm("bn1", norm.next());
  renamer.add_kernel("fc.weight", "dense/kernel");
  renamer.add("fc.bias", renamer.variable("dense/bias"));
  return {bottleneck ? "original-resnet50" : "original-resnet18", renamer.tensors};
}

/// A layer of a network without shortcuts: its scope, and whether batch norm follows.
struct PlainLayer {
  std::string scope;
  bool normalized;
};

std::vector<PlainLayer> alexnet_layers() {
  std::vector<PlainLayer> layers;
  for (const char* scope : {"conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"})
    layers.push_back({scope, true});
  layers.push_back({"fc8", false});
  return layers;
}

/// slim.repeat makes "conv3/conv3_1", "conv3/conv3_2", then "conv3_final/conv3_final_1".
std::vector<PlainLayer> vgg_layers() {
  std::vector<PlainLayer> layers;
  for (int block = 1; block <= 5; ++block) {
    for (int i = 1; i <= (block <= 2 ? 1 : 2); ++i)
      layers.push_back({formatted("conv{0}/conv{0}_{1}", block, i), false});
    layers.push_back({formatted("conv{0}_final/conv{0}_final_1", block), true});
  }
  for (const char* scope : {"fc6", "fc7"}) layers.push_back({scope, true});
  layers.push_back({"fc8", false});
  return layers;
}

/// The scope of a layer's batch norm, which TensorFlow may have numbered.
std::string norm_scope(const Renamer& renamer, const std::string& scope) {
  for (const char* ending : {"", "_1", "/batch_normalization", "/BatchNorm"})
    if (renamer.has(scope + ending + "/gamma")) return scope + ending;
  fail("has no batch norm of {}", scope);
}

/// Our layers have numbers, in the same order. A bias before batch norm is kept: import_network takes it in.
RenamedNetwork rename_plain(Renamer& renamer, const std::string& network,
                            const std::vector<PlainLayer>& layers) {
  std::vector<Module::Parameter> weights, norms;  // of ours
  const auto ours = make_network({.name = network});
  for (const Module::Parameter& p : ours->parameters()) {
    if (p.role == Module::Role::weight) weights.push_back(p);
    if (p.role == Module::Role::norm && p.name.ends_with(".weight")) norms.push_back(p);
  }
  const auto without_ending = [](const std::string& name) { return name.substr(0, name.rfind('.')); };
  size_t norm = 0;
  for (size_t i = 0; i < layers.size(); ++i) {
    const auto& [scope, normalized] = layers[i];
    const std::string own = without_ending(weights.at(i).name);
    const bool as_matrix = weights[i].variable->shape().rank() == 2;
    renamer.add_kernel(own + ".weight", scope + "/weights", as_matrix);
    if (renamer.has(scope + "/biases")) renamer.add(own + ".bias", renamer.variable(scope + "/biases"));
    if (normalized) renamer.add_norm(without_ending(norms.at(norm++).name), norm_scope(renamer, scope));
  }
  return {network, renamer.tensors};
}

}  // namespace

std::optional<RenamedNetwork> from_original_program(const std::vector<NamedTensor>& variables) {
  std::optional<RenamedNetwork> renamed;
  if (const auto prefix = prefix_of(variables, "resnet_model/conv2d/kernel")) {
    Renamer renamer(variables, *prefix + "resnet_model/");
    renamed = rename_resnet(renamer);
  } else if (const auto alexnet = prefix_of(variables, "alexnet_v2/conv1/weights")) {
    Renamer renamer(variables, *alexnet + "alexnet_v2/");
    renamed = rename_plain(renamer, "original-alexnet", alexnet_layers());
  } else if (const auto vgg = prefix_of(variables, "vgg_16/conv1/conv1_1/weights")) {
    Renamer renamer(variables, *vgg + "vgg_16/");
    renamed = rename_plain(renamer, "vgg16", vgg_layers());
  }
  if (renamed)
    for (const NamedTensor& v : variables)
      if (v.name.ends_with("memory_bank") && v.tensor.rank() == 2)
        renamed->tensors.push_back({"memory_bank", v.tensor});
  return renamed;
}

}  // namespace la
