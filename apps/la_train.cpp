// la_train: learns embeddings from pictures by Local Aggregation. `la_train --help` lists the options.
#include <algorithm>
#include <filesystem>
#include <numeric>

#include "apps/dry_run.h"
#include "apps/options/arguments.h"
#include "apps/options/option_table.h"
#include "apps/options/options.h"
#include "apps/processes.h"
#include "apps/report.h"
#include "apps/run/interrupt.h"
#include "apps/run/run_report.h"
#include "data/subset.h"
#include "evaluation/knn.h"
#include "la/checkpoint.h"
#include "la/trainer.h"
#include "layers/state_dict.h"
#include "tensor/clock.h"
#include "tensor/io/checksum.h"
#include "tensor/io/files.h"
#include "tensor/io/seal.h"
#include "tensor/ops.h"
#include "tensor/version.h"

using namespace la;

namespace {

using Lines = std::vector<std::string>;

/// Where other processes do not come.
constexpr const char* advice = "; --resume goes on from the newest checkpoint";

/// The device for values that fit the data; anything else is wrong usage, and found before the run has a
/// folder. Appends to `choices` what was chosen for it.
Device choose_device(Config& config, const Dataset& train, Lines& choices) try {
  validate(config, train.size());
  const Device device = find_device(config.run.device);
  for (const std::string& choice : choose_for_device(config, device)) choices.push_back(choice);
  return device;
} catch (const Error& error) {
  throw UsageError(error.what());
}

/// Gives the network the weights of the file `init`; says what of it fits.
Lines load_weights(const Config& config, Module& network) {
  const RunOptions& run = config.run;
  if (run.init.empty() || run.resume) return {};
  const SafetensorsFile file = read_safetensors(run.init);
  check_finite(run.init, file.tensors);
  StateDict state;
  for (const NamedTensor& t : file.tensors) {
    const bool of_training = t.name.starts_with("la."), counter = t.name.ends_with("num_batches_tracked");
    if (of_training || counter) continue;
    state.emplace(t.name, t.tensor.dtype() == DType::bf16 ? ops::cast(t.tensor, DType::f32) : t.tensor);
  }
  StateDifference difference;
  try {
    difference = load_matching_state(network, state, split_list(run.init_without));
  } catch (const Error& error) {
    fail("{}: {}; `init_without` leaves out tensors whose names begin so", run.init, error.what());
  }
  check(difference.unexpected.size() < state.size(), "{}: has no tensor of {}", run.init,
        config.network.name);
  Lines lines{formatted("weights    {}", run.init)};
  for (const std::string& name : difference.missing)
    lines.push_back("           not in the file, so as initialized: " + name);
  for (const std::string& name : difference.unexpected)
    lines.push_back("           in the file, but not in the network: " + name);
  return lines;
}

/// Keeps the lists of picture files, so that in a run that is continued numbers mean the same pictures; also
/// of one that is resumed, for the files may have moved.
void keep_listings(const RunFolder& folder, const DataSource& data) {
  const auto keep = [&](const char* part, const Dataset* pictures) {
    const std::string listing = pictures != nullptr ? pictures->listing() : "";
    if (!listing.empty())
      write_text_file(formatted("{}/pictures-{}.txt", folder.path(), part), sealed(listing));
  };
  keep("train", data.train.get());
  keep("test", data.test.get());
}

/// The folder of the run, which the first process has, and its path, which all know.
struct SharedFolder {
  std::optional<RunFolder> own;
  std::string path;

  const RunFolder* pointer() const { return own ? &*own : nullptr; }
};

SharedFolder open_folder(const Config& config, Collectives& ranks) {
  SharedFolder folder;
  std::string problem;
  try {
    if (ranks.rank() == 0)
      folder.own.emplace(
          config.run.resume
              ? RunFolder::open(config.run.folder)
              : RunFolder::create(config.run.folder, run_name(config.data.path, config.network.name)));
  } catch (const Error& error) {
    problem = error.what();
  }
  ranks.agree("problems with the run's folder", problem);
  folder.path = ranks.broadcast("the run's folder", folder.own ? folder.own->path() : "", 0);
  return folder;
}

/// Goes back to the newest checkpoint; false if the run ended before its first.
bool resume(Trainer& trainer, const SharedFolder& folder, RunReport& report) {
  const auto warn = [&](const std::string& line) { report.warn(line); };
  const std::optional<Checkpoint> checkpoint =
      newest_checkpoint(folder.path, warn, Trainer::is_restored_from_memory, trainer.shards().ranks());
  if (!checkpoint) {
    report.say("there is no checkpoint yet: beginning at the start");
    constexpr int before_all_epochs = -1;
    if (folder.own) folder.own->truncate_metrics(before_all_epochs, 0);
    return false;
  }
  trainer.restore(checkpoint->file);
  const int64_t damaged = folder.own ? folder.own->truncate_metrics(checkpoint->epoch, checkpoint->step) : 0;
  if (damaged > 0)
    report.warn(formatted("{}: {} damaged, and dropped", folder.own->metrics_path(),
                          counted(damaged, "line is", "lines are")));
  report.say(formatted("resumed from {}: {} and {} are done", checkpoint->file.path,
                       counted(trainer.epoch(), "epoch"), counted(trainer.step(), "step")));
  return true;
}

/// An Error if the network has become one that gives no embedding. The loss, computed before a step changes
/// the weights, shows that only a step later.
void check_network(Trainer& trainer, const Dataset& train) {
  const int64_t few = std::min<int64_t>(4, train.size());
  std::vector<int64_t> indices(static_cast<size_t>(few));
  std::iota(indices.begin(), indices.end(), 0);
  const Subset sample(train, indices);
  check(is_finite(embed(trainer.network(), sample, trainer.view(), trainer.precision(), trainer.device())),
        "the training has diverged: embeddings are not finite after step {}. This is not saved: --resume "
        "goes on from the checkpoint before, and a lower `learning_rate` may help",
        trainer.total_steps());
}

void save(Trainer& trainer, const Dataset& train, const SharedFolder& folder) {
  check_network(trainer, train);
  const TrainerState state = trainer.state();
  save_checkpoint(folder.path, trainer.epoch(), trainer.total_steps(), state.tensors, state.pieces,
                  state.metadata, trainer.shards().ranks());
}

/// Keeps the network, at the start of the run and wherever that is due.
void keep_if_due(Trainer& trainer, const Config& config, const SharedFolder& folder) {
  const TrainingTime& every = config.run.keep_every;
  if (!folder.own || every.count == 0 || trainer.total_steps() % trainer.steps_of(every) != 0) return;
  const TrainerState state = trainer.network_state();
  save_model(folder.path, trainer.epoch(), trainer.total_steps(), state.tensors, state.metadata);
}

/// Ends the run, which is then saved, if the user wants that.
void save_if_interrupted(Trainer& trainer, const Dataset& train, const SharedFolder& folder) {
  if (interrupted_anywhere(trainer.shards().ranks()) == 0) return;
  save(trainer, train, folder);
  throw Interrupted();
}

void cluster_if_due(Trainer& trainer, const Dataset& pictures, RunReport& report) {
  if (!trainer.clusters_due()) return;
  const double begin = now();
  const BankClusters clusters = trainer.cluster_bank(report.progress());
  const Neighborhoods neighborhoods = trainer.neighborhoods(own_labels(pictures, trainer.shards()));
  report.clusters(clusters, neighborhoods, now() - begin);
}

/// There are labels, or at least a bank.
bool can_evaluate(const Evaluator& evaluator, const Config& config) {
  return evaluator.available() || !config.optimizer.supervised;
}

/// Measures what the network is worth, and how the bank is doing, as far as there are labels, and a bank. All processes do.
void evaluate(Trainer& trainer, const Evaluator& evaluator, const Dataset& pictures, const Config& config,
              RunReport& report, Phase phase) {
  const bool supervised = trainer.phase() == Phase::supervised;
  std::optional<Accuracy> accuracy;
  std::optional<BankHealth> health;
  if (evaluator.available())
    accuracy = supervised
                   ? evaluator.evaluate_classifier(trainer.network(), trainer.device(), report.progress())
                   : evaluator.evaluate(trainer.network(), trainer.bank().vectors(), report.progress());
  if (!supervised) health = trainer.bank_health(own_labels(pictures, trainer.shards()));
  report.evaluation(evaluator, accuracy, health, phase);
  if (!supervised && config.run.tensorboard) report.gallery(neighbor_gallery(trainer.bank().rows()));
}

/// What stands before the first step: how good pixels and the untrained network are.
void evaluate_start(Trainer& trainer, const Evaluator& evaluator, const Dataset& pictures,
                    const Config& config, RunReport& report) {
  if (!can_evaluate(evaluator, config)) return;
  if (evaluator.available() && evaluator.pixels_fit()) report.pixel_accuracy(evaluator);
  report.say(formatted("{}{}", config.run.init.empty() ? "untrained network" : "network as loaded",
                       config.optimizer.supervised ? "" : ", random bank"));
  evaluate(trainer, evaluator, pictures, config, report,
           config.optimizer.supervised ? Phase::supervised : Phase::ir);
}

/// What has been trained up to the end of an epoch, if that is due.
void evaluate_epoch(Trainer& trainer, const Evaluator& evaluator, const Dataset& pictures,
                    const Config& config, RunReport& report) {
  const int epoch = trainer.epoch(), every = config.run.eval_every;
  const bool supervised = config.optimizer.supervised;
  const bool warm_start_done = !supervised && epoch == config.optimizer.warm_start_epochs;
  const bool due = every > 0 && epoch % every == 0;
  if (!can_evaluate(evaluator, config) || !(warm_start_done || due || trainer.finished())) return;
  const Phase of_epoch = epoch <= config.optimizer.warm_start_epochs ? Phase::ir : Phase::la;
  const Phase trained = supervised ? Phase::supervised : of_epoch;
  if (warm_start_done) report.say("after the warm start (IR)");
  if (trainer.finished())
    report.say(formatted("after {}{}", name_of(trained), supervised ? " training" : ""));
  evaluate(trainer, evaluator, pictures, config, report, trained);
}

/// How many labels there are; an Error unless every picture has one.
int count_classes(const Dataset& pictures) {
  int classes = 0;
  for (int64_t i = 0; i < pictures.size(); ++i) {
    const int label = pictures.has_labels() ? pictures.label(i) : unlabeled;
    check(label != unlabeled, "`supervised` training needs a label for every picture; {} has none",
          pictures.name(i));
    classes = std::max(classes, label + 1);
  }
  return classes;
}

/// Whether the metrics have an evaluation of what the trainer is now.
bool was_evaluated(Trainer& trainer, const SharedFolder& folder) {
  const auto has = [&](const char* key) {
    return folder.own->has_metric(key, trainer.epoch(), trainer.total_steps());
  };
  const bool known = folder.own && (has("knn200") || has("effective_rank"));
  return trainer.shards().ranks().all_reduce("what was evaluated", known ? 1 : 0, Reduction::max) == 1;
}

/// Fills in what depends on the pictures; says what, and why.
Lines choose_for_pictures(Config& config, const Dataset& pictures) {
  Lines choices;
  if (config.optimizer.supervised) {
    config.network.dim = count_classes(pictures);
    choices.push_back(formatted("dim = {}: an output for each label", config.network.dim));
  }
  for (const std::string& choice : choose_defaults(config, pictures.size())) choices.push_back(choice);
  return choices;
}

/// S: as many shards as were asked for, or one for each process. A run that goes on with a number of processes that its S does
/// not suit gets another: one that does not divide it, or, with batch norm over all of them, any other number.
Shards choose_shards(Config& config, Collectives& ranks, Lines& choices) {
  int64_t& count = config.run.shards;
  const bool suits = config.run.sync_batch_norm ? count == ranks.size() : count % ranks.size() == 0;
  if (config.run.resume && !suits) {
    choices.push_back(formatted("shards = {}: one for each process, in place of {}; last bits will differ",
                                ranks.size(), count));
    count = 0;
  }
  if (count == 0) count = ranks.size();
  try {
    const Shards shards(ranks, count);
    validate(config, shards);
    return shards;
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
}

/// By what the processes exchange tensors of the device.
Collectives& carriers(const Config& config, Device device, Collectives& processes,
                      std::unique_ptr<Collectives>& of_gpu) {
  const Carrier carrier = config.run.collectives == "mpi" ? Carrier::mpi : Carrier::fastest;
  Collectives& ranks = collectives_for(device, carrier, processes, of_gpu);
  ranks.set_timeout(config.run.collective_timeout);
  ranks.set_advice(advice);
  return ranks;
}

/// What must be the same on all processes: all but how many threads each has. Of the file with which a network begins, the
/// bytes, for each may have its own.
std::string shared_configuration(Config config, Device device) {
  config.run.threads = 0;
  config.run.loader_threads = 1;
  config.run.device = device.is_cpu() ? "cpu" : "cuda";
  std::string text = to_toml(config);
  if (!config.run.init.empty()) {
    const std::string bytes = read_file(config.run.init);
    text += formatted("weights with checksum {:08x}\n", crc32_of(bytes.data(), bytes.size()));
  }
  return text;
}

/// The whole run; returns the exit code.
int train(Config config, const Lines& notes, Collectives& processes) {
  const DataSource data = open_data(config.data);
  Lines choices = choose_for_pictures(config, *data.train);
  const Device device = choose_device(config, *data.train, choices);
  check_same(processes, shared_configuration(config, device), data);
  std::unique_ptr<Collectives> of_gpu;
  Collectives& ranks = carriers(config, device, processes, of_gpu);
  const Shards shards = choose_shards(config, ranks, choices);
  const Dataset& pictures = *data.train;
  Trainer trainer(config, pictures, augmentation_for(config, pictures), device, shards);
  const Lines weights = load_weights(config, trainer.network());
  const Evaluator evaluator(data.train.get(), data.test.get(), trainer.view(), trainer.precision(), shards);

  const SharedFolder folder = open_folder(config, ranks);
  RunReport report(config, folder.pointer(), data, trainer);
  if (folder.own) {
    keep_listings(*folder.own, data);
    folder.own->write_config(sealed(to_toml(config)));  // from here on the run can be resumed
  }
  try {
    report.say(formatted("run        {}, la_train {}", folder.path, version));
    for (const std::string& note : notes) report.say("           " + note);
    report.say(describe_run(config, data, trainer, choices));
    report.say(weights);
    if (!evaluator.available()) report.say("accuracy   not available: " + evaluator.why_not());

    if (config.run.resume && resume(trainer, folder, report)) {
      report.begin_tensorboard(trainer.total_steps() + 1);
      const bool at_end_of_epoch = trainer.epoch() > 0 && trainer.step() == 0;
      if (at_end_of_epoch && was_evaluated(trainer, folder))
        trainer.remember_bank();
      else if (at_end_of_epoch)
        evaluate_epoch(trainer, evaluator, pictures, config, report);
    } else {
      report.begin_tensorboard(0);
      report.metrics({{"version", version}});
      evaluate_start(trainer, evaluator, pictures, config, report);
      if (!config.optimizer.supervised && config.la.bank_init == BankInit::forward) {
        report.say("filling the bank with the embeddings of the untrained network");
        trainer.fill_bank(report.progress());
      }
      keep_if_due(trainer, config, folder);
    }

    while (!trainer.finished()) {
      save_if_interrupted(trainer, pictures, folder);
      trainer.begin_epoch();
      report.begin_epoch();
      for (bool more = true; more;) {
        save_if_interrupted(trainer, pictures, folder);
        cluster_if_due(trainer, pictures, report);
        StepReport step;
        more = trainer.train_step(step);
        report.step(step);
        keep_if_due(trainer, config, folder);
      }
      save(trainer, pictures, folder);
      evaluate_epoch(trainer, evaluator, pictures, config, report);
    }
    report.end();
    return 0;
  } catch (const Interrupted&) {
    report.say(formatted("interrupted; go on with: la_train --resume --run {}", folder.path));
    return 128 + interrupted_anywhere(ranks);  // as a shell reports a signal
  }
}

/// Says what the run would be, and makes no folder.
int plan_only(Config config, const Lines& notes, Collectives& processes) {
  const DataSource data = open_data(config.data);
  Lines choices = choose_for_pictures(config, *data.train);
  const Device device = choose_device(config, *data.train, choices);
  check_same(processes, shared_configuration(config, device), data);
  std::unique_ptr<Collectives> of_gpu;
  Collectives& ranks = carriers(config, device, processes, of_gpu);
  const Shards shards = choose_shards(config, ranks, choices);
  if (!config.run.resume) RunFolder::check_absent(config.run.folder);
  const auto say = [&](const std::string& line) {
    if (ranks.rank() == 0) print("{}\n", with_option_names(printable(line)));
  };
  for (const std::string& note : notes) say(note);
  if (!config.run.init.empty()) {
    Trainer trainer(config, *data.train, augmentation_for(config, *data.train), device);
    for (const std::string& line : load_weights(config, trainer.network())) say(line);
  }
  dry_run(config, data, device, shards, choices, say);
  return 0;
}

/// An Error of a run whose pictures are gone says how to go on.
void check_moved(const Config& config) {
  std::error_code ignored;
  check(!config.run.resume || std::filesystem::exists(config.data.path, ignored),
        "{}: the pictures of the run are not there any more; --data FOLDER says where they are now",
        config.data.path);
}

}  // namespace

int main(int argc, char** argv) {
  let_waiting_threads_sleep(argv);
  return run_processes("la_train", [&](Collectives& ranks) {
    Options options = parse_options(argc, argv);
    if (!options.answer.empty()) {
      if (ranks.rank() == 0) print("{}", options.answer);
      return 0;
    }
    const RunOptions& run = options.config.run;
    ranks.set_timeout(run.collective_timeout);
    ranks.set_advice(advice);
    if (const std::string warning = choose_threads(ranks, run.threads); !warning.empty())
      options.notes.push_back(warning);
    allow_tf32(run.tf32);
    autotune(run.autotune);
    catch_interrupts();
    check_moved(options.config);
    return run.dry_run ? plan_only(options.config, options.notes, ranks)
                       : train(options.config, options.notes, ranks);
  });
}
