// The health of embeddings, against plain loops; and what is said of trainings that collapse.
#include "evaluation/health.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>
#include <sstream>

#include "apps/run/collapse.h"
#include "evaluation/knn.h"
#include "evaluation/sample.h"
#include "la/neighborhoods.h"
#include "la/trainer.h"
#include "tensor/io/files.h"
#include "tests/called_program.h"
#include "tests/idx_files.h"
#include "tests/sharded.h"
#include "tests/tiny_training.h"

using namespace la;

namespace {

/// Rows of the identity matrix [dim, dim].
Tensor axes(const std::vector<int>& numbers, int64_t dim_of_space) {
  const auto n = std::ssize(numbers);
  const Tensor x = Tensor::zeros({n, dim_of_space});
  for (int64_t i = 0; i < n; ++i) x.data<float>()[i * dim_of_space + numbers[static_cast<size_t>(i)]] = 1;
  return x;
}

double product(const Tensor& x, int64_t i, int64_t j) {
  double sum = 0;
  for (int64_t d = 0; d < x.size(1); ++d)
    sum += static_cast<double>(x.data<float>()[i * x.size(1) + d]) * x.data<float>()[j * x.size(1) + d];
  return sum;
}

double mean_similarity(const Tensor& x) {
  double sum = 0;
  for (int64_t i = 0; i < x.size(0); ++i)
    for (int64_t j = 0; j < x.size(0); ++j) sum += i == j ? 0 : product(x, i, j);
  return sum / static_cast<double>(x.size(0) * (x.size(0) - 1));
}

/// exp of the entropy of shares.
double exp_entropy(std::vector<double> values) {
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  double entropy = 0;
  for (const double v : values) entropy -= v > 0 ? v / sum * std::log(v / sum) : 0;
  return std::exp(entropy);
}

/// Of rows in the plane, whose matrix of products [[a, b], [b, c]] has the eigenvalues (a + c) / 2 +- sqrt((a - c)^2 / 4 + b^2).
double rank_in_plane(const Tensor& x) {
  double a = 0, b = 0, c = 0;
  for (int64_t i = 0; i < x.size(0); ++i) {
    const double u = x.data<float>()[2 * i], v = x.data<float>()[2 * i + 1];
    a += u * u, b += u * v, c += v * v;
  }
  const double middle = (a + c) / 2, half = std::sqrt((a - c) * (a - c) / 4 + b * b);
  return exp_entropy({std::sqrt(middle + half), std::sqrt(middle - half)});
}

/// Each picture's nearest others by a plain sort, and which of them share a cluster or a label with it.
Neighborhoods plain_neighborhoods(const Tensor& x, const std::vector<std::vector<int32_t>>& clusterings,
                                  const std::vector<int32_t>& labels, const std::vector<int32_t>& pictures,
                                  int64_t k) {
  double background = 0, close = 0, known = 0, same = 0, known_close = 0, same_close = 0;
  for (const int32_t i : pictures) {
    std::vector<int32_t> others;
    for (int32_t j = 0; j < x.size(0); ++j)
      if (j != i) others.push_back(j);
    std::sort(others.begin(), others.end(),
              [&](int32_t a, int32_t b) { return product(x, i, a) > product(x, i, b); });
    others.resize(static_cast<size_t>(k - 1));
    for (const int32_t j : others) {
      const bool shares =
          std::any_of(clusterings.begin(), clusterings.end(), [&](const auto& of) { return of[i] == of[j]; });
      const bool knows = labels[i] >= 0 && labels[j] >= 0, is_same = knows && labels[i] == labels[j];
      background += 1, known += knows, same += is_same;
      if (shares) close += 1, known_close += knows, same_close += is_same;
    }
  }
  const auto n = static_cast<double>(pictures.size());
  return {background / n, close / n, same / known, same_close / known_close};
}

/// The rows of an [N, H] table, from its columns.
Tensor table_of(const std::vector<std::vector<int32_t>>& columns, const RowRange& rows) {
  const Tensor table({rows.size(), std::ssize(columns)}, DType::i32);
  for (int64_t i = 0; i < rows.size(); ++i)
    for (size_t h = 0; h < columns.size(); ++h)
      table.data<int32_t>()[i * std::ssize(columns) + static_cast<int64_t>(h)] =
          columns[h][static_cast<size_t>(rows.begin + i)];
  return table;
}

void check_same(const Neighborhoods& found, const Neighborhoods& expected) {
  CHECK(found.background == expected.background);
  CHECK(found.close == expected.close);
  CHECK(found.background_same_label == expected.background_same_label);
  CHECK(found.close_same_label == expected.close_same_label);
}

std::unique_ptr<Trainer> trainer_of(const Dataset& pictures, const Shards& shards = {}) {
  Config config = tiny_training();
  choose_defaults(config, pictures.size());
  return std::make_unique<Trainer>(config, pictures, augmentation_for(config, pictures), Device::cpu(),
                                   shards);
}

}  // namespace

TEST_CASE("health: the effective rank is the number of directions, whatever they are") {
  CHECK(spread_of(axes({0, 1, 2, 3, 4}, 5)).effective_rank == doctest::Approx(5));
  CHECK(spread_of(axes({0, 1, 2, 3, 4, 4, 3, 2, 1, 0}, 5)).effective_rank == doctest::Approx(5));
  CHECK(spread_of(axes({1, 3}, 5)).effective_rank == doctest::Approx(2));
  // Nine and one: singular values 3 and 1.
  CHECK(spread_of(axes({0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 5)).effective_rank ==
        doctest::Approx(exp_entropy({3, 1})));
  CHECK(spread_of(Tensor::zeros({4, 3})).effective_rank == 0);
  const Tensor one = unit_rows(1, 3), same({500, dim});
  for (int64_t i = 0; i < 500; ++i) ops::copy_into(same.rows(i, i + 1), one);
  // Eigenvalues that are 0 are found with an error of some 1e-16 of the largest, which is 1e-8 of the largest singular value.
  CHECK(spread_of(same).effective_rank == doctest::Approx(1).epsilon(1e-5));
  CHECK(spread_of(same).mean_similarity == doctest::Approx(1).epsilon(1e-6));
  CHECK(spread_of(one).mean_similarity == 0);
}

TEST_CASE("health: rank and mean similarity are those of plain loops") {
  const Tensor x = unit_rows(60, 4);
  CHECK(spread_of(x).mean_similarity == doctest::Approx(mean_similarity(x)).epsilon(1e-9));
  const Tensor plane =
      ops::l2_normalize(ops::add_bias(ops::random_normal({200, 2}, {.seed = 5}), axes({0}, 2).reshape({2})))
          .y;
  const Spread spread = spread_of(plane);
  CHECK(spread.effective_rank == doctest::Approx(rank_in_plane(plane)).epsilon(1e-9));
  CHECK(spread.mean_similarity == doctest::Approx(mean_similarity(plane)).epsilon(1e-9));

  // Of many, an even sample.
  const int64_t many = most_spread_vectors + 1000;
  const Tensor long_table = ops::l2_normalize(ops::random_normal({many, 2}, {.seed = 6})).y;
  const std::vector<int32_t> numbers = evenly_spread(many, most_spread_vectors);
  CHECK(std::ssize(numbers) == most_spread_vectors);
  const Tensor sample = ops::gather_rows(long_table, Tensor::from(numbers, {most_spread_vectors}));
  CHECK(spread_of(long_table).effective_rank == doctest::Approx(rank_in_plane(sample)).epsilon(1e-9));
}

TEST_CASE("health: sizes of clusters") {
  CHECK(cluster_sizes({{5, 5, 5}}).entropy == doctest::Approx(1));
  CHECK(cluster_sizes({{15, 0, 0}}).entropy == 0);
  CHECK(cluster_sizes({{15}}).entropy == 1);
  const ClusterSizes both = cluster_sizes({{9, 1}, {2, 3, 5, 0}});
  const double first = std::log(exp_entropy({9, 1})) / std::log(2),
               second = std::log(exp_entropy({2, 3, 5})) / std::log(4);
  CHECK(both.entropy == doctest::Approx((first + second) / 2));
  CHECK(both.smallest == 0);
  CHECK(both.median == 2);  // of 0, 1, 2, 3, 5, 9
  CHECK(both.largest == 9);
  CHECK_THROWS_WITH_AS(cluster_sizes({}), doctest::Contains("there are none"), Error);
}

TEST_CASE("health: a vector has moved if its angle is large") {
  const std::vector<float> angles{0.0f, 0.4f, 0.5f, 3.1f};  // arccos 0.9 is 0.451
  const Tensor before = axes({0, 0, 0, 0}, 2), after({4, 2});
  for (size_t i = 0; i < angles.size(); ++i) {
    after.data<float>()[2 * i] = std::cos(angles[i]);
    after.data<float>()[2 * i + 1] = std::sin(angles[i]);
  }
  CHECK(moved_share(before, after) == 0.5);
  CHECK(moved_share(after, after) == 0);
  CHECK_THROWS_WITH_AS(moved_share(before, unit_rows(4, 1)), doctest::Contains("that were of shape"), Error);
}

TEST_CASE("health: what moves is measured from the last time on, also in a run that goes on") {
  const Squares pictures(40);
  const auto one = trainer_of(pictures), other = trainer_of(pictures);
  const std::vector<int32_t> labels = labels_of(pictures);
  CHECK_FALSE(one->bank_health(labels).moved);
  CHECK(*one->bank_health(labels).moved == 0);
  train(*one, 3);
  other->restore(in_memory(one->state()));
  for (Trainer* trainer : {one.get(), other.get()}) train(*trainer, 12);
  const BankHealth of_one = one->bank_health(labels), of_other = other->bank_health(labels);
  CHECK(*of_one.moved > 0);
  CHECK(of_one.moved == of_other.moved);
  CHECK(of_one.spread.effective_rank == of_other.spread.effective_rank);
  CHECK(of_one.neighborhoods.close == of_other.neighborhoods.close);
}

TEST_SUITE("processes") {
  TEST_CASE("health: neighborhoods are those of plain loops, and the spread is that of one process") {
    constexpr int64_t n = 90, k = 20;
    const Tensor x = unit_rows(n, 8);
    std::vector<std::vector<int32_t>> clusterings(2);
    std::vector<int32_t> labels;
    for (int64_t i = 0; i < n; ++i) {
      clusterings[0].push_back(static_cast<int32_t>(i % 7));
      clusterings[1].push_back(static_cast<int32_t>(i * i % 5));
      labels.push_back(i % 9 == 8 ? -1 : static_cast<int32_t>(i % 3));
    }
    const std::vector<int32_t> pictures = evenly_spread(n, 31);
    const Neighborhoods expected = plain_neighborhoods(x, clusterings, labels, pictures, k);
    for (const int64_t count : {int64_t{processes().size()}, twelve}) {
      const MemoryBank bank = bank_of(x, Shards(processes(), count));
      const RowRange own = bank.rows().range();
      NeighborCounts counts(bank, {labels.begin() + own.begin, labels.begin() + own.end});
      for (const auto& [begin, end] : {std::pair{0, 10}, {10, 31}}) {
        const std::vector<int32_t> some(pictures.begin() + begin, pictures.begin() + end);
        const Tensor indices = Tensor::from(some, {std::ssize(some)});
        const Background background = background_neighbors(bank, ops::gather_rows(x, indices), indices, k);
        counts.add(some, background,
                   close_by_clusters(bank, table_of(clusterings, own), indices, background));
      }
      check_same(counts.result(), expected);
      const Spread spread = spread_of(bank.rows()), whole = spread_of(x);
      CHECK(spread.effective_rank == whole.effective_rank);
      CHECK(spread.mean_similarity == whole.mean_similarity);
    }
  }

  TEST_CASE("health: that of a training by several processes is that of one") {
    const Squares pictures(50, {7});
    const auto health_of = [&](Collectives& ranks) {
      const Shards shards(ranks, twelve);
      const auto trainer = trainer_of(pictures, shards);
      trainer->remember_bank();
      train(*trainer, 14);
      return trainer->bank_health(own_labels(pictures, shards));
    };
    const BankHealth found = health_of(processes()), expected = health_of(alone());
    CHECK(found.spread.effective_rank == expected.spread.effective_rank);
    CHECK(found.spread.mean_similarity == expected.spread.mean_similarity);
    CHECK(found.moved == expected.moved);
    check_same(found.neighborhoods, expected.neighborhoods);
  }
}

TEST_CASE("collapse: each kind is said in words, and a healthy state is not") {
  CHECK(collapse_of(Spread{60, 0.1}, 128).empty());
  CHECK(collapse_of(Spread{2, 0.1}, 2).empty());
  CHECK(collapse_of(Spread{1.5, 0.997}, 128).find("effective rank 1.5 of 128") != std::string::npos);
  CHECK(collapse_of(Spread{60, 0.9}, 128).find("mean similarity of two pictures 0.900") != std::string::npos);
  CHECK(collapse_of(ClusterSizes{.largest = 80}, 5000).empty());
  CHECK(collapse_of(ClusterSizes{.largest = 4990}, 5000).find("one has 4990 of 5000") != std::string::npos);
  CHECK(collapse_of(Neighborhoods{.background = 63}).empty());
  CHECK(collapse_of(Neighborhoods{.background = 63, .close = 22.0}).empty());
  CHECK(collapse_of(Neighborhoods{.background = 63, .close = 62.5}).find("62.5 are close") !=
        std::string::npos);
  CHECK(collapse_of(8.5, 10000).empty());
  CHECK(collapse_of(9.22, 10000).find("has learnt nothing") != std::string::npos);
}

namespace {

/// Squares of four kinds, or all of the same, as IDX files.
void write_squares(const std::string& folder, int count, bool all_same) {
  constexpr int side = 12;
  RandomGenerator random({.seed = 1});
  std::vector<uint8_t> pixels, labels;
  for (int i = 0; i < count; ++i) {
    for (int p = 0; p < side * side; ++p)
      pixels.push_back(all_same ? static_cast<uint8_t>(p)
                                : static_cast<uint8_t>(i % 4 * 50 + (p / 3) % 2 * 40 +
                                                       static_cast<int>(random.below(60))));
    labels.push_back(static_cast<uint8_t>(i % 4));
  }
  write_idx(folder, "train", side, side, pixels, labels);
}

/// The lines of metrics.jsonl that have a field.
std::vector<nlohmann::json> lines_with(const std::string& run, const char* field) {
  std::vector<nlohmann::json> lines;
  std::istringstream text(read_file(run + "/metrics.jsonl"));
  for (std::string line; std::getline(text, line);)
    if (const auto object = nlohmann::json::parse(line); object.contains(field)) lines.push_back(object);
  return lines;
}

int64_t count_of(const std::string& text, const std::string& words) {
  int64_t count = 0;
  for (size_t at = text.find(words); at != std::string::npos; at = text.find(words, at + 1)) ++count;
  return count;
}

}  // namespace

TEST_CASE("collapse: a training on pictures that are all the same is told of once, a healthy one is not") {
  const TemporaryFolder folder;
  const auto train_on = [&](bool all_same, const std::string& run) {
    write_squares(folder.path(), 240, all_same);
    return call(
        formatted("la_train --data {} --run {} --network resnet8-wide --head linear-bn --dim 16 --batch 8 "
                  "--epochs 4 --warm-start-epochs 2 --clusters 12 --background 40 --ir-loss softmax "
                  "--temperature 0.1 --bank-init forward --bank-refresh --flip 0 --jitter 0 --grayscale 0 "
                  "--crop-min-area 1 --crop-max-aspect 1 --learning-rate 0.05 --device cpu --threads 1 "
                  "--precision f32",
                  folder.path(), folder.file(run)));
  };
  const Called healthy = train_on(false, "healthy");
  CHECK_MESSAGE(healthy.status == 0, healthy.output);
  CHECK_MESSAGE(!healthy.says("warning: "), healthy.output);
  const auto evaluations = lines_with(folder.file("healthy"), "effective_rank");
  REQUIRE(evaluations.size() == 3);  // at the start, after the warm start, and in the end
  for (const auto& line : evaluations) CHECK(line.contains("knn200"));
  CHECK_FALSE(evaluations[0].contains("bank_moved"));
  CHECK(evaluations[1]["bank_moved"] > 0.9);  // from random vectors
  CHECK_FALSE(evaluations[1].contains("close_neighbors"));
  CHECK(evaluations[2]["close_neighbors"] > 0);
  CHECK(lines_with(folder.file("healthy"), "cluster_entropy").size() == 2);
  REQUIRE(call(formatted("la_train --resume --run {}", folder.file("healthy"))).status == 0);
  CHECK(lines_with(folder.file("healthy"), "effective_rank") == evaluations);

  const Called collapsed = train_on(true, "collapsed");
  CHECK_MESSAGE(collapsed.status == 0, collapsed.output);
  CHECK_MESSAGE(count_of(collapsed.output, "warning: the embeddings have collapsed: effective rank") == 1,
                collapsed.output);
  CHECK(count_of(collapsed.output, "lower --learning-rate") >= 1);
  CHECK(read_file(folder.file("collapsed/log.txt")).find("the embeddings have collapsed") !=
        std::string::npos);
}

TEST_CASE("health: it is told without labels too, and not where there is no bank") {
  const TemporaryFolder folder;
  write_squares(folder.path(), 48, false);
  const std::string settings = formatted(
      "la_train --network resnet8-wide --dim 8 --batch 8 --epochs 2 --warm-start-epochs 1 --clusters 4 "
      "--background "
      "16 --ir-loss softmax --device cpu --threads 1 --data {}",
      folder.path());
  const Called supervised = call(settings + " --supervised --run " + folder.file("supervised"));
  CHECK_MESSAGE(supervised.status == 0, supervised.output);
  CHECK(lines_with(folder.file("supervised"), "effective_rank").empty());
  std::filesystem::remove(folder.file("train-labels-idx1-ubyte"));
  const Called unlabeled_run = call(settings + " --run " + folder.file("unlabeled"));
  CHECK_MESSAGE(unlabeled_run.status == 0, unlabeled_run.output);
  CHECK_FALSE(unlabeled_run.says("warning"));
  const auto lines = lines_with(folder.file("unlabeled"), "effective_rank");
  CHECK(lines.size() == 3);
  for (const auto& line : lines) {
    CHECK_FALSE(line.contains("knn200"));
    CHECK_FALSE(line.contains("background_same_label"));
    CHECK(line["background_neighbors"] == 15);
  }
}
