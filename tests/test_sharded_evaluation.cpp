// How good embeddings are, measured by several processes, against one process with all of the pictures. The cases are run by as
// many processes as the tests are started with.
#include <doctest/doctest.h>

#include "evaluation/density.h"
#include "evaluation/knn.h"
#include "evaluation/readout.h"
#include "la/neighbors.h"
#include "layers/networks.h"
#include "tests/sharded.h"

using namespace la;

TEST_SUITE("processes") {
  TEST_CASE("kNN gives the answers of one process, with vectors without a label, and with few") {
    Collectives& ranks = processes();
    for (const auto& [n, tests] : {std::pair<int64_t, int64_t>{300, 1100}, {5, 2}, {2, 1}}) {
      const Shards shards(ranks, ranks.size());
      LabeledVectors train{coarse_rows(n, 10), {}}, test{coarse_rows(tests, 11), {}};
      for (int64_t i = 0; i < n; ++i) train.labels.push_back(i % 9 == 8 ? -1 : static_cast<int32_t>(i % 4));
      for (int64_t i = 0; i < tests; ++i)
        test.labels.push_back(i % 7 == 6 ? -1 : static_cast<int32_t>(i % 4));
      const auto own = [&](const LabeledVectors& all) {
        const RowRange rows = shards.own_rows(all.vectors.size(0));
        return LabeledVectors{all.vectors.rows(rows.begin, rows.end),
                              {all.labels.begin() + rows.begin, all.labels.begin() + rows.end}};
      };
      for (const int64_t k : {1, 20}) {
        const KnnOptions options{.neighbors = k};
        CHECK(knn_guesses(own(train), own(test), options, ranks).guessed ==
              knn_guesses(train, test, options).guessed);
        CHECK(leave_one_out_accuracy(own(train), own(train), options, ranks) ==
              leave_one_out_accuracy(train, train, options));
      }
    }
  }

  TEST_CASE("densities and components are those of one process, in ties too") {
    Collectives& ranks = processes();
    for (const Tensor& x : {unit_rows(1100, 12), coarse_rows(90, 13), unit_rows(7, 14)}) {
      const int64_t n = x.size(0);
      const Shards shards(ranks, ranks.size());
      const RowRange own = shards.own_rows(n);
      const VectorSearch whole(x), parts(x.rows(own.begin, own.end), ranks);
      CHECK(parts.size() == n);
      CHECK(parts.first() == own.begin);
      CHECK(parts.rows(2, n - 1).to_vector<float>() == x.rows(2, n - 1).to_vector<float>());
      const Densities found = densities(parts, 2, 5), expected = densities(whole, 2, 5);
      CHECK(found.local == expected.local);
      CHECK(found.background == expected.background);

      const Components of_parts = nearest_neighbor_components(bank_of(x, shards)),
                       of_whole = nearest_neighbor_components(bank_of(x, {}));
      CHECK(of_parts.count == of_whole.count);
      CHECK(of_parts.labels.to_vector<int32_t>() ==
            of_whole.labels.rows(own.begin, own.end).to_vector<int32_t>());
    }
  }

  TEST_CASE("a linear readout is that of one process with as many shards, and goes on with other processes") {
    const Squares train(50, {4, 9}), test(150, {1, 70});
    const auto model = [] {
      Model m;
      m.module = make_network({.name = "resnet8-wide", .channels = 1, .image_size = 12, .dim = 8});
      initialize(*m.module, {.name = "resnet8-wide"}, 5);
      m.module->set_training(false);
      m.channels = 1;
      m.view = {.size = 12, .mean = {0.5f}, .stddev = {0.25f}};
      return m;
    };
    ReadoutOptions options{.stages = {"pixels", "layer1"}, .epochs = 4, .batch = 14, .ten_crop = true};
    std::vector<double> losses;
    int64_t steps = INT64_MAX;
    const ReadoutObserver observer{.wants_loss = [] { return true; },
                                   .step =
                                       [&](const ReadoutProgress& p) {
                                         losses.push_back(p.loss);
                                         return --steps > 0;
                                       }};
    const auto read_out = [&](const Shards& shards) {
      Model m = model();
      losses.clear();
      return linear_readout(m, train, test, options, observer, shards);
    };
    const std::vector<StageReadout> expected =
        read_out(Shards(alone(), twelve));  // some of which have no picture
    const std::vector<double> all_losses = losses;
    REQUIRE(expected.size() == 2);

    const auto check_alike = [&](const std::vector<StageReadout>& found) {
      REQUIRE(found.size() == 2);
      for (size_t i = 0; i < found.size(); ++i) {
        CHECK(found[i].one_crop.top1 == expected[i].one_crop.top1);
        CHECK(found[i].one_crop.top5 == expected[i].one_crop.top5);
        CHECK(found[i].ten_crop.top1 == expected[i].ten_crop.top1);
      }
    };
    check_alike(read_out(Shards(processes(), twelve)));
    CHECK(losses == all_losses);

    const CommonFolder folder;
    options.state = folder.path() + "/state.safetensors";
    if (processes().rank() == 0) {  // one process begins
      steps = 7;
      CHECK(read_out(Shards(alone(), twelve)).empty());
      steps = INT64_MAX;
    }
    processes().barrier("the first half");
    check_alike(read_out(Shards(processes(), twelve)));
    CHECK(losses == std::vector<double>(all_losses.begin() + 6, all_losses.end()));
  }
}
