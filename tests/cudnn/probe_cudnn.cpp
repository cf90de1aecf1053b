// Asks cuDNN's heuristics, for GPUs that are not there, how they would compute every convolution of the
// networks: the descriptions are those that the backend makes.
//
//   probe_cudnn [-v] GPU.json ...     -v: a line for each convolution
//
// GPU.json is cuDNN's description of a GPU (CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION). Ends with status 1 if
// a convolution has no engine in the types that are wanted first. Without cuDNN it says so, and ends with 0.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <tuple>

#include "autograd/functions.h"
#include "autograd/trace.h"
#include "layers/networks.h"
#include "tensor/cuda/convolution.h"
#include "tensor/cuda/cudnn_description.h"
#include "tensor/cuda/library.h"
#include "tensor/format.h"
#include "tensor/ops.h"

using namespace la;
using namespace la::cuda::cudnn;

namespace {

constexpr int64_t batch = 128;

/// A convolution of a network.
struct Layer {
  Shape x, weight, y;
  ConvGeometry geometry;

  auto key() const {
    const auto extents = [](const Shape& s) { return std::array{s[0], s[1], s[2], s[3]}; };
    return std::tuple(extents(x), extents(weight), geometry.stride, geometry.padding, geometry.dilation);
  }
  bool operator<(const Layer& other) const { return key() < other.key(); }
};

Shape of_batch(const Shape& shape) { return {batch, shape[1], shape[2], shape[3]}; }

/// Those of a network that sees pictures of that size, by running it once on one picture.
std::set<Layer> layers_of(const std::string& name, int64_t size, int64_t channels) {
  const auto network = make_network({.name = name, .channels = channels, .image_size = size});
  network->initialize(1);
  network->set_training(false);
  const NoGrad no_grad;
  Trace trace;
  (*network)(Variable(ops::random_normal({1, size, size, channels}, {.seed = 1})));
  std::set<Layer> layers;
  for (const TracedCall& call : trace.calls)
    if (const auto* geometry = std::get_if<ConvGeometry>(&call.options))
      layers.insert({of_batch(call.inputs[0].shape()), call.inputs[1].shape(), of_batch(call.output.shape()),
                     *geometry});
  return layers;
}

/// What the backend asks cuDNN for in its place: the same, the folded one, or nothing for what is
/// a matrix product.
std::optional<ConvolutionShape> asked_for(Kind kind, DType dtype, const Layer& layer) {
  if (kind == Kind::backward_weight && cuda::is_matrix_product(layer.weight, layer.geometry))
    return std::nullopt;
  const auto folding =
      kind == Kind::backward_data ? std::nullopt : cuda::folding_of(dtype, layer.weight, layer.geometry);
  if (!folding) return ConvolutionShape{kind, {layer.x, layer.weight, layer.y}, dtype, layer.geometry};
  const cuda::Folding& f = *folding;
  return ConvolutionShape{kind,
                          {Shape{batch, layer.y[1] + f.taps - 1, layer.y[2] + f.taps - 1, f.folded},
                           Shape{layer.weight[0], f.taps, f.taps, f.folded}, layer.y},
                          dtype,
                          {}};
}

const char* name_of(Kind kind) {
  return kind == Kind::forward         ? "forward"
         : kind == Kind::backward_data ? "data gradient"
                                       : "weight gradient";
}

bool has(const Proposal& proposal, cudnnBackendNumericalNote_t note) {
  return std::find(proposal.notes.begin(), proposal.notes.end(), note) != proposal.notes.end();
}

/// The engines that the backend would try, in its order, for one description.
std::vector<Proposal> allowed(const std::vector<Proposal>& proposals, DType dtype) {
  std::vector<Proposal> result;
  for (const Demands& demands : demands_of(dtype, false)) {
    std::copy_if(proposals.begin(), proposals.end(), std::back_inserter(result),
                 [&](const Proposal& p) { return demands.are_met_by(p.notes); });
    if (!result.empty()) break;
  }
  return result;
}

struct Tally {
  int asked = 0, without_engine = 0, nondeterministic = 0, without_tensor_cores = 0;
};

void ask(const Descriptor& device, const ConvolutionShape& c, bool show, Tally& tally) {
  const Types types = possible_types(c.kind, c.dtype).front();
  const std::vector<Proposal> proposals = proposals_for(device, describe(c, types));
  const std::vector<Proposal> engines = allowed(proposals, c.dtype);
  const std::string what =
      formatted("{} {} -> {}: {} x {}, stride {}, padding {}", name_of(c.kind), types.operands, types.result,
                c.shapes[x_role], c.shapes[weight_role], c.geometry.stride, c.geometry.padding);
  ++tally.asked;
  if (engines.empty()) {
    ++tally.without_engine;
    print("no engine for {} ({} were proposed)\n", what, proposals.size());
    return;
  }
  const Proposal& first = engines.front();
  const bool tensor_cores = has(first, CUDNN_NUMERICAL_NOTE_TENSOR_CORE);
  const bool changes = has(first, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC);
  tally.nondeterministic += changes;
  tally.without_tensor_cores += c.dtype == DType::bf16 && !tensor_cores;
  if (show)
    print("{}: {} of {} engines, first {}{}{}, workspace {} bytes\n", what, engines.size(), proposals.size(),
          first.engine, tensor_cores ? ", tensor cores" : "", changes ? ", nondeterministic" : "",
          first.workspace_bytes);
}

Descriptor read_device(const std::string& path) {
  std::ifstream file(path);
  check(file.is_open(), "{}: cannot be read", path);
  try {
    return described_device(std::string(std::istreambuf_iterator<char>(file), {}));
  } catch (const Error& error) {
    fail("{}: is no description of a GPU: {}", path, error.what());
  }
}

std::set<Layer> all_layers() {
  std::set<Layer> layers;
  for (const std::string& name : network_names()) {
    const bool small = usual_image_size(name) < 224;
    layers.merge(layers_of(name, small ? 28 : 224, small ? 1 : 3));
    if (name == "resnet18" || name == "resnet50") layers.merge(layers_of(name, 32, 3));
  }
  return layers;
}

}  // namespace

int main(int argc, char** argv) try {
  const bool show = argc > 1 && std::string(argv[1]) == "-v";
  const auto paths = std::span(argv, static_cast<size_t>(argc)).subspan(show ? 2 : 1);
  if (paths.empty()) {
    print(stderr, "usage: probe_cudnn [-v] GPU.json ...\n");
    return 2;
  }
  try {
    cuda::cudnn_library();
  } catch (const Error& error) {
    print("cuDNN's heuristics are not asked: {}\n", error.what());
    return 0;
  }
  const std::set<Layer> layers = all_layers();
  int failures = 0;
  for (const char* path : paths) {
    const Descriptor device = read_device(path);
    for (const DType dtype : {DType::bf16, DType::f32}) {
      Tally tally;
      for (const Layer& layer : layers)
        for (const Kind kind : {Kind::forward, Kind::backward_data, Kind::backward_weight})
          if (const auto c = asked_for(kind, dtype, layer)) ask(device, *c, show, tally);
      print(
          "cuDNN on {}, {}: {} convolutions of {} layers, {} without an engine, {} only with results "
          "that change from run to run, {} in bf16 without tensor cores\n",
          std::filesystem::path(path).stem().string(), dtype, tally.asked, layers.size(),
          tally.without_engine, tally.nondeterministic, tally.without_tensor_cores);
      failures += tally.without_engine;
    }
  }
  return failures == 0 ? 0 : 1;
} catch (const std::exception& error) {
  print(stderr, "probe_cudnn: {}\n", error.what());
  return 1;
}
