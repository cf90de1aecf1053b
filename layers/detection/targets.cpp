#include "layers/detection/targets.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "layers/detection/anchors.h"
#include "tensor/ops.h"

namespace la {
namespace {

/// Of each box the object with which it overlaps most, the first of equal ones, and by how much.
struct Matches {
  std::vector<int32_t> objects;
  std::vector<float> overlaps;
};

Matches best_of_rows(const float* overlaps, int64_t rows, int64_t columns) {
  Matches matches;
  for (int64_t r = 0; r < rows; ++r, overlaps += columns) {
    const float* const best = std::max_element(overlaps, overlaps + columns);
    matches.objects.push_back(static_cast<int32_t>(best - overlaps));
    matches.overlaps.push_back(*best);
  }
  return matches;
}

/// [rows of boxes, G].
Tensor overlaps_of(const Tensor& boxes, const ObjectBoxes& objects) {
  check(!objects.labels.empty(), "detection: a picture without objects has no targets");
  return ops::box_iou(boxes, objects.boxes, last_pixel_extent);
}

std::vector<int32_t> rows_inside(const Tensor& anchors, int64_t height, int64_t width) {
  std::vector<int32_t> rows;
  const auto* box = anchors.data<float>();
  for (int32_t row = 0; row < anchors.size(0); ++row, box += 4)
    if (box[0] >= 0 && box[1] >= 0 && box[2] < static_cast<float>(width) &&
        box[3] < static_cast<float>(height))
      rows.push_back(row);
  return rows;
}

std::vector<int32_t> at_most(std::vector<int32_t> from, int64_t count, const Choose& choose) {
  return static_cast<int64_t>(from.size()) > count ? choose(std::move(from), count) : from;
}

/// The largest overlap that an object has with any of the boxes; overlaps [rows, G].
std::vector<float> best_of_objects(const float* overlaps, int64_t rows, int64_t columns) {
  std::vector<float> best(static_cast<size_t>(columns), 0.0f);
  for (int64_t r = 0; r < rows; ++r)
    for (size_t g = 0; g < best.size(); ++g, ++overlaps) best[g] = std::max(best[g], *overlaps);
  return best;
}

bool is_best_of_any(const float* overlaps, const std::vector<float>& best) {
  for (size_t g = 0; g < best.size(); ++g)
    if (best[g] > 0 && overlaps[g] == best[g]) return true;
  return false;
}

}  // namespace

Choose choose_randomly(RandomGenerator& random) {
  return [&random](std::vector<int32_t> from, int64_t count) {
    const auto available = static_cast<uint32_t>(from.size());
    std::vector<int32_t> chosen;
    for (uint32_t i = 0; i < count; ++i) {
      if (count <= available) std::swap(from[i], from[i + random.below(available - i)]);
      chosen.push_back(count <= available ? from[i] : from[random.below(available)]);
    }
    return chosen;
  };
}

AnchorTargets anchor_targets(const Tensor& anchors, const ObjectBoxes& objects, int64_t height, int64_t width,
                             const AnchorSampling& sampling, const Choose& choose) {
  const std::vector<int32_t> inside = rows_inside(anchors, height, width);
  const auto count = static_cast<int64_t>(inside.size());
  check(count > 0, "no anchor lies within a picture of {} x {} pixels: smaller `anchor_scales` are needed",
        width, height);
  const Tensor candidates = ops::gather_rows(anchors, inside);
  const Tensor overlaps = overlaps_of(candidates, objects);
  const auto* const all = overlaps.data<float>();
  const int64_t columns = overlaps.size(1);
  const Matches matches = best_of_rows(all, count, columns);
  const std::vector<float> best = best_of_objects(all, count, columns);

  std::vector<int32_t> positive, negative;  // places in `inside`
  for (int32_t i = 0; i < count; ++i) {
    const float overlap = matches.overlaps[static_cast<size_t>(i)];
    if (overlap >= sampling.positive_overlap || is_best_of_any(all + i * columns, best))
      positive.push_back(i);
    else if (overlap < sampling.negative_overlap)
      negative.push_back(i);
  }
  const auto most = static_cast<int64_t>(sampling.positive_share * static_cast<float>(sampling.count));
  positive = at_most(std::move(positive), most, choose);
  negative = at_most(std::move(negative), sampling.count - static_cast<int64_t>(positive.size()), choose);

  AnchorTargets targets;
  for (const int32_t i : positive) {
    targets.anchors.push_back(inside[static_cast<size_t>(i)]);
    targets.objects.push_back(matches.objects[static_cast<size_t>(i)]);
  }
  for (const int32_t i : negative) targets.anchors.push_back(inside[static_cast<size_t>(i)]);
  targets.labels.assign(targets.anchors.size(), 0);
  std::fill_n(targets.labels.begin(), positive.size(), 1);
  return targets;
}

RegionTargets region_targets(const Tensor& proposals, const ObjectBoxes& objects,
                             const RegionSampling& sampling, const Choose& choose) {
  const Tensor overlaps = overlaps_of(proposals, objects);
  const Matches matches = best_of_rows(overlaps.data<float>(), overlaps.size(0), overlaps.size(1));
  std::vector<int32_t> foreground, background;
  for (int32_t i = 0; i < proposals.size(0); ++i)
    (matches.overlaps[static_cast<size_t>(i)] >= sampling.foreground_overlap ? foreground : background)
        .push_back(i);
  check(!foreground.empty() || !background.empty(), "detection: a picture without proposals has no targets");

  const auto wanted =
      static_cast<int64_t>(std::nearbyint(sampling.foreground_share * static_cast<float>(sampling.count)));
  if (background.empty())
    foreground = choose(std::move(foreground), sampling.count);
  else
    foreground = at_most(std::move(foreground), wanted, choose);
  const int64_t left = sampling.count - static_cast<int64_t>(foreground.size());
  if (left > 0) background = choose(std::move(background), left);

  RegionTargets targets{foreground, {}};
  for (const int32_t i : foreground) targets.objects.push_back(matches.objects[static_cast<size_t>(i)]);
  if (left > 0) targets.proposals.insert(targets.proposals.end(), background.begin(), background.end());
  return targets;
}

}  // namespace la
