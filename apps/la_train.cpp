// la_train: learns embeddings from pictures by Local Aggregation. `la_train --help` lists the options.

#include <filesystem>
#include <map>
#include <numeric>
#include <optional>
#include <sstream>

#include "apps/dry_run.h"
#include "apps/options/options.h"
#include "apps/report.h"
#include "apps/run/interrupt.h"
#include "apps/run/progress.h"
#include "apps/run/run_folder.h"
#include "data/subset.h"
#include "evaluation/knn.h"
#include "la/checkpoint.h"
#include "la/trainer.h"
#include "layers/state_dict.h"
#include "tensor/allocator.h"
#include "tensor/clock.h"
#include "tensor/format.h"
#include "tensor/io/seal.h"
#include "tensor/ops.h"
#include "tensor/text.h"
#include "tensor/version.h"

using namespace la;

namespace {

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);)
    if (!part.empty()) parts.push_back(part);
  return parts;
}

const char* phase_name(Phase phase) { return phase == Phase::ir ? "ir" : "la"; }

/// A run that is continued has the list of its picture files, so that numbers mean the same pictures.
DataOptions data_options(const Config& config) {
  return {.path = config.data,
          .format = config.format,
          .limit = config.limit,
          .val = config.val,
          .val_split = config.val_split,
          .max_bad = config.max_bad,
          .decode = {.max_pixels = config.max_pixels, .background = parse_color(config.background_color)},
          .listings = config.resume ? config.run : ""};
}

/// The device for values that fit the data; anything else is wrong usage, and found before the run has a
/// folder. Appends to `choices` what was chosen for it.
Device choose_device(Config& config, const Dataset& train, std::vector<std::string>& choices) try {
  validate(config, train.size());
  const Device device = find_device(config.device);
  for (const std::string& choice : choose_for_device(config, device)) choices.push_back(choice);
  return device;
} catch (const Error& error) {
  throw UsageError(error.what());
}

/// Gives the network the weights of the file --init; says what of it fits.
std::vector<std::string> load_weights(const Config& config, Module& network) {
  if (config.init.empty() || config.resume) return {};
  const SafetensorsFile file = read_safetensors(config.init);
  check_finite(config.init, file.tensors);
  StateDict state;
  for (const NamedTensor& t : file.tensors) {
    const bool of_training = t.name.starts_with("la."), counter = t.name.ends_with("num_batches_tracked");
    if (of_training || counter) continue;
    state.emplace(t.name, t.tensor.dtype() == DType::bf16 ? ops::cast(t.tensor, DType::f32) : t.tensor);
  }
  StateDifference difference;
  try {
    difference = load_matching_state(network, state, split(config.init_without, ','));
  } catch (const Error& error) {
    fail("{}: {}; --init-without leaves out tensors whose names begin so", config.init, error.what());
  }
  check(difference.unexpected.size() < state.size(), "{}: has no tensor of {}", config.init, config.network);
  std::vector<std::string> lines{formatted("weights    {}", config.init)};
  for (const std::string& name : difference.missing)
    lines.push_back("           not in the file, so as initialized: " + name);
  for (const std::string& name : difference.unexpected)
    lines.push_back("           in the file, but not in the network: " + name);
  return lines;
}

/// A run under way: the trainer and everything that reports on it.
class Run {
 public:
  Run(const Options& options, DataSource data)
      : config_(options.config),
        notes_(options.notes),
        data_(std::move(data)),
        choices_(choose_defaults(config_, data_.train->size())),
        device_(choose_device(config_, *data_.train, choices_)),
        view_(augmentation_for(config_, *data_.train)),
        trainer_(config_, *data_.train, view_, device_),
        weights_(load_weights(config_, trainer_.network())),
        evaluator_(data_.train.get(), data_.test.get(), view_, trainer_.precision()),
        folder_(config_.resume ? RunFolder::open(config_.run) : RunFolder::create(config_)),
        progress_(stdout, [this](std::string_view line) { folder_.log(line); }) {
    keep_listing("train", data_.train.get());  // also of a run that is resumed: the files may have moved
    keep_listing("test", data_.test.get());
    folder_.write_config(sealed(to_toml(config_)));  // from here on the run can be resumed
  }

  int operator()() {
    try {
      begin();
      while (!trainer_.finished()) train_epoch();
      end();
      return 0;
    } catch (const Interrupted&) {
      say(formatted("interrupted; go on with: la_train --resume --run {}", folder_.path()));
      return 128 + interrupted();  // as a shell reports a signal
    }
  }

 private:
  void keep_listing(const char* part, const Dataset* pictures) const;
  void begin();
  bool resume();
  void train_epoch();
  void save_if_interrupted();
  void end();
  void say_warnings();
  void evaluate_epoch();
  void evaluate();
  void check_network();
  void save();
  void report_clusterings(const std::vector<KMeansResult>& clusterings, double seconds);
  void report_step(const StepReport& step, Phase phase, int epoch, int64_t step_of_epoch);
  void add_metrics(const nlohmann::ordered_json& fields, Phase phase = Phase::ir) const;
  /// That of the last epoch which has been completed.
  Phase trained_phase() const {
    return trainer_.epoch() <= config_.warm_start_epochs ? Phase::ir : Phase::la;
  }
  void say(const std::string& line) { progress_.message(line); }

  Config config_;
  std::vector<std::string> notes_;  // where the configuration comes from
  DataSource data_;
  std::vector<std::string> choices_;
  Device device_;
  AugmentationOptions view_;
  Trainer trainer_;
  std::vector<std::string> weights_;  // where the network's come from
  Evaluator evaluator_;
  RunFolder folder_;
  Progress progress_;
  SmoothedRate images_, waiting_, in_la_;  // per second of training
  double start_ = now();
  std::optional<double> pixel_accuracy_;  // nothing if it is not known, as after --resume
  double knn200_ = 0;                     // of the last evaluation

  /// What has happened since progress was last reported.
  struct {
    double since = 0;
    int64_t steps = 0;
    double waiting_seconds = 0, la_seconds = 0;
  } unreported_;
};

void Run::keep_listing(const char* part, const Dataset* pictures) const {
  const std::string listing = pictures != nullptr ? pictures->listing() : "";
  if (!listing.empty())
    write_text_file(formatted("{}/pictures-{}.txt", folder_.path(), part), sealed(listing));
}

/// Tells of the pictures that turned out to be bad since it was last called.
void Run::say_warnings() {
  for (const Dataset* pictures : {data_.train.get(), data_.test.get()})
    if (pictures != nullptr)
      for (const std::string& warning : pictures->take_warnings()) say("bad picture " + warning);
}

void Run::begin() {
  say(formatted("run        {}, la_train {}", folder_.path(), version));
  for (const std::string& note : notes_) say("           " + note);
  for (const std::string& line : describe_run(config_, data_, trainer_, view_.size, choices_)) say(line);
  for (const std::string& line : weights_) say(line);
  if (!evaluator_.available()) say("accuracy   not available: " + evaluator_.why_not());
  if (config_.resume && resume()) return;
  add_metrics({{"version", version}});

  if (evaluator_.available()) {
    if (evaluator_.pixels_fit()) {
      pixel_accuracy_ = evaluator_.pixel_accuracy();
      say("raw pixels");
      say(formatted("  {}: {:.1f} %", evaluator_.pixel_protocol(), 100 * *pixel_accuracy_));
      add_metrics({{"pixel_knn200", *pixel_accuracy_}});
    }
    say(config_.init.empty() ? "untrained network, random bank" : "network as loaded, random bank");
    evaluate();
  }
  if (config_.bank_init == BankInit::forward) {
    say("filling the bank with the embeddings of the untrained network");
    trainer_.fill_bank(progress_.callback());
  }
}

/// Goes back to the newest checkpoint; false if the run ended before its first.
bool Run::resume() {
  const auto warn = [this](const std::string& line) { say("warning: " + line); };
  const std::optional<Checkpoint> checkpoint = newest_checkpoint(folder_.path(), warn);
  if (!checkpoint) {
    say("there is no checkpoint yet: beginning at the start");
    constexpr int before_all_epochs = -1;
    folder_.truncate_metrics(before_all_epochs, 0);
    return false;
  }
  trainer_.restore(checkpoint->file);
  if (const int64_t damaged = folder_.truncate_metrics(checkpoint->epoch, checkpoint->step); damaged > 0)
    warn(formatted("{}: {} damaged, and dropped", folder_.metrics_path(),
                   counted(damaged, "line is", "lines are")));
  say(formatted("resumed from {}: {} and {} are done", checkpoint->file.path,
                counted(trainer_.epoch(), "epoch"), counted(trainer_.step(), "step")));
  const bool at_end_of_epoch = trainer_.epoch() > 0 && trainer_.step() == 0;
  if (at_end_of_epoch && !folder_.has_metric("knn200", trainer_.epoch(), trainer_.total_steps()))
    evaluate_epoch();
  return true;
}

/// Ends the run, which is then saved, if the user wants that.
void Run::save_if_interrupted() {
  if (!interrupted()) return;
  save();
  throw Interrupted();
}

/// Trains to the end of the epoch, saves and evaluates.
void Run::train_epoch() {
  save_if_interrupted();
  const int epoch = trainer_.epoch();
  const Phase phase = trainer_.phase();
  const double cluster_start = now();
  const std::vector<KMeansResult> clusterings = trainer_.begin_epoch(progress_.callback());
  if (!clusterings.empty()) report_clusterings(clusterings, now() - cluster_start);

  unreported_ = {.since = now()};
  for (bool more = true; more;) {
    save_if_interrupted();
    const int64_t step_of_epoch = trainer_.step() + 1;
    StepReport step;
    more = trainer_.train_step(step);
    report_step(step, phase, epoch, step_of_epoch);
  }
  save();
  evaluate_epoch();
}

/// Evaluates what has been trained up to the end of an epoch, if that is due.
void Run::evaluate_epoch() {
  const bool warm_start_done = trainer_.epoch() == config_.warm_start_epochs;
  const bool due = config_.eval_every > 0 && trainer_.epoch() % config_.eval_every == 0;
  if (!evaluator_.available() || !(warm_start_done || due || trainer_.finished())) return;
  if (warm_start_done) say("after the warm start (IR)");
  if (trainer_.finished()) say(trained_phase() == Phase::la ? "after LA" : "after IR");
  evaluate();
}

void Run::report_clusterings(const std::vector<KMeansResult>& clusterings, double seconds) {
  const ClusteringReport report = summarize(clusterings, seconds);
  say(describe(report));
  if (folder_.has_metric("inertia", trainer_.epoch(), trainer_.total_steps()))
    return;  // before it was resumed
  add_metrics({{"clustering_seconds", report.seconds},
               {"inertia", report.inertia},
               {"size_imbalance", report.imbalance},
               {"clusters_split", report.splits},
               {"clusters_empty", report.empty}},
              Phase::la);
}

void Run::report_step(const StepReport& step, Phase phase, int epoch, int64_t step_of_epoch) {
  ++unreported_.steps;
  unreported_.waiting_seconds += step.waiting_seconds;
  unreported_.la_seconds += step.la_seconds;
  constexpr int64_t steps_between_metrics = 50;
  const int64_t steps = trainer_.steps_per_epoch();
  const bool epoch_done = step_of_epoch == steps;
  const bool metrics_due = epoch_done || step_of_epoch % steps_between_metrics == 0;
  if (!metrics_due && !progress_.due()) return;

  const double loss = trainer_.epoch_loss();  // waits for the device, so that the time is that of the steps
  const double seconds = now() - unreported_.since;
  images_.add(static_cast<double>(unreported_.steps * config_.batch), seconds);
  waiting_.add(unreported_.waiting_seconds, seconds);
  in_la_.add(unreported_.la_seconds, seconds);
  unreported_ = {.since = now()};

  say_warnings();
  const int64_t steps_left = steps * config_.epochs - trainer_.total_steps();
  const ProgressState state{
      .phase = phase == Phase::ir ? "IR" : "LA",
      .epoch = epoch + 1,
      .epochs = config_.epochs,
      .step = step_of_epoch,
      .steps = steps,
      .loss = loss,
      .learning_rate = step.learning_rate,
      .images_per_second = images_.value(),
      .waiting_share = waiting_.value(),
      .la_share = device_.is_cpu() ? in_la_.value() : -1,
      .seconds_left = static_cast<double>(steps_left * config_.batch) / images_.value()};
  epoch_done ? progress_.epoch_end(state) : progress_.update(state);
  if (!metrics_due) return;
  add_metrics({{phase == Phase::ir ? "ir_loss" : "la_loss", loss},
               {"learning_rate", step.learning_rate},
               {"images_per_second", images_.value()}},
              phase);
}

/// Appends a line to metrics.jsonl: where the run is, and `fields`.
void Run::add_metrics(const nlohmann::ordered_json& fields, Phase phase) const {
  nlohmann::ordered_json line{{"time", utc_time()},
                              {"phase", phase_name(phase)},
                              {"epoch", trainer_.epoch()},
                              {"step", trainer_.total_steps()}};
  line.update(fields);
  folder_.append_metrics(line);
}

void Run::evaluate() {
  const Accuracy accuracy =
      evaluator_.evaluate(trainer_.network(), trainer_.bank().vectors(), progress_.callback());
  say_warnings();
  knn200_ = accuracy.knn200;
  say(formatted("  {}: {:.1f} %", evaluator_.knn_protocol(), 100 * accuracy.knn200));
  say(formatted("  {}: {:.1f} %", evaluator_.bank_protocol(), 100 * accuracy.knn1));
  add_metrics({{"knn200", accuracy.knn200}, {"knn1", accuracy.knn1}}, trained_phase());
}

/// An Error if the network has become one that gives no embedding. The loss, computed before a step changes
/// the weights, shows that only a step later.
void Run::check_network() {
  const int64_t few = std::min<int64_t>(4, data_.train->size());
  std::vector<int64_t> pictures(static_cast<size_t>(few));
  std::iota(pictures.begin(), pictures.end(), 0);
  const Subset sample(*data_.train, pictures);
  check(is_finite(embed(trainer_.network(), sample, view_, trainer_.precision(), device_)),
        "the training has diverged: embeddings are not finite after step {}. This is not saved: --resume "
        "goes on from the "
        "checkpoint before, and a lower --learning-rate may help",
        trainer_.total_steps());
}

void Run::save() {
  check_network();
  const TrainerState state = trainer_.state();
  save_checkpoint(folder_.path(), trainer_.epoch(), trainer_.total_steps(), state.tensors, state.metadata);
}

void Run::end() {
  if (pixel_accuracy_ && knn200_ <= *pixel_accuracy_)
    say(formatted(
        "raw pixels tell the labels as well ({:.1f} %) as what was learnt ({:.1f} %): more pictures, more "
        "--epochs, or --init FILE with weights learnt elsewhere may help",
        100 * *pixel_accuracy_, 100 * knn200_));
  std::string memory = "peak memory " + memory_text(peak_resident_memory());
  if (!device_.is_cpu()) memory += ", of the GPU " + memory_text(memory_stats(device_).reserved);
  say(formatted("done in {}; {}; the embedding network is in {}", duration_text(now() - start_), memory,
                folder_.path()));
}

/// An Error of a run whose pictures are gone says how to go on.
void check_moved(const Config& config) {
  std::error_code ignored;
  check(!config.resume || std::filesystem::exists(config.data, ignored),
        "{}: the pictures of the run are not there any more; --data FOLDER says where they are now",
        config.data);
}

/// Says what the run would be, and makes no folder.
int plan_only(const Options& options) {
  Config config = options.config;
  const DataSource data = open_data(data_options(config));
  std::vector<std::string> choices = choose_defaults(config, data.train->size());
  const Device device = choose_device(config, *data.train, choices);
  if (!config.resume) RunFolder::check_absent(config);
  const auto say = [](const std::string& line) { print("{}\n", printable(line)); };
  for (const std::string& note : options.notes) say(note);
  if (!config.init.empty()) {
    Trainer trainer(config, *data.train, augmentation_for(config, *data.train), device);
    for (const std::string& line : load_weights(config, trainer.network())) say(line);
  }
  dry_run(config, data, device, choices, say);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  let_waiting_threads_sleep(argv);
  return run_program("la_train", [&] {
    const Options options = parse_options(argc, argv);
    if (!options.answer.empty()) {
      print("{}", options.answer);
      return 0;
    }
    const Config& config = options.config;
    if (config.threads > 0) set_num_threads(config.threads);
    allow_tf32(config.tf32);
    autotune(config.autotune);
    catch_interrupts();
    check_moved(config);
    if (config.dry_run) return plan_only(options);
    return Run(options, open_data(data_options(config)))();
  });
}
