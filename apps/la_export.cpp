// la_export: writes a trained network in forms that other programs run. `la_export --help` lists the options.

#include <filesystem>

#include "apps/model_program.h"
#include "apps/options/command_line.h"
#include "autograd/functions.h"
#include "evaluation/features.h"
#include "layers/onnx/onnx.h"
#include "layers/onnx/torch.h"
#include "tensor/format.h"
#include "tensor/io/files.h"

using namespace la;

namespace {

struct ExportOptions {
  ModelOptions model;
  std::string onnx, torch;
  std::vector<std::string> layers;
  bool force = false;

  std::string torch_file(const char* name) const { return torch + "/" + name; }
};

constexpr const char *weights_file = "weights.safetensors", *network_file = "network.json",
                     *loader_file = "la_network.py";

/// An Error for what could not be written in the end.
void check_outputs(const ExportOptions& options) {
  if (!options.onnx.empty()) check_new_output(options.onnx, options.force);
  if (options.torch.empty()) return;
  make_folders(options.torch);
  for (const char* name : {weights_file, network_file, loader_file})
    check_new_output(options.torch_file(name), options.force);
}

InputFormat input_of(const Model& model) {
  return {.channels = model.channels,
          .size = model.view.size,
          .mean = model.view.mean,
          .stddev = model.view.stddev,
          .central_share = central_share,
          .background_color = model.background_color};
}

void write_onnx(Model& model, const ExportOptions& options) {
  const std::string& path = options.onnx;
  NamedLayers layers;
  for (const std::string& name : options.layers) layers.emplace_back(name, &find_module(*model.module, name));
  const std::string file = to_onnx(*model.module, input_of(model), layers);
  write_text_file(path, file);
  print("{}: {} with {} x {} pixels, embedding of {} dimensions, {:.1f} MiB\n", path, model.network,
        model.view.size, model.view.size, model.dim, static_cast<double>(file.size()) / (1 << 20));
}

void write_torch(Model& model, const ExportOptions& options) {
  const TorchModel torch = to_torch(*model.module, input_of(model));
  write_safetensors(options.torch_file(weights_file), torch.weights);
  write_text_file(options.torch_file(network_file), torch.network);
  write_text_file(options.torch_file(loader_file), torch.loader);
  print("{}: {}, {} and {}, which makes of them a torch.nn.Module\n", options.torch, weights_file,
        network_file, loader_file);
}

int export_model(const ExportOptions& options) {
  check_outputs(options);
  Model model = load_model(options.model.checkpoint, Device::cpu());
  const Variable black(Tensor::zeros({1, model.view.size, model.view.size, model.channels}));
  check(is_finite((*model.module)(cast(black, model.dtype)).value()),
        "{}: the network gives embeddings that are not finite", model.checkpoint);
  if (!options.onnx.empty()) write_onnx(model, options);
  if (!options.torch.empty()) write_torch(model, options);
  return 0;
}

constexpr ProgramInfo program = {"la_export", "Writes a trained network for other programs."};

OptionTable options_of(ExportOptions& options) {
  OptionTable t;
  add_model_options(t, options.model);
  t.group("Output");
  t.add("onnx", options.onnx,
        "FILE.onnx: a model of images f32 [N, C, S, S] with pixels in [0, 1] -> embedding f32 [N, D] on the "
        "unit sphere");
  t.add("layers", options.layers,
        "--onnx: these layers' activations [N, C, H, W] as outputs too: stages as conv1 or layer3, or any "
        "module "
        "as layer2.0.conv1; with commas between");
  t.add("torch", options.torch,
        "FOLDER: the weights under torchvision's names, and a short program that makes of them the same for "
        "PyTorch");
  t.add("force", options.force, "overwrite files that exist");
  return t;
}

}  // namespace

int main(int argc, char** argv) {
  let_waiting_threads_sleep(argv);
  return run_program(program.name, [&] {
    ExportOptions options;
    OptionTable table = options_of(options);
    if (!parse_command_line(program, table, argc, argv)) return 0;
    if (options.onnx.empty() && options.torch.empty())
      throw UsageError("nothing to do: --onnx FILE and --torch FOLDER say what to write");
    if (!options.layers.empty() && options.onnx.empty()) throw UsageError("--layers needs --onnx FILE");
    if (!options.onnx.empty()) check_ending("--onnx", options.onnx, ".onnx");
    return export_model(options);
  });
}
