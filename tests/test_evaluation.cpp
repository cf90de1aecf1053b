// kNN votes by hand, and data of which only a part has labels.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "evaluation/density.h"
#include "evaluation/knn.h"
#include "tensor/ops.h"

namespace la {
namespace {

/// Unit vectors of the plane at the given angles, in degrees.
Tensor at_angles(const std::vector<float>& degrees) {
  std::vector<float> xy;
  for (const float d : degrees) {
    xy.push_back(std::cos(d * 0.0174532925f));
    xy.push_back(std::sin(d * 0.0174532925f));
  }
  return Tensor::from(xy, {static_cast<int64_t>(degrees.size()), 2});
}

}  // namespace

TEST_CASE("kNN: the nearest vote with weight exp(similarity / temperature)") {
  const LabeledVectors train{at_angles({0, 40, 44}), {0, 1, 1}};
  // At 15 degrees the similarities are 0.966, 0.906, 0.875: cold, the nearest wins; hot, the majority.
  const LabeledVectors test{at_angles({15}), {0}};
  CHECK(knn_accuracy(train, test, {.neighbors = 3, .temperature = 0.05f}) == 1.0);
  CHECK(knn_accuracy(train, test, {.neighbors = 3, .temperature = 1.0f}) == 0.0);
  CHECK(knn_accuracy(train, test, {.neighbors = 1, .temperature = 1.0f}) == 1.0);
  CHECK(knn_accuracy(train, test, {.neighbors = 200, .temperature = 1.0f}) == 0.0);  // no more than there are
}

TEST_CASE("kNN: leave-one-out, nobody votes for himself") {
  // Nearest others: 0 <-> 10 (other label), 50 -> 44, 44 -> 50 (same label); the fifth has none.
  const LabeledVectors all{at_angles({0, 10, 44, 50, 1}), {0, 1, 1, 1, unlabeled}};
  CHECK(leave_one_out_accuracy(all, all, {.neighbors = 1}) == 0.5);
  // Hot, the majority of all others: 1 for each.
  CHECK(leave_one_out_accuracy(all, all, {.neighbors = 200, .temperature = 100}) == 0.75);
  // Equal vectors: which of them is oneself is told by the row, not by the similarity. The first asks 1 and
  // 1, the others 0 and 1, a tie that goes to 0.
  const LabeledVectors twins{at_angles({0, 0, 0}), {0, 1, 1}};
  CHECK(leave_one_out_accuracy(twins, twins, {.neighbors = 2}) == 0.0);
  CHECK_THROWS_AS(leave_one_out_accuracy({at_angles({0}), {1}}, {at_angles({0}), {1}}, {}), Error);
  CHECK_THROWS_AS(leave_one_out_accuracy(all, twins, {}), Error);
}

TEST_CASE("kNN: vectors without a label take no part") {
  const LabeledVectors train{at_angles({0, 10, 90}), {unlabeled, 3, 1}};
  const LabeledVectors test{at_angles({1, 80, 45}), {3, 1, unlabeled}};
  CHECK(knn_accuracy(train, test, {.neighbors = 1}) == 1.0);
  CHECK_THROWS_AS(knn_accuracy({at_angles({0}), {unlabeled}}, test, {}), Error);
}

TEST_CASE("evaluation: pictures without a label change nothing") {
  // Black-white patterns of 2 x 2; the third training picture is like the test picture, but has no label.
  const auto pictures = [](const std::vector<uint8_t>& pixels) {
    return Tensor::from(pixels, {static_cast<int64_t>(pixels.size()) / 4, 2, 2, 1});
  };
  const PictureArray train(pictures({255, 0, 0, 0, 255, 255, 255, 0, 0, 0, 255, 255}), {0, 1, unlabeled});
  const PictureArray without(pictures({255, 0, 0, 0, 255, 255, 255, 0}), {0, 1});
  const PictureArray test(pictures({0, 0, 255, 255}), {1});
  const AugmentationOptions view{.size = 2, .mean = {0.5f}, .stddev = {0.5f}};
  const Evaluator evaluator(&train, &test, view, DType::f32);
  REQUIRE(evaluator.available());
  CHECK(evaluator.pixel_protocol().find("k=2,") != std::string::npos);
  CHECK(evaluator.pixel_accuracy() == Evaluator(&without, &test, view, DType::f32).pixel_accuracy());
}

TEST_CASE("density: the mean similarity to the nearest others") {
  constexpr int64_t n = 60, dim = 5, local = 4, background = 20;
  const Tensor vectors = ops::l2_normalize(ops::random_normal({n, dim}, {.seed = 4})).y;
  const Densities got = densities(vectors, local, background);
  const auto v = vectors.to_vector<float>();
  for (size_t i = 0; i < n; ++i) {
    std::vector<double> similarities;
    for (size_t j = 0; j < n; ++j) {
      double dot = 0;
      for (size_t d = 0; d < dim; ++d) dot += static_cast<double>(v[i * dim + d]) * v[j * dim + d];
      if (j != i) similarities.push_back(dot);
    }
    std::sort(similarities.begin(), similarities.end(), std::greater());
    const auto mean = [&](int64_t count) {
      return std::accumulate(similarities.begin(), similarities.begin() + count, 0.0) /
             static_cast<double>(count);
    };
    CHECK(std::abs(got.local[i] - mean(local)) < dim * 0x1p-24);
    CHECK(std::abs(got.background[i] - mean(background)) < dim * 0x1p-24);
  }
  CHECK_THROWS_WITH_AS(densities(vectors, 4, 60), doctest::Contains("4 and 60 of 60"), Error);
  // Twins are others too.
  const std::vector<double> local_of_twins = densities(at_angles({0, 0, 90}), 1, 1).local;
  CHECK(local_of_twins[0] == 1);
  CHECK(local_of_twins[1] == 1);
}

TEST_CASE("density: histograms and categories") {
  CHECK(histogram({-1, -0.51, -0.49, 0, 0.99, 1, 1.0000001}, 4) == std::vector<int64_t>{2, 1, 1, 3});
  const Densities d{.local = {0.5, 0.7, 0.1, 0.9}, .background = {0.1, 0.3, 0.0, 0.2}};
  const Guesses guesses{.labels = {2, 5, 2, 9}, .guessed = {2, 7, 5, 9}};
  CHECK(guesses.accuracy() == 0.5);
  CHECK(guesses.confusion()[2] == std::vector<int64_t>{0, 0, 1, 0, 0, 1, 0, 0, 0, 0});
  CHECK(guesses.confusion()[5] == std::vector<int64_t>{0, 0, 0, 0, 0, 0, 0, 1, 0, 0});
  const auto categories = density_by_category(d, {2, 2, 5, 7}, guesses);
  REQUIRE(categories.size() == 2);  // 7 has no test picture, 9 no training picture
  CHECK(categories[0].label == 2);
  CHECK(categories[0].local == doctest::Approx(0.6));
  CHECK(categories[0].background == doctest::Approx(0.2));
  CHECK(categories[0].accuracy == 0.5);
  CHECK(categories[1].label == 5);
  CHECK(categories[1].accuracy == 0.0);
  CHECK(correlation({1, 2, 3}, {2, 4, 7}) == doctest::Approx(0.99339926779878));  // 5 / sqrt(2 * 38 / 3)
  CHECK(correlation({1, 2, 3}, {4, 4, 4}) == 0);
}

}  // namespace la
