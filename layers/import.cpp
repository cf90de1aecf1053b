#include "layers/import.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <string_view>

#include "layers/state_dict.h"
#include "tensor/error.h"
#include "tensor/ops.h"
#include "tensor/text.h"

namespace la {
namespace {

/// Tensors of one network: by our names, the names in the file.
using Names = std::map<std::string, std::string>;
using Shapes = std::map<std::string, Shape>;

/// How a network's names begin in a file, and how they are written there.
struct Place {
  std::string prefix;
  bool numbered = false;  // "4.0.conv1": the layers of torchvision's ResNet in a row, without their names
};

/// A twin that follows the network slowly, or is not the one that is used in the end, comes after all others.
int rank_of(const Place& place) {
  int rank = 0;
  for (const char* second : {"encoder_k", "momentum", "target", "student", "optim"})
    if (place.prefix.find(second) != place.prefix.npos) rank += 1;
  return rank;
}

/// Where a network begins: what stands before the name of its first convolution.
std::optional<Place> find_place(const Shapes& shapes) {
  std::vector<Place> places;
  for (const auto& [full_name, shape] : shapes) {
    const std::string& name = full_name;
    const auto add = [&](std::string_view first, bool numbered) {
      if (!name.ends_with(first)) return;
      const std::string prefix = name.substr(0, name.size() - first.size());
      const bool whole_word = prefix.empty() || prefix.ends_with('.') || prefix.ends_with('/');
      const bool inside = prefix.find("layer") != prefix.npos;
      if (whole_word && !inside) places.push_back({prefix, numbered});
    };
    if (shape.rank() == 4) {
      add("conv1.weight", false);
      add("features.0.weight", false);
      add("4.0.conv1.weight", true);
    }
  }
  // "4.0." before "conv1.weight" is no prefix of its own.
  std::erase_if(places, [&](const Place& p) {
    return !p.numbered && std::any_of(places.begin(), places.end(), [&](const Place& q) {
      return q.numbered && p.prefix.starts_with(q.prefix);
    });
  });
  std::stable_sort(places.begin(), places.end(), [](const Place& a, const Place& b) {
    return std::tuple(rank_of(a), a.prefix.size()) < std::tuple(rank_of(b), b.prefix.size());
  });
  return places.empty() ? std::nullopt : std::optional(places.front());
}

/// A name of the PyTorch port of LA, or a numbered one, as ours.
std::string our_name(std::string name, bool numbered) {
  if (numbered) {
    static const std::map<std::string, std::string> parts{{"0", "conv1"},  {"1", "bn1"},    {"4", "layer1"},
                                                          {"5", "layer2"}, {"6", "layer3"}, {"7", "layer4"}};
    const size_t dot = name.find('.');
    const auto part = parts.find(name.substr(0, dot));
    if (dot != name.npos && part != parts.end()) name = part->second + name.substr(dot);
  }
  if (name.starts_with("bn.")) name = "bn1" + name.substr(2);
  if (name.starts_with("linear.")) name = "fc" + name.substr(6);
  constexpr std::string_view shortcut = ".shortcut.0.";
  if (const size_t at = name.find(shortcut); name.starts_with("layer") && at != name.npos)
    name = name.substr(0, at) + ".downsample." + name.substr(at + shortcut.size());
  return name;
}

/// What the names and shapes say about a network.
struct Description {
  const Names& names;
  const Shapes& shapes;

  bool has(const std::string& name) const { return names.contains(name); }
  const Shape& shape(const std::string& name) const { return shapes.at(names.at(name)); }

  int blocks(int stage) const {
    int count = 0;
    while (has(formatted("layer{}.{}.conv1.weight", stage, count))) ++count;
    return count;
  }

  /// The name of the network, or nothing.
  std::optional<std::string> network() const {
    if (has("features.0.weight")) return plain_network();
    const std::vector<int> counts{blocks(1), blocks(2), blocks(3), blocks(4)};
    const bool bottleneck = has("layer1.0.conv3.weight");
    if (counts == std::vector{3, 3, 3, 0} && !bottleneck) return "resnet20";
    static const std::map<std::pair<std::vector<int>, bool>, std::string> depths{
        {{{2, 2, 2, 2}, false}, "18"},
        {{{3, 4, 6, 3}, false}, "34"},
        {{{3, 4, 6, 3}, true}, "50"},
        {{{3, 4, 23, 3}, true}, "101"}};
    const auto depth = depths.find({counts, bottleneck});
    if (depth == depths.end()) return {};
    // In pre-activation form the first batch norm by name stands at the end, and projections have none.
    const bool pre_activation =
        has("bn1.weight") && has("conv1.weight") && shape("bn1.weight")[0] != shape("conv1.weight")[0];
    if (!pre_activation) return "resnet" + depth->second;
    const bool projects_early = !bottleneck && has("layer1.0.downsample.weight");
    return (projects_early ? "original-resnet" : "preact-resnet") + depth->second;
  }

 private:
  std::optional<std::string> plain_network() const {
    const bool normalized = has("features.1.running_mean");
    if (shape("features.0.weight")[2] == 11) return normalized ? std::optional("alexnet") : std::nullopt;
    return normalized ? std::optional("vgg16_bn") : std::optional("vgg16");
  }
};

/// The weight of the head, the last linear map; empty if there is none of one layer.
std::string head_of(const Description& d) {
  if (d.has("fc.weight") && d.shape("fc.weight").rank() == 2) return "fc.weight";
  for (const char* last : {"classifier.6.weight", "classifier.5.weight"})
    if (d.has(last) && d.shape(last).rank() == 2) return last;
  return "";
}

std::string examples(const std::vector<std::string>& names) {
  constexpr size_t most = 3;
  const std::vector<std::string> few(
      names.begin(), names.begin() + static_cast<std::ptrdiff_t>(std::min(most, names.size())));
  return joined(few, ", ") + (names.size() > most ? ", ..." : "");
}

/// "features.0.bias" -> "features.1.running_mean": of the batch norm that follows in a row of numbered layers;
/// empty of other names.
std::string mean_behind(const std::string& bias) {
  constexpr std::string_view ending = ".bias";
  if (!bias.ends_with(ending)) return "";
  const std::string layer = bias.substr(0, bias.size() - ending.size());
  const size_t number = layer.rfind('.') + 1;
  int value = 0;
  const auto [stop, error] = std::from_chars(layer.data() + number, layer.data() + layer.size(), value);
  constexpr int most = 1'000'000;
  if (error != std::errc() || stop != layer.data() + layer.size() || value >= most) return "";
  return formatted("{}{}.running_mean", layer.substr(0, number), value + 1);
}

/// A bias before a batch norm that we don't have: the running mean without it gives the same. Returns how many.
int64_t fold_biases(StateDict& state, const std::vector<std::string>& unexpected) {
  int64_t folded = 0;
  for (const std::string& name : unexpected) {
    const auto mean = state.find(mean_behind(name));
    if (mean == state.end() || mean->second.shape() != state.at(name).shape()) continue;
    mean->second = ops::add(mean->second, ops::scale(state.at(name), -1.0f));
    state.erase(name);
    ++folded;
  }
  return folded;
}

std::string recognize(const Description& d) {
  const std::optional<std::string> network = d.network();
  check(network.has_value(), "fits none of the networks here: {}; expected one of {}",
        d.has("features.0.weight") ? std::string("AlexNet and VGG have batch norm here")
                                   : formatted("its stages have {}, {}, {} and {} blocks", d.blocks(1),
                                               d.blocks(2), d.blocks(3), d.blocks(4)),
        joined(network_names(), ", "));
  return *network;
}

/// How many features the network gives its head.
int64_t features_of(NetworkOptions options) {
  options.dim = 1;
  options.head = HeadKind::linear;
  int64_t features = 0;
  for (const auto& p : make_network(options)->parameters())
    if (p.variable->shape().rank() == 2) features = p.variable->shape()[1];
  return features;
}

/// Which network it is, what it sees, and whether its head is kept; `head` is the name of the head's weight.
NetworkOptions options_of(const Description& d, const std::string& head, const ImportOptions& wanted) {
  const std::string first = d.has("conv1.weight") ? "conv1.weight" : "features.0.weight";
  const bool small_stem = first == "conv1.weight" && d.shape(first)[2] == 3;
  NetworkOptions o{.name = wanted.network.empty() ? recognize(d) : wanted.network,
                   .channels = d.shape(first)[1]};
  o.image_size = wanted.image_size > 0 ? wanted.image_size : small_stem ? 32 : usual_image_size(o.name);
  constexpr int64_t largest_embedding = 256;
  const bool keep = !head.empty() && wanted.head != ImportHead::none &&
                    (wanted.head == ImportHead::keep || d.shape(head)[0] <= largest_embedding);
  check(wanted.head != ImportHead::keep || keep, "has no head of one linear map to keep");
  o.head = keep ? HeadKind::linear : HeadKind::none;
  o.dim = keep ? d.shape(head)[0] : features_of(o);
  return o;
}

std::string describe_head(const Description& d, const std::string& head, const NetworkOptions& o) {
  if (o.head == HeadKind::linear)
    return formatted("head      {}: an embedding of {} dimensions", head, o.dim);
  std::string why;
  if (!head.empty())
    why = formatted(" ({} has {} outputs; --head keep takes them)", head, d.shape(head)[0]);
  else if (d.has("fc.0.weight"))
    why = " (fc has several layers, and is left out)";
  return formatted("head      none: the {} features before it are the embedding{}", o.dim, why);
}

/// Values of all of a network's tensors, f32; without the head's where none is kept.
StateDict read_state(const Names& names, const std::string& head, bool keep_head,
                     const std::function<Tensor(const std::string&)>& read) {
  StateDict state;
  const std::string head_layer = head.substr(0, head.rfind('.') + 1);
  for (const auto& [name, in_file] : names) {
    const bool of_head = name.starts_with("fc.") || (!head.empty() && name.starts_with(head_layer));
    if (of_head && !keep_head) continue;
    const Tensor values = read(in_file);
    state.emplace(name, values.dtype() == DType::bf16 ? ops::cast(values, DType::f32) : values);
  }
  return state;
}

/// An Error if a tensor is missing; notes say what was folded and left out.
void load(ImportedNetwork& imported, StateDict state) {
  const std::string& network = imported.options.name;
  StateDifference difference = load_matching_state(*imported.network, state);
  if (const int64_t folded = fold_biases(state, difference.unexpected); folded > 0) {
    difference = load_matching_state(*imported.network, state);
    imported.notes.push_back(formatted("biases    {} before batch norm, taken into its running mean",
                                       counted(folded, "bias", "biases")));
  }
  check(difference.missing.empty(), "lacks {} that {} has, such as {}",
        counted(std::ssize(difference.missing), "tensor"), network, examples(difference.missing));
  if (!difference.unexpected.empty())
    imported.notes.push_back(formatted("left out  {} that {} has not, such as {}",
                                       counted(std::ssize(difference.unexpected), "tensor"), network,
                                       examples(difference.unexpected)));
}

}  // namespace

ImportedNetwork import_network(const std::vector<AvailableTensor>& available,
                               const std::function<Tensor(const std::string&)>& read,
                               const ImportOptions& options) {
  Shapes shapes;
  std::vector<std::string> all;
  for (const AvailableTensor& t : available) {
    if (t.name.ends_with("num_batches_tracked")) continue;
    shapes.emplace(t.name, t.shape);
    all.push_back(t.name);
  }
  const std::optional<Place> place = find_place(shapes);
  check(place.has_value(),
        "has no network with torchvision's names: expected a conv1.weight or features.0.weight among its "
        "{}{}{}",
        counted(std::ssize(all), "tensor"), all.empty() ? "" : ", which are ",
        all.empty() ? "" : examples(all));
  Names names;
  for (const auto& [name, shape] : shapes)
    if (name.starts_with(place->prefix))
      names.emplace(our_name(name.substr(place->prefix.size()), place->numbered), name);

  ImportedNetwork imported;
  const Description description{names, shapes};
  const std::string head = head_of(description);
  NetworkOptions& o = imported.options;
  o = options_of(description, head, options);
  if (!place->prefix.empty()) imported.notes.push_back(formatted("names     behind \"{}\"", place->prefix));
  imported.notes.push_back(formatted("network   {}, {} channels", o.name, o.channels));
  imported.notes.push_back(describe_head(description, head, o));
  imported.network = make_network(o);
  load(imported, read_state(names, head, o.head == HeadKind::linear, read));
  if (const int64_t elsewhere = std::ssize(all) - std::ssize(names); elsewhere > 0)
    imported.notes.push_back(formatted("left out  {} elsewhere in the file", counted(elsewhere, "tensor")));
  return imported;
}

}  // namespace la
