// Local Aggregation by several processes, each with its shards of the batch and of the bank, against one process with all of
// them. The cases are run by as many processes as the tests are started with.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "la/checkpoint.h"
#include "la/losses.h"
#include "la/neighbors.h"
#include "la/trainer.h"
#include "tensor/io/files.h"
#include "tensor/ops.h"
#include "tests/sharded.h"
#include "tests/tiny_training.h"

using namespace la;

namespace {

constexpr float tau = 0.2f;

Tensor pictures_of(int64_t count, int64_t n) {
  std::vector<int32_t> pictures;
  for (int64_t i = 0; i < count; ++i) pictures.push_back(static_cast<int32_t>((i * 7 + 3) % n));
  return Tensor::from(pictures, {count});
}

/// Similarities of the neighbors of each row, by the number of the picture, of all processes.
std::vector<std::map<int64_t, float>> neighbors_of(const MemoryBank& bank, const Background& background,
                                                   int64_t rows) {
  constexpr float none = -10;
  const Tensor similarities = Tensor::full({rows, bank.size()}, none);
  for (size_t p = 0; p < background.size(); ++p) {
    const auto& [values, indices] = background[p];
    for (int64_t i = 0; i < values.numel(); ++i) {
      if (values.data<float>()[i] == -std::numeric_limits<float>::infinity()) continue;
      const int64_t picture = bank.rows().range(static_cast<int64_t>(p)).begin + indices.data<int32_t>()[i];
      similarities.data<float>()[i / values.size(1) * bank.size() + picture] = values.data<float>()[i];
    }
  }
  bank.shards().ranks().all_reduce("similarities", similarities, Reduction::max);
  std::vector<std::map<int64_t, float>> found(static_cast<size_t>(rows));
  for (int64_t i = 0; i < similarities.numel(); ++i)
    if (similarities.data<float>()[i] != none)
      found[static_cast<size_t>(i / bank.size())][i % bank.size()] = similarities.data<float>()[i];
  return found;
}

Config tiny_config() {
  Config config = tiny_training();
  config.network.name = "resnet8-wide";
  config.augmentation.size = 12;
  config.network.head = HeadKind::linear_bn;
  config.optimizer.batch = 26;  // twelve shards have 2 or 3
  return config;
}

std::unique_ptr<Trainer> trainer_of(Config config, const Dataset& data, const Shards& shards) {
  choose_defaults(config, data.size());
  return std::make_unique<Trainer>(config, data, augmentation_for(config, data), Device::cpu(), shards);
}

std::string saved_by(Trainer& trainer, const std::string& folder) {
  const TrainerState state = trainer.state();
  return save_checkpoint(folder, trainer.epoch(), trainer.total_steps(), state.tensors, state.pieces,
                         state.metadata, trainer.shards().ranks());
}

/// What one process alone, with as many shards, has saved after so many steps.
std::string bytes_of_one(const Config& config, const Dataset& data, int64_t shards,
                         int64_t steps = INT64_MAX) {
  const TemporaryFolder folder;
  const auto trainer = trainer_of(config, data, Shards(alone(), shards));
  train(*trainer, steps);
  return read_file(saved_by(*trainer, folder.path()));
}

}  // namespace

TEST_SUITE("processes") {
  TEST_CASE("background neighbors are those of one process, in ties too") {
    for (const bool coarse : {true, false})
      for (const auto& [n, k] : {std::pair<int64_t, int64_t>{400, 50}, {400, 400}, {30, 7}, {5, 3}, {2, 2}}) {
        const int64_t rows = std::min<int64_t>(n, 9);
        const Tensor vectors = coarse ? coarse_rows(n, 1) : unit_rows(n, 1),
                     v = coarse ? coarse_rows(rows, 2) : unit_rows(rows, 2);
        const Tensor pictures = pictures_of(rows, n);
        const auto found_by = [&](const Shards& shards) {
          const MemoryBank bank = bank_of(vectors, shards);
          return neighbors_of(bank, background_neighbors(bank, v, pictures, k), rows);
        };
        const auto whole = found_by({});
        for (const int64_t shards : {int64_t{processes().size()}, twelve}) {
          CAPTURE(n);
          CAPTURE(shards);
          const auto found = found_by(Shards(processes(), shards));
          CHECK(found == found_by(Shards(alone(), shards)));
          for (size_t row = 0; row < whole.size(); ++row) {
            REQUIRE(found[row].size() == whole[row].size());
            // Where the picture itself was not among the nearest, its similarity may have been added up in another order.
            for (const auto& [picture, similarity] : whole[row])
              CHECK(std::abs(found[row].at(picture) - similarity) <= dim * 0x1p-24);
          }
        }
      }
  }

  TEST_CASE("close neighbors by clusters and by distance are those of one process") {
    constexpr int64_t n = 200, rows = 6, k = 60;
    const Tensor vectors = coarse_rows(n, 3), v = coarse_rows(rows, 4), pictures = pictures_of(rows, n);
    const Tensor labels = ops::random_below({n, 3}, 5, {.seed = 5});
    // Marked neighbors as a background of their own.
    const auto marked = [&](const MemoryBank& bank, const Background& background, const CloseMasks& masks) {
      Background only = background;
      for (size_t p = 0; p < only.size(); ++p)
        only[p].values = ops::keep_marked(background[p].values, masks[p]);
      return neighbors_of(bank, only, rows);
    };
    const auto both = [&](const Shards& shards) {
      const MemoryBank bank = bank_of(vectors, shards);
      const RowRange own = shards.own_rows(n);
      const Background background = background_neighbors(bank, v, pictures, k);
      return std::pair(marked(bank, background,
                              close_by_clusters(bank, labels.rows(own.begin, own.end), pictures, background)),
                       marked(bank, background, close_by_distance(bank, background, 17)));
    };
    CHECK(both(Shards(processes(), twelve)) == both({}));
  }

  TEST_CASE("losses and gradients do not depend on the number of processes, and hardly on that of shards") {
    constexpr int64_t n = 150, rows = 13, k = 40;
    const Tensor vectors = unit_rows(n, 6), v = unit_rows(rows, 7), pictures = pictures_of(rows, n);
    const Tensor labels = ops::random_below({n, 2}, 5, {.seed = 8});
    const Tensor step = Tensor::from(std::vector<int64_t>{1}, {1});
    const Tensor candidates = nce_candidates(pictures, 20, n, 1, step);
    struct Result {
      float loss;
      std::vector<float> gradient;  // of all rows
    };
    const auto losses_of = [&](const Shards& shards) {
      const MemoryBank bank = bank_of(vectors, shards);
      const RowRange bank_rows = shards.own_rows(n), own = shards.own_rows(rows);
      const Background background = background_neighbors(bank, v, pictures, k);
      const CloseMasks close =
          close_by_clusters(bank, labels.rows(bank_rows.begin, bank_rows.end), pictures, background);
      std::vector<Result> results;
      for (int which = 0; which < 3; ++which) {
        const Variable x(ops::copy(v.rows(own.begin, own.end)), true);
        const double z = estimate_nce_constant(v, bank, candidates, tau);
        const Variable loss = which == 0   ? local_aggregation_loss(x, bank, background, close, tau)
                              : which == 1 ? instance_softmax_loss(x, v, bank, pictures, tau)
                                           : instance_nce_loss(x, v, bank, candidates, z, tau);
        backward(loss);
        results.push_back(
            {loss.value().item(), shards.gather("gradients", x.grad(), rows).to_vector<float>()});
      }
      return results;
    };
    const auto one = losses_of({}), expected = losses_of(Shards(alone(), twelve)),
               found = losses_of(Shards(processes(), twelve));
    for (size_t which = 0; which < one.size(); ++which) {
      CHECK(found[which].loss == expected[which].loss);
      CHECK(found[which].gradient == expected[which].gradient);
      CHECK(found[which].loss == doctest::Approx(one[which].loss).epsilon(1e-5));
      for (size_t i = 0; i < one[which].gradient.size(); ++i)
        CHECK(std::abs(found[which].gradient[i] - one[which].gradient[i]) < 1e-5);
    }
  }

  TEST_CASE("k-means gives the labels of one process") {
    for (const auto& [n, m] : {std::pair<int64_t, int64_t>{500, 20}, {500, 400}, {7, 3}}) {
      const Tensor x = unit_rows(n, 9);
      for (const bool spherical : {false, true}) {
        const KMeansOptions options{
            .clusters = m, .iterations = 6, .spherical = spherical, .key = {.seed = 3}};
        const Shards shards(processes(), twelve);
        const RowRange own = shards.own_rows(n);
        const KMeansResult expected = kmeans(ShardedRows(x, n, Shards(alone(), twelve)), options);
        const KMeansResult found = kmeans(ShardedRows(x.rows(own.begin, own.end), n, shards), options);
        CHECK(shards.gather("labels", found.labels, n).to_vector<int32_t>() ==
              expected.labels.to_vector<int32_t>());
        CHECK(found.centroids.to_vector<float>() == expected.centroids.to_vector<float>());
        CHECK(found.inertia == expected.inertia);
        CHECK(found.empty == expected.empty);
        CHECK(found.splits == expected.splits);
        CHECK(found.imbalance == expected.imbalance);
      }
    }
  }

  TEST_CASE("what a bad picture is replaced by does not depend on who reads it") {
    const Shards shards(processes(), processes().size());
    for (const std::set<int64_t>& bad :
         {std::set<int64_t>{}, {3, 17, 29}, {1, 2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31}}) {
      const Squares data(33, bad);
      const AugmentationOptions view{.size = 8, .mean = {0.5f}, .stddev = {0.2f}};
      Loader whole(data, view, {.batch = 20, .threads = 1, .seed = 4});
      Loader part(data, view, {.batch = 20, .threads = 2, .seed = 4, .places = shards.own_rows(20)});
      for (int64_t epoch = 0; epoch < 3; ++epoch) {
        whole.start_epoch(epoch);
        part.start_epoch(epoch);
        const Batch expected = whole.next(), found = part.next();
        CHECK(shards.gather("pictures", found.indices, 20).to_vector<int32_t>() ==
              expected.indices.to_vector<int32_t>());
        CHECK(shards.gather("views", found.images, 20).to_vector<float>() ==
              expected.images.to_vector<float>());
      }
    }
  }

  TEST_CASE("a training writes the bytes of one process with as many shards") {
    const Squares data(60), bad(60, {5, 20, 47});
    std::vector<Config> configs(7, tiny_config());
    configs[1].run.precision = Precision::bf16;
    configs[1].la.ir_loss = IrLoss::softmax;
    configs[2].la.bank_init = BankInit::forward;
    configs[2].la.bank_refresh = true;
    configs[2].la.kmeans.spherical = true;
    configs[3].la.close_neighbors = CloseNeighborKind::knn;
    configs[3].la.close_count = 5;
    configs[3].la.nce_constant = NceConstant::estimate;
    configs[4].la.whole_background = true;
    configs[4].la.combine_clusterings = SharedClusters::count;
    configs[4].optimizer.batch = 5;  // some shards have no picture
    configs[5].optimizer.supervised = true;
    configs[5].network.dim = 4;
    configs[6].la.close_neighbors = CloseNeighborKind::knn;
    configs[6].la.close_count = 9;
    const CommonFolder folder;
    for (size_t c = 0; c < configs.size(); ++c) {
      CAPTURE(c);
      const Dataset& pictures = c == 0 ? bad : data;
      const auto trainer = trainer_of(configs[c], pictures, Shards(processes(), twelve));
      if (configs[c].la.bank_init == BankInit::forward) trainer->fill_bank();
      train(*trainer);
      const std::string written = read_file(saved_by(*trainer, folder.path()));
      if (configs[c].la.bank_init == BankInit::forward) {
        const TemporaryFolder own;
        const auto one = trainer_of(configs[c], pictures, Shards(alone(), twelve));
        one->fill_bank();
        train(*one);
        CHECK(written == read_file(saved_by(*one, own.path())));
      } else {
        CHECK(written == bytes_of_one(configs[c], pictures, twelve));
      }
    }
  }

  TEST_CASE("the bytes that a step sends are those of the formulas in docs/cluster.md") {
    const int64_t ranks = processes().size(), shards = 4 * ranks;  // four each, which are one sum
    const Squares data(120);
    Config config = tiny_config();
    const int64_t batch = 24, dimensions = config.network.dim;
    config.optimizer.batch = batch;
    config.optimizer.warm_start_epochs = 0;
    const auto trainer = trainer_of(config, data, Shards(processes(), shards));
    trainer->begin_epoch();
    StepReport step;
    trainer->train_step(step);  // clusters too
    std::map<std::string, int64_t> before = processes().bytes_sent();
    trainer->train_step(step);
    int64_t numbers = 0;  // parameters and running statistics
    for (const auto& p : trainer->network().parameters()) numbers += p.variable->value().numel();
    for (const auto& b : trainer->network().buffers()) numbers += b.tensor->numel();
    const auto of_step = [&](const char* what) { return sent(what) - before[what]; };
    // Each rank adds an equal part, the longest of which counts.
    const int64_t longest = (numbers + ranks - 1) / ranks, others = ranks - 1;
    CHECK(of_step("gradients") == 2 * others * 4 * longest);
    CHECK(of_step("embeddings") == others * 4 * batch / ranks * dimensions);
    CHECK(of_step("gradients of embeddings") == others * 4 * batch / ranks * dimensions);
    CHECK(of_step("histograms of similarities") == 2 * others * 4096 * batch / ranks);
    CHECK(of_step("equal similarities") == others * 4 * shards / ranks * batch);
    CHECK(of_step("sums over neighbors") == 2 * others * 4 * shards / ranks * batch);
    CHECK(of_step("labels of the batch") == 2 * others * 4 * batch / ranks * config.la.clusterings);
    CHECK(of_step("numbers of pictures") == others * 4 * batch / ranks);
  }

  TEST_CASE("a checkpoint knows no processes: others go on with it") {
    const Squares data(60);
    const Config config = tiny_config();
    const std::string expected = bytes_of_one(config, data, twelve);
    const Shards together(processes(), twelve);
    const CommonFolder folder;
    for (const int64_t stop : {1, 4, 7}) {  // within IR, at the start of LA, within LA
      CAPTURE(stop);
      {
        const auto first = trainer_of(config, data, together);
        train(*first, stop);
        saved_by(*first, folder.path());
      }
      const auto warn = [](const std::string& line) { FAIL(line); };
      {  // each process alone
        const auto second = trainer_of(config, data, Shards(alone(), twelve));
        const auto checkpoint = newest_checkpoint(folder.path(), warn, Trainer::is_restored_from_memory);
        REQUIRE(checkpoint.has_value());
        CHECK_FALSE(checkpoint->file.contains("la.bank"));
        second->restore(checkpoint->file);
        CHECK(second->total_steps() == stop);
        train(*second);
        const TemporaryFolder own;
        CHECK(read_file(saved_by(*second, own.path())) == expected);
      }
      {  // and all together
        const auto third = trainer_of(config, data, together);
        const auto checkpoint =
            newest_checkpoint(folder.path(), warn, Trainer::is_restored_from_memory, processes());
        REQUIRE(checkpoint.has_value());
        third->restore(checkpoint->file);
        processes().barrier("all have read it");
        train(*third);
        const CommonFolder other;
        CHECK(read_file(saved_by(*third, other.path())) == expected);
      }
      processes().barrier("the next checkpoint");
      if (processes().rank() == 0)
        for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
          std::filesystem::remove(entry);
      processes().barrier("an empty folder");
    }
  }

  TEST_CASE("a problem of one process with a file is an error of all, and leaves no file") {
    Collectives& ranks = processes();
    const CommonFolder folder;
    const std::string path = folder.path() + "/file.safetensors";
    const Shards shards(ranks, ranks.size());
    const RowRange own = shards.own_rows(100);
    const auto write = [&](int64_t first) {
      write_safetensors(path, {{"whole", Tensor::full({3}, 1.0f)}},
                        {{"pieces", {100}, DType::f32, {{first, Tensor::full({own.size()}, 2.0f)}}}}, {},
                        ranks);
    };
    // The last has its rows one place further.
    const int64_t wrong = ranks.rank() == ranks.size() - 1 ? 1 : 0;
    CHECK_THROWS_WITH_AS(write(own.begin + wrong), doctest::Contains("nobody has bytes"), Error);
    ranks.barrier("after the problem");
    CHECK(std::filesystem::is_empty(folder.path()));
    ranks.barrier("before the next");
    write(own.begin);
    const SafetensorsFile file = read_safetensors(path, Checksum::required);
    CHECK(file.at("pieces").to_vector<float>() == std::vector<float>(100, 2.0f));
    CHECK(file.at("whole").to_vector<float>() == std::vector<float>(3, 1.0f));

    CHECK_THROWS_WITH_AS(ranks.agree("problems", ranks.rank() == ranks.size() - 1 ? "no luck" : ""),
                         doctest::Contains("no luck"), Error);
  }
}
