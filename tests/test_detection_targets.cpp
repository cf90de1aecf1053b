// What anchors and regions shall say, beside plain loops.
#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "layers/detection/targets.h"
#include "tests/plain_boxes.h"

using namespace la;

namespace {

/// Boxes with corners on whole pixels in a picture of 100 x 80, so that overlaps are exact enough in f32 not to change
/// sides at a threshold.
Tensor random_boxes(int64_t count, uint64_t seed) {
  RandomGenerator random({seed, RandomStream::test, 5});
  std::vector<float> boxes;
  for (int64_t i = 0; i < count; ++i) {
    const auto x = static_cast<float>(random.below(85)) - 5, y = static_cast<float>(random.below(65)) - 5;
    const auto width = static_cast<float>(4 + random.below(16)),
               height = static_cast<float>(4 + random.below(16));
    boxes.insert(boxes.end(), {x, y, x + width, y + height});
  }
  return Tensor::from(boxes, {count, 4});
}

}  // namespace

TEST_CASE("targets of anchors are those of plain loops") {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    CAPTURE(seed);
    const Tensor anchors = random_boxes(400, 100 + seed);
    const ObjectBoxes objects{random_boxes(3, 200 + seed), {4, 0, 2}};
    const auto boxes = plain(anchors), found = plain(objects.boxes);
    constexpr int64_t height = 70, width = 90;
    const AnchorSampling sampling{.count = 40, .positive_overlap = 0.6f};

    std::vector<int32_t> positive, negative;
    const auto inside = [](const PlainBox& b) {
      return b[0] >= 0 && b[1] >= 0 && b[2] < width && b[3] < height;
    };
    for (int32_t a = 0; a < 400; ++a) {
      const PlainBox& box = boxes[static_cast<size_t>(a)];
      if (!inside(box)) continue;
      bool is_best = false, is_near = false, is_far = true;
      for (const PlainBox& object : found) {
        const double own = overlap(box, object);
        bool best = own > 0;
        for (const PlainBox& other : boxes) best = best && (!inside(other) || overlap(other, object) <= own);
        is_best = is_best || best;
        is_near = is_near || own >= 0.6;
        is_far = is_far && own < 0.3;
      }
      if (is_best || is_near)
        positive.push_back(a);
      else if (is_far)
        negative.push_back(a);
    }
    REQUIRE(!positive.empty());
    REQUIRE(negative.size() >= 40);
    if (positive.size() > 20) positive.resize(20);
    negative.resize(40 - positive.size());
    const AnchorTargets targets = anchor_targets(anchors, objects, height, width, sampling, choose_first);
    std::vector<int32_t> expected = positive;
    expected.insert(expected.end(), negative.begin(), negative.end());
    CHECK(targets.anchors == expected);
    CHECK(std::count(targets.labels.begin(), targets.labels.end(), 1) ==
          static_cast<int64_t>(positive.size()));
    REQUIRE(targets.objects.size() == positive.size());
    for (size_t i = 0; i < positive.size(); ++i)
      for (const PlainBox& object : found)
        CHECK(
            overlap(boxes[static_cast<size_t>(positive[i])], object) <=
            overlap(boxes[static_cast<size_t>(positive[i])], found[static_cast<size_t>(targets.objects[i])]));
  }
}

TEST_CASE("regions are as many as asked for, whatever there is") {
  const ObjectBoxes objects{Tensor::from(std::vector<float>{10, 10, 29, 29}, {1, 4}), {3}};
  const std::vector<float> on{10, 10, 29, 29}, half{10, 10, 29, 19}, off{50, 50, 59, 59};
  const auto targets_of = [&](const std::vector<std::vector<float>>& boxes) {
    std::vector<float> all;
    for (const auto& box : boxes) all.insert(all.end(), box.begin(), box.end());
    return region_targets(Tensor::from(all, {static_cast<int64_t>(boxes.size()), 4}), objects, {.count = 8},
                          choose_first);
  };
  const RegionTargets both = targets_of({off, on, half, on, off});  // half of a box overlaps by 0.5 exactly
  CHECK(both.proposals == std::vector<int32_t>{1, 2, 0, 4, 0, 4, 0, 4});
  CHECK(both.objects == std::vector<int32_t>{0, 0});
  const RegionTargets foreground = targets_of({on, half, on});
  CHECK(foreground.proposals == std::vector<int32_t>{0, 1, 2, 0, 1, 2, 0, 1});
  CHECK(foreground.objects.size() == 8);
  const RegionTargets background = targets_of({off, off});
  CHECK(background.proposals == std::vector<int32_t>{0, 1, 0, 1, 0, 1, 0, 1});
  CHECK(background.objects.empty());
}

TEST_CASE("chance chooses each equally often, and twice only where it must") {
  RandomGenerator random({1, RandomStream::test, 0});
  const Choose choose = choose_randomly(random);
  std::vector<int32_t> from(10);
  std::iota(from.begin(), from.end(), 5);
  std::map<int32_t, int> times;
  constexpr int draws = 3000;
  for (int i = 0; i < draws; ++i) {
    const auto chosen = choose(from, 4);
    CHECK(std::set<int32_t>(chosen.begin(), chosen.end()).size() == 4);
    for (int32_t c : chosen) ++times[c];
  }
  CHECK(times.size() == 10);
  // Each is in a draw with probability 0.4: five standard deviations.
  for (const auto& [number, count] : times)
    CHECK(std::abs(count - 0.4 * draws) < 5 * std::sqrt(0.24 * draws));
  const auto more = choose({1, 2}, 50);
  CHECK(more.size() == 50);
  CHECK(std::set<int32_t>(more.begin(), more.end()) == std::set<int32_t>{1, 2});
}
