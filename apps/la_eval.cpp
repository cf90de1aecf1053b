// la_eval: how good the embeddings and the features of a trained network are: nearest neighbors, and linear
// readout from every stage. `la_eval --help` lists the options.

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "apps/eval_results.h"
#include "apps/model_program.h"
#include "apps/options/command_line.h"
#include "apps/processes.h"
#include "apps/run/interrupt.h"
#include "apps/run/progress.h"
#include "data/subset.h"
#include "evaluation/knn.h"
#include "evaluation/readout.h"
#include "la/model.h"
#include "tensor/clock.h"
#include "tensor/format.h"

using namespace la;

namespace {

struct EvalOptions {
  ModelOptions model;
  std::string out;
  bool knn_only = false, readout_only = false, bank = false, density = false, force = false;
  int64_t local_neighbors = 30, background_neighbors = 0;
  float temperature = 0.07f;
  ReadoutOptions readout;
  std::vector<double> low_shot;  // percent of the labels
};

/// What all steps of an evaluation need.
struct Evaluation {
  Model model;
  DataSource data;
  Shards shards;  // one for each process
  Collectives& ranks() const { return shards.ranks(); }
};

void evaluate_density(const Evaluation& evaluation, const LabeledVectors& train, const LabeledVectors* test,
                      const EvalOptions& options, Progress& progress, EvalResults& results) {
  Collectives& ranks = evaluation.ranks();
  const VectorSearch vectors(train.vectors, ranks);
  const int64_t n = vectors.size();
  const int64_t background = options.background_neighbors > 0 ? options.background_neighbors
                                                              : std::min<int64_t>(usual_background(n), n - 1);
  const Densities found =
      densities(vectors, options.local_neighbors, background, interruptible(progress, ranks));
  std::vector<CategoryDensity> categories;
  if (test != nullptr) {
    const Guesses guesses = knn_guesses(train, *test, {.temperature = options.temperature}, ranks);
    categories = density_by_category(found, ranks.all_gather("labels", train.labels), guesses);
  }
  results.add_density(options.local_neighbors, background, found, categories);
}

void evaluate_knn(const Evaluation& evaluation, const EvalOptions& options, EvalResults& results) {
  const Model& model = evaluation.model;
  const DataSource& data = evaluation.data;
  const Shards& shards = evaluation.shards;
  Collectives& ranks = evaluation.ranks();
  Progress progress(stderr);
  const auto embedded = [&](const Dataset& pictures) {
    LabeledVectors vectors = embed_labeled(*model.module, pictures, model.view, model.dtype, model.device(),
                                           shards, interruptible(progress, ranks));
    print_warnings(pictures);
    return vectors;
  };
  const auto labeled = labeled_pictures(*data.train);
  const LabeledVectors train = embedded(data.test ? *labeled : *data.train),
                       test = data.test ? embedded(*labeled_pictures(*data.test)) : train;
  const auto accuracy = data.test ? knn_accuracy : leave_one_out_accuracy;
  const auto vote = [&](const char* vectors, const LabeledVectors& voters) {
    for (const int64_t k : {1, 200})
      results.add_knn(vectors, k, options.temperature,
                      accuracy(voters, test, {.neighbors = k, .temperature = options.temperature}, ranks));
  };
  vote("train embeddings recomputed", train);
  if (options.density)
    evaluate_density(evaluation, train, data.test ? &test : nullptr, options, progress, results);
  if (!options.bank) return;
  const ShardedRows bank = load_bank(model.checkpoint, shards);
  check(bank.n == data.train->size(),
        "{}: its memory bank is of {} pictures; `data`, of {}, is not what it was trained on",
        model.checkpoint, bank.n, data.train->size());
  vote("vectors of the memory bank", {bank.own.to(model.device()), own_labels(*data.train, shards)});
}

/// False if the user interrupted it.
bool evaluate_readout(Evaluation& evaluation, const Dataset& train, const std::string& labels,
                      const ReadoutOptions& options, EvalResults& results) {
  Collectives& ranks = evaluation.ranks();
  const bool shows = ranks.rank() == 0;
  Progress progress(stderr);
  const double start = now();
  int64_t done = 0;
  const ReadoutObserver observer{
      .wants_loss = [&] { return shows && progress.due(); },
      .step =
          [&](const ReadoutProgress& p) {
            print_warnings(train);
            ++done;
            const auto left = static_cast<double>(p.steps - p.done - 1);
            const double seconds = now() - start;
            if (std::isfinite(p.loss))
              progress.update(
                  formatted("readout ({}) epoch {} step {}/{} loss {:.4f} lr {:.3g} {:.0f} images/s, {} left",
                            labels, p.epoch + 1, p.done + 1, p.steps, p.loss, p.learning_rate,
                            static_cast<double>(done * options.batch) / seconds,
                            duration_text(left * seconds / static_cast<double>(done))));
            return interrupted_anywhere(ranks) == 0;
          }};
  const Dataset& test = *evaluation.data.test;
  const std::vector<StageReadout> stages =
      linear_readout(evaluation.model, train, test, options, observer, evaluation.shards);
  print_warnings(test);
  if (stages.empty()) return false;
  results.add_readout(labels, options, stages);
  return true;
}

int evaluate(EvalOptions options, const OptionTable& table, Collectives& processes) {
  Model model = open_model(options.model, table, processes);
  DataSource data = open_data(options.model.data);
  check(data.train->has_labels() && (data.test == nullptr || data.test->has_labels()),
        "{}: evaluation needs labels for training and for test pictures", options.model.data.path);
  check(data.test != nullptr || options.knn_only,
        "{}: the linear readout needs test pictures: --val FOLDER names them, --val-split SHARE sets some "
        "apart; "
        "--knn-only tests each picture against the others",
        options.model.data.path);
  check_channels(model, *data.train);
  check_stages(*model.module, options.readout.stages);
  begin_together(processes, table, model, data);
  std::unique_ptr<Collectives> of_gpu;
  Collectives& ranks = collectives_for(model.device(), Carrier::fastest, processes, of_gpu);
  ranks.set_timeout(options.model.collective_timeout);
  EvalResults results(model, data, options.model.data.path, options.out, options.force, ranks);
  Evaluation evaluation{std::move(model), std::move(data), Shards(ranks, ranks.size())};
  if (!options.readout_only) evaluate_knn(evaluation, options, results);

  std::vector<double> shares{100};
  if (options.knn_only) shares.clear();
  if (!options.low_shot.empty()) shares = options.low_shot;
  const Dataset& all_train = *evaluation.data.train;
  for (const double share : shares) {
    const bool all = share == 100;
    const std::string labels = all ? "all labels" : formatted("{:g} % of the labels", share);
    const auto train =
        all ? labeled_pictures(all_train) : share_of_labels(all_train, share / 100, options.readout.seed);
    ReadoutOptions readout = options.readout;
    readout.state =
        std::filesystem::path(results.path()).replace_extension(formatted("readout-{:g}.safetensors", share));
    if (!evaluate_readout(evaluation, *train, labels, readout, results)) {
      if (ranks.rank() == 0)
        print(stderr, "interrupted; the same command goes on from the last epoch of the readout\n");
      return 128 + interrupted_anywhere(ranks);
    }
  }
  if (ranks.rank() == 0) print("\n{}: the same for programs\n", printable(results.path()));
  return 0;
}

constexpr ProgramInfo program = {
    "la_eval", "Measures a trained network: nearest neighbors, and linear readout from each of its stages."};

OptionTable options_of(EvalOptions& options) {
  OptionTable t;
  add_model_options(t, options.model);
  t.group("Pictures");
  DataOptions& data = options.model.data;
  t.add("data", data.path, "labeled pictures, for training and for testing").required = true;
  add_test_picture_options(t, data);
  add_model_picture_options(t, data);
  t.group("Results");
  t.add("out", options.out,
        "JSON file of the results, to which those of other checkpoints are added; empty: eval-<data>.json "
        "beside the checkpoint");
  t.add("force", options.force, "overwrite a file --out that holds something else");
  t.group("Nearest neighbors");
  t.add("knn-only", options.knn_only, "leave out the linear readout");
  t.add("bank", options.bank,
        "also by the vectors of the memory bank, where --data are the pictures of the run");
  t.add("temperature", options.temperature, above(0), "of the neighbors' weights");
  t.add("density", options.density,
        "also how densely the training pictures lie: histograms of local and background density, and "
        "accuracy by "
        "category");
  t.add("local-neighbors", options.local_neighbors, at_least(1),
        "--density: nearest pictures of the local density");
  t.add("background-neighbors", options.background_neighbors, at_least(0),
        "--density: of the background density; 0: as many as an LA training compares with");
  t.group("Linear readout");
  ReadoutOptions& readout = options.readout;
  t.add("readout-only", options.readout_only, "leave out the nearest neighbors");
  t.add("stages", readout.stages,
        "read out from these only, such as conv5,layer4, pixels or embedding; empty: from all");
  t.add("ten-crop", readout.ten_crop, "also the mean over ten views of each test picture");
  t.add("low-shot", options.low_shot, between(0, 100),
        "readout with so many percent of the labels, such as 1,10; empty: with all");
  t.add("epochs", readout.epochs, at_least(1), "of the readout");
  t.add("steps", readout.steps, at_least(0), "where it ends, in place of --epochs; 0: after the epochs");
  t.add("learning-rate-drops", readout.drops, at_least(1),
        "epochs (or steps, as '300270 steps') after which the rate is divided by 10; empty: 3/7 and 6/7 of "
        "all");
  t.add("fixed-crop", readout.fixed_crop,
        "train on squares of 7/8 of the shorter side, anywhere or within the central square; no: on crops of "
        "random size and shape");
  t.add("jitter", readout.jitter, share,
        "of the training views: strength of the change of brightness, contrast, saturation and hue");
  t.add("grayscale", readout.grayscale, share, "of the training views: probability of losing the colors");
  t.add("batch", readout.batch, at_least(1), "pictures per step");
  t.add("learning-rate", readout.learning_rate, above(0), "of the readout");
  t.add("weight-decay", readout.weight_decay, at_least(0), "of the readout");
  t.add("seed", readout.seed, "of the readout's views, first weights and chosen labels");
  t.group("Machine");
  add_machine_options(t, options.model.device, options.model.threads);
  add_loader_threads(t, readout.loader_threads);
  add_process_options(t, options.model);
  return t;
}

}  // namespace

int main(int argc, char** argv) {
  let_waiting_threads_sleep(argv);
  return run_processes(program.name, [&](Collectives& ranks) {
    EvalOptions options;
    OptionTable table = options_of(options);
    if (!parse_command_line(program, table, argc, argv, ranks.rank() == 0)) return 0;
    if (options.knn_only && options.readout_only)
      throw UsageError("--knn-only and --readout-only leave nothing to measure");
    catch_interrupts();
    return evaluate(options, table, ranks);
  });
}
