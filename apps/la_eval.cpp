// la_eval: how good the embeddings and the features of a trained network are: nearest neighbors, and linear
// readout from every stage. `la_eval --help` lists the options.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "apps/model_program.h"
#include "data/subset.h"
#include "la/evaluation.h"
#include "la/features.h"
#include "la/files.h"
#include "la/interrupt.h"
#include "la/progress.h"
#include "la/readout.h"
#include "tensor/clock.h"

using namespace la;
using Json = nlohmann::ordered_json;

namespace {

struct EvalOptions {
  ModelOptions model;
  std::string out;
  bool knn_only = false, readout_only = false;
  float temperature = 0.07f;
  ReadoutOptions readout;
  std::vector<double> low_shot;  // percent of the labels
};

double percent(double share) { return 100 * share; }

/// The number of few digits that the float was made from.
double shortest(float value) { return std::stod(fmt::format("{}", value)); }

std::string tested_on(const DataSource& data) {
  return data.test ? data.test->description() : "each against the others (leave-one-out)";
}

/// What has been measured so far, as a table on the terminal and in a file that other programs read.
class Results {
 public:
  Results(const Model& model, const DataSource& data, const std::string& path) : path_(path) {
    json_ = {{"checkpoint", model.checkpoint},
             {"network", model.network},
             {"data", data.name},
             {"train", data.train->description()},
             {"test", tested_on(data)},
             {"view_size", model.view.size},
             {"knn", Json::array()},
             {"readout", Json::array()}};
    fmt::print("checkpoint  {}\nnetwork     {}\ndata        {}: {}; tested on {}\n", model.checkpoint,
               model.network, data.name, data.train->description(), tested_on(data));
  }

  void add_knn(int64_t k, float temperature, double top1) {
    if (json_["knn"].empty())
      fmt::print(
          "\nnearest neighbors (train embeddings recomputed, center crop, weights exp(similarity / {}))\n"
          "  {:>4}  {:>7}\n",
          temperature, "k", "top-1");
    fmt::print("  {:>4}  {:>5.2f} %\n", k, percent(top1));
    json_["knn"].push_back({{"k", k}, {"temperature", shortest(temperature)}, {"top1", top1}});
    write();
  }

  void add_readout(const std::string& labels, const ReadoutOptions& options,
                   const std::vector<StageReadout>& stages) {
    fmt::print("\nlinear readout ({}, {} epochs, batch {}, learning rate {})\n  {:<10}{:>10}  {:>18}{}\n",
               labels, options.epochs, options.batch, options.learning_rate, "stage", "features",
               "center crop 1 / 5", options.ten_crop ? "    ten-crop 1 / 5" : "");
    for (const StageReadout& s : stages) {
      fmt::print("  {:<10}{:>10}  {:>7.2f} / {:>6.2f} %", s.stage, s.features.numel(),
                 percent(s.one_crop.top1), percent(s.one_crop.top5));
      Json line{{"labels", labels},
                {"stage", s.stage},
                {"features", s.features.numel()},
                {"epochs", options.epochs},
                {"batch", options.batch},
                {"learning_rate", shortest(options.learning_rate)},
                {"weight_decay", shortest(options.weight_decay)},
                {"top1", s.one_crop.top1},
                {"top5", s.one_crop.top5}};
      if (options.ten_crop) {
        fmt::print("  {:>7.2f} / {:>6.2f} %", percent(s.ten_crop.top1), percent(s.ten_crop.top5));
        line["ten_crop_top1"] = s.ten_crop.top1;
        line["ten_crop_top5"] = s.ten_crop.top5;
      }
      fmt::print("\n");
      json_["readout"].push_back(line);
    }
    write();
  }

  void write() const { write_text_file(path_, json_.dump(2) + "\n"); }

 private:
  std::string path_;
  Json json_;
};

void evaluate_knn(Model& model, const DataSource& data, const EvalOptions& options, Results& results) {
  const auto train = labeled_pictures(*data.train);
  const Device device = model.module->parameters().front().variable->value().device();
  Progress progress(stderr);
  const auto embedded = [&](const Dataset& pictures) {
    const Tensor vectors =
        embed(*model.module, pictures, model.view, model.dtype(), device, progress.watch());
    return LabeledVectors{vectors, labels_of(pictures)};
  };
  const LabeledVectors train_vectors = embedded(*train);
  print_complaints(*train);
  const auto test = data.test ? labeled_pictures(*data.test) : nullptr;
  const LabeledVectors test_vectors = test ? embedded(*test) : train_vectors;
  if (test) print_complaints(*test);
  const auto accuracy = test ? knn_accuracy : leave_one_out_accuracy;
  for (const int64_t k : {1, 200})
    results.add_knn(
        k, options.temperature,
        accuracy(train_vectors, test_vectors, {.neighbors = k, .temperature = options.temperature}));
}

/// False if the user interrupted it.
bool evaluate_readout(Model& model, const Dataset& train, const Dataset& test, const std::string& labels,
                      const ReadoutOptions& options, Results& results) {
  Progress progress(stderr);
  const double start = now();
  int64_t done = 0;
  const ReadoutObserver observer{
      .wants_loss = [&] { return progress.due(); },
      .step =
          [&](const ReadoutProgress& p) {
            print_complaints(train);
            ++done;
            const auto left = static_cast<double>(p.steps * (options.epochs - p.epoch) - p.step - 1);
            const double seconds = now() - start;
            if (std::isfinite(p.loss))
              progress.update(fmt::format(
                  "readout ({}) epoch {}/{} step {}/{} loss {:.4f} lr {:.3g} {:.0f} images/s, {} left",
                  labels, p.epoch + 1, options.epochs, p.step + 1, p.steps, p.loss, p.learning_rate,
                  static_cast<double>(done * options.batch) / seconds,
                  duration_text(left * seconds / static_cast<double>(done))));
            return interrupted() == 0;
          }};
  const std::vector<StageReadout> stages = linear_readout(model, train, test, options, observer);
  print_complaints(test);
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
  for (const std::string& stage : options.readout.stages) find_module(*model.module, stage);
  if (options.out.empty())
    options.out = std::filesystem::path(model.checkpoint).replace_extension("eval.json");
  check_output(options.out);
  print_notes(data);
  Results results(model, data, options.out);
  if (!options.readout_only) evaluate_knn(model, data, options, results);

  std::vector<double> shares{100};
  if (options.knn_only) shares.clear();
  if (!options.low_shot.empty()) shares = options.low_shot;
  for (const double share : shares) {
    const bool all = share == 100;
    const std::string labels = all ? "all labels" : fmt::format("{:g} % of the labels", share);
    const auto train =
        all ? labeled_pictures(*data.train) : share_of_labels(*data.train, share / 100, options.readout.seed);
    ReadoutOptions readout = options.readout;
    readout.state =
        std::filesystem::path(options.out).replace_extension(fmt::format("readout-{:g}.safetensors", share));
    if (!evaluate_readout(model, *train, *data.test, labels, readout, results)) {
      fmt::print(stderr, "interrupted; the same command goes on from the last epoch of the readout\n");
      return 128 + interrupted();
    }
  }
  fmt::print("\n{}: the same for programs\n", options.out);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("la_eval", [&] {
    EvalOptions options;
    ReadoutOptions& readout = options.readout;
    CLI::App app("Measures a trained network: nearest neighbors, and linear readout from each of its stages.",
                 "la_eval");
    app.add_option("checkpoint", options.model.checkpoint, "a run's folder, or a checkpoint in it")
        ->required();
    add_preset_option(app);
    app.add_option("--data", options.model.data.path, "labeled pictures, for training and for testing")
        ->required();
    app.add_option("--val", options.model.data.val, "folder of test pictures, where --data has none");
    app.add_option("--val-split", options.model.data.val_split,
                   "share of each class to be set apart for testing, where there are no test pictures")
        ->check(CLI::Range(0.0, 0.9));
    app.add_option("--out", options.out, "JSON file of the results; default: beside the checkpoint");
    auto* knn = app.add_flag("--knn-only", options.knn_only, "leave out the linear readout");
    app.add_flag("--readout-only", options.readout_only, "leave out the nearest neighbors")->excludes(knn);
    app.add_option("--tau", options.temperature, "temperature of the neighbors' weights")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    app.add_option("--stages", readout.stages,
                   "read out from these only, such as conv5,layer4; default: from all")
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
    app.add_option("--batch", readout.batch, "pictures a step")
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
    add_model_options(app, options.model);
    if (!parse_arguments_with_preset(app, argc, argv)) return 0;
    catch_interrupts();
    return evaluate(options);
  });
}
