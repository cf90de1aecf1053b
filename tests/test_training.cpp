// Training as a whole: it learns, and a run that is killed and resumed ends with the same bytes as one that
// is not.
#include <doctest/doctest.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "autograd/functions.h"
#include "evaluation/knn.h"
#include "la/checkpoint.h"
#include "la/trainer.h"
#include "layers/layers.h"
#include "layers/state_dict.h"
#include "tensor/captured_step.h"
#include "tensor/ops.h"
#include "tensor/random.h"
#include "tests/idx_files.h"
#include "tests/op_case.h"
#include "tests/started_program.h"
#include "tests/temporary_folder.h"
#include "tests/tiny_training.h"

using namespace la;
namespace fs = std::filesystem;

namespace {

constexpr int side = 12, classes = 6;

/// A picture of class c: a bright bar whose direction is the class, at a random place, with noise.
std::vector<uint8_t> bar_picture(int c, RandomGenerator& random) {
  const double angle = 3.14159265358979 * c / classes, offset = random.uniform(-2.5f, 2.5f);
  const double gain = random.uniform(120.0f, 220.0f);
  std::vector<uint8_t> pixels;
  for (int y = 0; y < side; ++y) {
    for (int x = 0; x < side; ++x) {
      const double dx = x - (side - 1) / 2.0, dy = y - (side - 1) / 2.0;
      const double distance = std::abs(std::cos(angle) * dx + std::sin(angle) * dy - offset);
      const double value = gain * std::exp(-distance * distance / 2) + random.uniform(0.0f, 60.0f);
      pixels.push_back(static_cast<uint8_t>(std::min(value, 255.0)));
    }
  }
  return pixels;
}

/// Writes bars of each class in turn as IDX files.
void write_bars(const std::string& folder, const std::string& prefix, int count, uint64_t seed) {
  RandomGenerator random({.seed = seed});
  std::vector<uint8_t> pixels, labels;
  for (int i = 0; i < count; ++i) {
    const std::vector<uint8_t> picture = bar_picture(i % classes, random);
    pixels.insert(pixels.end(), picture.begin(), picture.end());
    labels.push_back(static_cast<uint8_t>(i % classes));
  }
  write_idx(folder, prefix, side, side, pixels, labels);
}

DataSource bars(const TemporaryFolder& folder, int train, int test) {
  write_bars(folder.path(), "train", train, 1);
  write_bars(folder.path(), "t10k", test, 2);
  return open_data({.path = folder.path(), .format = "idx"});
}

Config small_config(int64_t pictures) {
  Config config;
  config.augmentation.crop_min_area = 0.8f;
  config.augmentation.flip = 0.0f;  // a mirrored bar is one of another class
  config.network.head = HeadKind::linear_bn;
  config.la.bank_init = BankInit::forward;
  config.la.temperature = 0.1f;
  config.network.dim = 32;
  config.optimizer.batch = 32;
  config.optimizer.epochs = 4;
  config.optimizer.warm_start_epochs = 2;
  config.optimizer.schedule.base = 0.1f;
  config.la.ir_loss = IrLoss::softmax;
  config.la.clusters = {30};
  config.la.background = 100;
  choose_defaults(config, pictures);
  return config;
}

std::string program() {
  const char* folder = std::getenv("LA_PROGRAMS");
  return std::string(folder ? folder : ".") + "/la_train";
}

/// Starts la_train on the pictures of `data`, with its run in `run`.
pid_t start(const fs::path& data, const fs::path& run, bool resume) {
  if (resume) return start_program({program(), "--resume", "--run", run});
  return start_program(
      {program(), "--data",       data, "--run",    run,  "--network",           "resnet20", "--dim",
       "16",      "--batch",      "16", "--epochs", "4",  "--warm-start-epochs", "2",        "--clusters",
       "8",       "--background", "40", "--noise",  "20", "--threads",           "2"});
}

fs::path newest_file(const fs::path& run) {
  fs::path newest;
  for (const auto& entry : fs::directory_iterator(run))
    if (entry.path().extension() == ".safetensors") newest = std::max(newest, entry.path());
  return newest;
}

std::string bytes_of(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

}  // namespace

namespace {

/// Trains on bars; kNN must be better than that of the untrained network.
void check_learning(Device device) {
  const TemporaryFolder folder;
  const DataSource data = bars(folder, 960, 240);
  const Config config = small_config(data.train->size());
  const AugmentationOptions view = augmentation_for(config, *data.train);
  Trainer trainer(config, *data.train, view, device);
  const Evaluator evaluator(data.train.get(), data.test.get(), view, trainer.precision());
  REQUIRE(evaluator.available());
  trainer.fill_bank();
  const Accuracy before = evaluator.evaluate(trainer.network(), trainer.bank().vectors());
  int clusterings = 0;
  while (!trainer.finished()) {
    const Phase phase = trainer.phase();
    trainer.begin_epoch();
    CHECK(trainer.clusters_due() == (phase == Phase::la));  // at the start of every LA epoch
    clusterings += static_cast<int>(trainer.cluster_bank().clusterings.size());
    CHECK_FALSE(trainer.clusters_due());
    for (StepReport step; trainer.train_step(step);) CHECK(std::isfinite(trainer.epoch_loss()));
  }
  CHECK(clusterings == 6);
  const Accuracy after = evaluator.evaluate(trainer.network(), trainer.bank().vectors());
  CHECK(after.knn200 > before.knn200);
  CHECK(after.knn1 > before.knn1);
  CHECK(after.knn1 > 0.8);  // chance is 1 in 6
  CHECK(after.bank_knn200 > before.bank_knn200);
}

/// With both kinds of random numbers of a step.
Config tiny_config(Precision precision) {
  Config config = tiny_training();
  config.run.precision = precision;
  return config;
}

std::unique_ptr<Trainer> tiny_trainer(const Config& config, const DataSource& data, Device device) {
  Config chosen = config;
  choose_defaults(chosen, data.train->size());
  return std::make_unique<Trainer>(chosen, *data.train, augmentation_for(chosen, *data.train), device);
}

/// All bytes of a state, by name.
std::map<std::string, std::vector<uint8_t>> bytes_of(const TrainerState& state) {
  std::map<std::string, std::vector<uint8_t>> bytes;
  for (const NamedTensor& t : tensors_of(state)) {
    const auto* begin = static_cast<const uint8_t*>(t.tensor.raw());
    bytes[t.name] = {begin, begin + t.tensor.bytes()};
  }
  for (const auto& [name, value] : state.metadata) bytes["metadata " + name] = {value.begin(), value.end()};
  return bytes;
}

}  // namespace

TEST_CASE("training improves kNN over its start" * doctest::test_suite("training")) {
  for (Device device : available_devices()) check_learning(device);
}

TEST_CASE("a recorded step gives the same bytes as one that is not" * doctest::test_suite("devices")) {
  const TemporaryFolder folder;
  const DataSource data = bars(folder, 40, 10);
  for (Device device : available_devices())
    for (Precision precision : {Precision::f32, Precision::bf16}) {
      Config config = tiny_config(precision);
      const auto recorded = tiny_trainer(config, data, device);
      config.run.no_graph = true;
      const auto launched = tiny_trainer(config, data, device);
      train(*recorded);
      train(*launched);
      CHECK(recorded->finished());
      CHECK(bytes_of(recorded->state()) == bytes_of(launched->state()));
    }
}

TEST_CASE("dropout leaves out others in each run of a recording" * doctest::test_suite("devices")) {
  for (Device device : available_devices()) {
    constexpr int runs = 6;
    const auto outputs = [&](bool record) {
      Dropout dropout(0.5f, 7);
      dropout.to(device);
      const Variable x(Tensor::full({64}, 1.0f, DType::f32, device), true);
      const Tensor y({64}, DType::f32, device), dx({64}, DType::f32, device);
      CapturedStep work(device, record);
      std::vector<std::vector<float>> results;
      for (int run = 0; run < runs; ++run) {
        work.run([&] {
          Variable fresh = x;
          fresh.clear_grad();
          const Variable out = dropout(fresh);
          backward(mean(out));
          ops::copy_into(y, out.value());
          ops::copy_into(dx, fresh.grad());
        });
        results.push_back(y.to_vector<float>());
        for (float& value : results.back()) value /= 64.0f;
        CHECK(dx.to_vector<float>() == results.back());  // the same are left out of the gradient
      }
      return results;
    };
    const auto recorded = outputs(true);
    CHECK(recorded == outputs(false));
    CHECK(std::set(recorded.begin(), recorded.end()).size() == runs);
  }
}

TEST_CASE("a run counts its end, its rates and its clusterings in steps, if asked") {
  const TemporaryFolder folder;
  const DataSource data = bars(folder, 40, 10);  // five steps an epoch
  Config config = tiny_config(Precision::f32);
  config.optimizer.warm_start_epochs = 1;
  config.optimizer.steps = 17;
  config.optimizer.drops = {{7, true}, {3, false}};
  config.la.cluster_every = {3, true};
  const auto trainer = tiny_trainer(config, data, Device::cpu());
  std::vector<float> rates;
  std::vector<int64_t> clustered;
  while (!trainer->finished()) {
    trainer->begin_epoch();
    StepReport step;
    bool more = true;
    while (more) {
      if (trainer->clusters_due()) clustered.push_back(trainer->total_steps());
      more = trainer->train_step(step);
      rates.push_back(step.learning_rate);
    }
  }
  CHECK(trainer->total_steps() == 17);
  CHECK(trainer->epoch() == 4);  // of which the last has two steps
  CHECK(clustered == std::vector<int64_t>{5, 8, 11, 14});
  REQUIRE(rates.size() == 17);
  for (size_t i = 0; i < rates.size(); ++i)
    CHECK(rates[i] == doctest::Approx(i < 7 ? 0.1 : i < 15 ? 0.01 : 0.001));
}

TEST_CASE("supervised training learns the labels, and is restored to the same bytes" *
          doctest::test_suite("devices")) {
  const TemporaryFolder folder;
  const DataSource data = bars(folder, 480, 120);
  Config config = small_config(data.train->size());
  config.optimizer.supervised = true;
  config.optimizer.epochs = 4;
  config.network.dim = 6;
  const AugmentationOptions view = augmentation_for(config, *data.train);
  const Evaluator evaluator(data.train.get(), data.test.get(), view, DType::f32);
  for (Device device : available_devices()) {
    const auto trainer = tiny_trainer(config, data, device);
    const Accuracy before = evaluator.evaluate_classifier(trainer->network(), device);
    train(*trainer);
    const Accuracy after = evaluator.evaluate_classifier(trainer->network(), device);
    CHECK(after.likeliest > 0.9);  // chance is 1 in 6
    CHECK(after.likeliest > before.likeliest);
    CHECK(after.knn200 > before.knn200);
    CHECK_FALSE(after.knn1.has_value());
    CHECK(trainer->bank().size() == 0);

    const auto first = tiny_trainer(config, data, device), second = tiny_trainer(config, data, device);
    train(*first, 17);
    const TrainerState state = first->state();
    second->restore(in_memory(state));
    train(*second);
    CHECK(bytes_of(second->state()) == bytes_of(trainer->state()));
  }
}

TEST_CASE("weight decay applies to what it is asked for") {
  const TemporaryFolder folder;
  const DataSource data = bars(folder, 40, 10);
  constexpr float rate = 0.5f, decay = 0.1f;
  // A first step takes rate * decay of a parameter, beside what it takes by the gradient.
  const auto after_a_step = [&](DecayOf decay_of, float weight_decay) {
    Config config = tiny_config(Precision::f32);
    config.optimizer.schedule.base = rate;
    config.optimizer.sgd.weight_decay = weight_decay;
    config.optimizer.decay_of = decay_of;
    const auto trainer = tiny_trainer(config, data, Device::cpu());
    trainer->begin_epoch();
    StepReport step;
    trainer->train_step(step);
    return state_dict(trainer->network());
  };
  Config config = tiny_config(Precision::f32);
  const auto before = state_dict(tiny_trainer(config, data, Device::cpu())->network());
  const auto without = after_a_step(DecayOf::weights, 0);
  for (const DecayOf decay_of : {DecayOf::weights, DecayOf::weights_and_biases, DecayOf::all}) {
    const auto with = after_a_step(decay_of, decay);
    for (size_t i = 0; i < with.size(); ++i) {
      const std::string& name = with[i].name;
      if (name.find("running") != std::string::npos) continue;
      const bool of_norm =
          name.find("bn") != std::string::npos || name.find("downsample.1") != std::string::npos;
      const bool bias = name.ends_with("bias");
      const bool decays = decay_of == DecayOf::all || (!of_norm && (!bias || decay_of != DecayOf::weights));
      const auto start = before[i].tensor.to_vector<float>(), plain = without[i].tensor.to_vector<float>(),
                 decayed = with[i].tensor.to_vector<float>();
      CAPTURE(name);
      for (size_t j = 0; j < start.size(); ++j) {
        const double expected = decays ? rate * decay * start[j] : 0;  // five roundings of values up to 1
        REQUIRE(std::abs(plain[j] - decayed[j] - expected) <=
                5 * 0x1p-24 * std::max(1.0f, std::abs(plain[j])));
      }
    }
  }
}

TEST_CASE("clusterings begin with other seeds each time, or with the same") {
  const TemporaryFolder folder;
  const DataSource data = bars(folder, 40, 10);
  Config config = tiny_config(Precision::f32);
  config.optimizer.warm_start_epochs = 0;
  config.la.bank_momentum = 1 - 0x1p-24f;  // the bank stays as it is
  for (const ClusterSeeds seeds : {ClusterSeeds::fresh, ClusterSeeds::same}) {
    config.la.cluster_seeds = seeds;
    const auto trainer = tiny_trainer(config, data, Device::cpu());
    std::vector<std::vector<int32_t>> labels;
    for (int epoch = 0; epoch < 2; ++epoch) {
      trainer->begin_epoch();
      labels.push_back(trainer->cluster_bank().clusterings[1].labels.to_vector<int32_t>());
      for (StepReport step; trainer->train_step(step);) {
      }
    }
    CHECK((labels[0] == labels[1]) == (seeds == ClusterSeeds::same));
  }
}

TEST_CASE("the ablations of the close neighbors train, and are restored to the same bytes") {
  const TemporaryFolder folder;
  const DataSource data = bars(folder, 40, 10);
  std::vector<Config> configs(5, tiny_config(Precision::f32));
  configs[0].la.whole_background = true;
  configs[1].la.combine_clusterings = SharedClusters::all;
  configs[2].la.combine_clusterings = SharedClusters::count;
  configs[2].la.clusters = {4, 9};
  configs[3].la.close_neighbors = CloseNeighborKind::components;
  configs[3].la.background = 39;
  configs[4].la.cluster_every = {4, true};
  configs[4].optimizer.steps = 18;
  std::set<std::vector<uint8_t>> networks;
  for (const Config& config : configs) {
    const auto whole = tiny_trainer(config, data, Device::cpu()),
               first = tiny_trainer(config, data, Device::cpu()),
               second = tiny_trainer(config, data, Device::cpu());
    train(*whole);
    train(*first, 13);
    const TrainerState state = first->state();
    second->restore(in_memory(state));
    train(*second);
    const auto bytes = bytes_of(whole->state());
    CHECK(bytes_of(second->state()) == bytes);
    networks.insert(bytes.at("conv1.weight"));
  }
  CHECK(networks.size() == configs.size());  // they differ
}

TEST_CASE("a restored trainer goes on to the same bytes" * doctest::test_suite("devices")) {
  const TemporaryFolder folder;
  const DataSource data = bars(folder, 40, 10);
  const Config config = tiny_config(Precision::f32);
  for (Device device : available_devices()) {
    const auto undisturbed = tiny_trainer(config, data, device);
    train(*undisturbed);
    for (const int64_t stop :
         {3, 10, 14}) {  // within an epoch of IR, at the start of LA, within an epoch of LA
      const auto first = tiny_trainer(config, data, device);
      train(*first, stop);
      const TrainerState state = first->state();
      const auto second = tiny_trainer(config, data, device);
      second->restore(in_memory(state));
      CHECK(second->total_steps() == stop);
      train(*second);
      CHECK(bytes_of(second->state()) == bytes_of(undisturbed->state()));
    }
  }
}

TEST_CASE("a loss that is not finite stops a run" * doctest::test_suite("devices")) {
  const TemporaryFolder folder;
  const DataSource data = bars(folder, 40, 10);
  Config config = tiny_config(Precision::f32);
  config.optimizer.schedule.base = 1e30f;
  for (Device device : available_devices()) {
    const auto trainer = tiny_trainer(config, data, device);
    CHECK_THROWS_WITH_AS(
        {
          train(*trainer);
          trainer->state();
        },
        doctest::Contains("the loss became"), Error);
  }
}

TEST_CASE("a run that is killed at any moment and resumed ends with the same bytes") {
  const TemporaryFolder folder;
  bars(folder, 160, 30);
  const fs::path undisturbed = folder.path() + "/undisturbed", disturbed = folder.path() + "/disturbed";
  REQUIRE(wait_for(start(folder.path(), undisturbed, false)) == 0);

  RandomGenerator random({.seed = 11});
  int kills = 0;
  for (const int signal : {SIGKILL, SIGTERM, SIGKILL, SIGINT, SIGKILL, SIGKILL}) {
    const bool resume = fs::exists(disturbed / "config.toml");
    if (!resume) fs::remove_all(disturbed);  // killed before anything was there
    WatchedFolders watched;
    watched.add(resume ? disturbed : fs::path(folder.path()));
    const pid_t child = start(folder.path(), disturbed, resume);
    if (!resume) {  // the folder must be there before it can be watched
      REQUIRE(watched.let_happen(child, 1));
      watched.add(disturbed);
    }
    const bool killed = watched.let_happen(child, 5 + static_cast<int>(random.below(25)));
    if (killed) kill(child, signal);
    wait_for(child);
    if (!killed) break;  // it was faster than the events
    ++kills;
  }
  CHECK(kills >= 2);
  REQUIRE(wait_for(start(folder.path(), disturbed, true)) == 0);
  CHECK(newest_file(disturbed).filename() == newest_file(undisturbed).filename());
  CHECK((bytes_of(newest_file(disturbed)) == bytes_of(newest_file(undisturbed))));
}
