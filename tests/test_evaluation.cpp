// kNN votes by hand, and data of which only a part has labels.
#include <doctest/doctest.h>

#include <cmath>

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

}  // namespace la
