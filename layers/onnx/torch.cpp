#include "layers/onnx/torch.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "layers/state_dict.h"
#include "tensor/format.h"

namespace la {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* loader = R"python("""A network of la_train in PyTorch (with safetensors, numpy and PIL):

    network = Network("FOLDER OF THIS FILE")
    embedding = network(network.view(PIL.Image.open("picture.jpg"))[None])

It is a torch.nn.Module whose parameters have torchvision's names, and so have its layers, for register_forward_hook;
"embedding" is one. Batch norm uses its running statistics throughout.
"""
import json
import numpy
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from safetensors.torch import load_file

# Pictures and activations are [N, C, H, W].
FUNCTIONS = {
    "conv2d": lambda x, w, **options: F.conv2d(x, w, **options),
    "batch_norm_inference": lambda x, weight, bias, mean, variance, residual, epsilon, relu: (
        (F.relu if relu else torch.nn.Identity())(
            F.batch_norm(x, mean, variance, weight, bias, eps=epsilon) + (0 if residual is None else residual))),
    "add_bias": lambda x, bias: x + bias.view(1, -1, *[1] * (x.dim() - 2)),
    "linear": F.linear,
    "relu": F.relu,
    "sigmoid": torch.sigmoid,
    "add": torch.add,
    "multiply": torch.mul,
    "scale": lambda x, factor: x * factor,
    "scale_channels": lambda x, factors: x * factors[:, :, None, None],
    "reshape": lambda x: x.flatten(1),
    "max_pool2d": F.max_pool2d,
    "avg_pool2d": lambda x, **options: F.avg_pool2d(x, count_include_pad=False, **options),
    "global_avg_pool": lambda x: x.mean((2, 3)),
    "l2_normalize": lambda x: F.normalize(x, eps=1e-12),
}


class Network(torch.nn.Module):
    def __init__(self, folder):
        super().__init__()
        with open(f"{folder}/network.json") as file:
            self.network = json.load(file)
        for name, values in load_file(f"{folder}/weights.safetensors").items():
            *path, leaf = name.split(".")
            if leaf.startswith("running_"):
                self.layer(path).register_buffer(leaf, values)
            else:
                self.layer(path).register_parameter(leaf, torch.nn.Parameter(values))
        self.layers_of_value = {}
        for name, value in self.network["layers"]:
            self.layers_of_value.setdefault(value, []).append(self.layer(name.split(".")))

    def layer(self, path):
        """Gives on what is computed for it, so that hooks see that; a new one where there is none."""
        module = self
        for part in path:
            if part not in module._modules:
                module.add_module(part, torch.nn.Identity())
            module = module._modules[part]
        return module

    def forward(self, pictures):
        """Pictures [N, C, S, S] with values in [0, 1] -> embeddings [N, D] on the unit sphere."""
        tensors = dict(self.named_parameters()) | dict(self.named_buffers())
        mean, stddev = (pictures.new_tensor(self.network[key]).view(-1, 1, 1) for key in ("mean", "stddev"))
        values = [(pictures - mean) / stddev]
        for function, inputs, options in self.network["calls"]:
            inputs = [values[i] if isinstance(i, int) else tensors.get(i) for i in inputs]
            value = FUNCTIONS[function](*inputs, **options)
            for layer in self.layers_of_value.get(len(values), []):
                value = layer(value)
            values.append(value)
        return values[-1]

    def view(self, picture):
        """The center of a PIL picture, upright, with white or the like behind what is transparent: [C, S, S] in [0, 1]."""
        size = self.network["size"]
        picture = ImageOps.exif_transpose(picture).convert("RGBA")
        background = Image.new("RGBA", picture.size, self.network["background_color"])
        picture = Image.alpha_composite(background, picture).convert("L" if self.network["channels"] == 1 else "RGB")
        width, height = picture.size
        side = min(width, height) * (1 if picture.size == (size, size) else self.network["central"])
        box = ((width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2)
        planes = [plane.convert("F").resize((size, size), Image.BILINEAR, box=box) for plane in picture.split()]
        return torch.from_numpy(numpy.stack([numpy.asarray(plane) for plane in planes])) / 255
)python";

Json options_of(const TracedCall& call) {
  if (const auto* g = std::get_if<ConvGeometry>(&call.options))
    return {{"stride", g->stride}, {"padding", g->padding}, {"dilation", g->dilation}};
  if (const auto* g = std::get_if<PoolGeometry>(&call.options))
    return {{"kernel_size", g->kernel},
            {"stride", g->stride},
            {"padding", g->padding},
            {"ceil_mode", g->ceil_mode}};
  if (const auto* o = std::get_if<BatchNormOptions>(&call.options))
    return {{"epsilon", o->epsilon}, {"relu", o->relu}};
  if (const auto* factor = std::get_if<float>(&call.options)) return {{"factor", *factor}};
  return Json::object();
}

/// All layers by the names by which they are asked for: a stage's is that of its output.
NamedLayers layers_of(Module& network) {
  const NamedLayers stages = network.stages();
  NamedLayers layers = network.descendants();
  std::erase_if(layers, [&](const auto& layer) {
    return std::any_of(stages.begin(), stages.end(), [&](const auto& s) { return s.first == layer.first; });
  });
  std::reverse(layers.begin(), layers.end());  // what lies within a layer has its output before it
  layers.insert(layers.end(), stages.begin(), stages.end());
  return layers;
}

}  // namespace

TorchModel to_torch(Module& network, const InputFormat& input) {
  TorchModel result{.weights = {}, .network = {}, .loader = loader};
  result.weights = state_dict(network);

  std::map<std::string, Json> names;  // of parameters; the numbers of values
  for (const auto& p : network.parameters()) names[identity_of(p.variable->value())] = p.name;
  for (const auto& b : network.buffers()) names[identity_of(*b.tensor)] = b.name;

  const NamedLayers layers = layers_of(network);
  const TracedNetwork traced = trace(network, input, layers);
  names[identity_of(traced.images)] = 0;
  Json calls = Json::array();
  for (const TracedCall& call : traced.calls) {
    check(result.loader.find(formatted("\"{}\":", call.function)) != std::string::npos,
          "PyTorch: there is no form for the function {}", call.function);
    Json inputs = Json::array();
    for (const Tensor& x : call.inputs) {
      if (!x.defined()) {
        inputs.push_back(nullptr);
        continue;
      }
      const auto found = names.find(identity_of(x));
      check(found != names.end(), "PyTorch: the function {} takes a constant {}, which has no name",
            call.function, x.shape());
      inputs.push_back(found->second);
    }
    calls.push_back({call.function, inputs, options_of(call)});
    names[identity_of(call.output)] = calls.size();
  }
  Json values = Json::array();  // of layers: their names, and the numbers of the values that they give
  for (size_t i = 0; i < layers.size(); ++i) {
    // One that is computed together with others, as a batch norm with ReLU, has none of its own.
    if (!traced.layers[i].defined()) continue;
    const auto found = names.find(identity_of(traced.layers[i]));
    if (found != names.end()) values.push_back({layers[i].first, found->second});
  }
  values.push_back({"embedding", calls.size()});
  const Json description{{"size", input.size},
                         {"channels", input.channels},
                         {"central", input.central_share},
                         {"mean", input.mean},
                         {"stddev", input.stddev},
                         {"background_color", input.background_color},
                         {"calls", calls},
                         {"layers", values}};
  result.network = description.dump() + "\n";
  return result;
}

}  // namespace la
