// la_export: writes a trained network in a form that other programs run. `la_export --help` lists the
// options.
#include <fmt/format.h>

#include "apps/model_program.h"
#include "autograd/functions.h"
#include "la/files.h"
#include "la/onnx.h"

using namespace la;

int main(int argc, char** argv) {
  return run_program("la_export", [&] {
    std::string checkpoint, onnx;
    bool force = false;
    CLI::App app("Writes a trained network for other programs.", "la_export");
    app.add_option("checkpoint", checkpoint, "a run's folder, or a checkpoint in it")->required();
    app.add_option("--onnx", onnx,
                   "ONNX model: images f32 [N, C, S, S] with pixels in [0, 1] -> embedding f32 [N, D] on the "
                   "unit sphere")
        ->required();
    app.add_flag("--force", force, "overwrite a file that exists");
    if (!parse_arguments(app, argc, argv)) return 0;
    check_ending("--onnx", onnx, ".onnx");
    check_new_output(onnx, force);
    Model model = load_model(checkpoint, Device::cpu());
    const Variable black(Tensor::zeros({1, model.view.size, model.view.size, model.channels}));
    check(is_finite((*model.module)(cast(black, model.dtype())).value()),
          "{}: the network gives embeddings that are not finite", model.checkpoint);
    const std::string file = to_onnx(model);
    write_text_file(onnx, file);
    fmt::print("{}: {} with {} x {} pixels, embedding of {} dimensions, {:.1f} MiB\n", onnx, model.network,
               model.view.size, model.view.size, model.dim, static_cast<double>(file.size()) / (1 << 20));
    return 0;
  });
}
