// la_eval: how good the embeddings and the features of a trained network are: nearest neighbors, and linear
// readout from every stage. `la_eval --help` lists the options.

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "apps/eval_results.h"
#include "apps/model_program.h"
#include "apps/run/interrupt.h"
#include "apps/run/progress.h"
#include "data/subset.h"
#include "evaluation/knn.h"
#include "evaluation/readout.h"
#include "tensor/clock.h"
#include "tensor/format.h"

using namespace la;

namespace {

struct EvalOptions {
  ModelOptions model;
  std::string out;
  bool knn_only = false, readout_only = false, force = false;
  float temperature = 0.07f;
  ReadoutOptions readout;
  std::vector<double> low_shot;  // percent of the labels
};

void evaluate_knn(Model& model, const DataSource& data, const EvalOptions& options, EvalResults& results) {
  const auto train = labeled_pictures(*data.train);
  const Device device = model.device();
  Progress progress(stderr);
  const auto embedded = [&](const Dataset& pictures) {
    const Tensor vectors =
        embed(*model.module, pictures, model.view, model.dtype, device, progress.callback());
    return LabeledVectors{vectors, labels_of(pictures)};
  };
  const LabeledVectors train_vectors = embedded(*train);
  print_warnings(*train);
  const auto test = data.test ? labeled_pictures(*data.test) : nullptr;
  const LabeledVectors test_vectors = test ? embedded(*test) : train_vectors;
  if (test) print_warnings(*test);
  const auto accuracy = test ? knn_accuracy : leave_one_out_accuracy;
  for (const int64_t k : {1, 200})
    results.add_knn(
        k, options.temperature,
        accuracy(train_vectors, test_vectors, {.neighbors = k, .temperature = options.temperature}));
}

/// False if the user interrupted it.
bool evaluate_readout(Model& model, const Dataset& train, const Dataset& test, const std::string& labels,
                      const ReadoutOptions& options, EvalResults& results) {
  Progress progress(stderr);
  const double start = now();
  int64_t done = 0;
  const ReadoutObserver observer{
      .wants_loss = [&] { return progress.due(); },
      .step =
          [&](const ReadoutProgress& p) {
            print_warnings(train);
            ++done;
            const auto left = static_cast<double>(p.steps * (options.epochs - p.epoch) - p.step - 1);
            const double seconds = now() - start;
            if (std::isfinite(p.loss))
              progress.update(formatted(
                  "readout ({}) epoch {}/{} step {}/{} loss {:.4f} lr {:.3g} {:.0f} images/s, {} left",
                  labels, p.epoch + 1, options.epochs, p.step + 1, p.steps, p.loss, p.learning_rate,
                  static_cast<double>(done * options.batch) / seconds,
                  duration_text(left * seconds / static_cast<double>(done))));
            return interrupted() == 0;
          }};
  const std::vector<StageReadout> stages = linear_readout(model, train, test, options, observer);
  print_warnings(test);
  if (stages.empty()) return false;
  results.add_readout(labels, options, stages);
  return true;
}

int evaluate(EvalOptions options) {
  Model model = open_model(options.model);
  const DataSource data = open_data(options.model.data);
  check(data.train->has_labels() && (data.test == nullptr || data.test->has_labels()),
        "{}: evaluation needs labels for training and for test pictures", options.model.data.path);
  check(data.test != nullptr || options.knn_only,
        "{}: the linear readout needs test pictures: --val FOLDER names them, --val-split SHARE sets some "
        "apart; "
        "--knn-only tests each picture against the others",
        options.model.data.path);
  check_channels(model, *data.train);
  check_stages(*model.module, options.readout.stages);
  print_notes(data);
  EvalResults results(model, data, options.model.data.path, options.out, options.force);
  if (!options.readout_only) evaluate_knn(model, data, options, results);

  std::vector<double> shares{100};
  if (options.knn_only) shares.clear();
  if (!options.low_shot.empty()) shares = options.low_shot;
  for (const double share : shares) {
    const bool all = share == 100;
    const std::string labels = all ? "all labels" : formatted("{:g} % of the labels", share);
    const auto train =
        all ? labeled_pictures(*data.train) : share_of_labels(*data.train, share / 100, options.readout.seed);
    ReadoutOptions readout = options.readout;
    readout.state =
        std::filesystem::path(results.path()).replace_extension(formatted("readout-{:g}.safetensors", share));
    if (!evaluate_readout(model, *train, *data.test, labels, readout, results)) {
      print(stderr, "interrupted; the same command goes on from the last epoch of the readout\n");
      return 128 + interrupted();
    }
  }
  print("\n{}: the same for programs\n", printable(results.path()));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  let_waiting_threads_sleep(argv);
  return run_program("la_eval", [&] {
    EvalOptions options;
    ReadoutOptions& readout = options.readout;
    CLI::App app("Measures a trained network: nearest neighbors, and linear readout from each of its stages.",
                 "la_eval");
    app.add_option("checkpoint", options.model.checkpoint, "a run's folder, or a checkpoint in it")
        ->required();
    add_preset_option(app);
    app.option_defaults()->group("Pictures");
    app.add_option("--data", options.model.data.path, "labeled pictures, for training and for testing")
        ->required();
    app.add_option("--val", options.model.data.val, "folder of test pictures, where --data has none");
    app.add_option("--val-split", options.model.data.val_split,
                   "share of each class to be set apart for testing, where there are no test pictures")
        ->check(CLI::Range(0.0, 0.9));
    add_model_options(app, options.model);
    app.option_defaults()->group("Results");
    app.add_option(
        "--out", options.out,
        "JSON file of the results, to which those of other checkpoints are added; default: eval-<data>.json "
        "beside the checkpoint");
    app.add_flag("--force", options.force, "overwrite a file --out that holds something else");
    app.option_defaults()->group("Nearest neighbors");
    auto* knn = app.add_flag("--knn-only", options.knn_only, "leave out the linear readout");
    app.add_option("--tau", options.temperature, "temperature of the neighbors' weights")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    app.option_defaults()->group("Linear readout");
    app.add_flag("--readout-only", options.readout_only, "leave out the nearest neighbors")->excludes(knn);
    app.add_option("--stages", readout.stages,
                   "read out from these only, such as conv5,layer4, pixels or embedding; default: from all")
        ->delimiter(',')
        ->allow_extra_args(false);
    app.add_flag("--ten-crop", readout.ten_crop, "also the mean over ten views of each test picture");
    app.add_option("--low-shot", options.low_shot, "readout with so many percent of the labels, such as 1,10")
        ->delimiter(',')
        ->allow_extra_args(false)
        ->check(CLI::Range(0.0, 100.0));
    app.add_option("--epochs", readout.epochs, "of the readout")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    app.add_option("--drops", readout.drops,
                   "epochs after which the rate is divided by 10; default: 3/7 and 6/7 of them")
        ->delimiter(',')
        ->allow_extra_args(false)
        ->check(CLI::PositiveNumber);
    app.add_flag("--fixed-crop", readout.fixed_crop,
                 "train on squares of 7/8 of the shorter side, not on crops of random size and shape");
    app.add_option("--batch", readout.batch, "pictures per step")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    app.add_option("--learning-rate", readout.learning_rate, "of the readout")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    app.add_option("--weight-decay", readout.weight_decay, "of the readout")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    app.add_option("--loader-threads", readout.loader_threads, "threads that prepare batches ahead")
        ->check(CLI::Range(1, 1024))
        ->capture_default_str();
    app.add_option("--seed", readout.seed, "of the readout's views, first weights and chosen labels");
    if (!parse_arguments_with_preset(app, argc, argv)) return 0;
    catch_interrupts();
    return evaluate(options);
  });
}
