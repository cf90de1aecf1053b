#include "layers/detection/losses.h"

#include "tensor/ops.h"

namespace la {
namespace {

Tensor rows(const std::vector<int32_t>& numbers, Device device) {
  return Tensor::from(numbers, {static_cast<int64_t>(numbers.size())}, device);
}

/// sum smooth_l1(t - t*) / count: t the codes [P, 4] of boxes that objects were matched with, t* those of the
/// objects. 0 without any.
Variable box_loss(const Variable& codes, const Tensor& boxes, const Tensor& objects, const BoxCoding& coding,
                  float sigma, size_t count) {
  const Tensor target = ops::encode_boxes(boxes, objects, coding).to(codes.value().device());
  return sum(smooth_l1(codes, target, sigma)) / static_cast<float>(count);
}

/// The first of the numbers, as many as there are matched objects.
std::vector<int32_t> matched(const std::vector<int32_t>& numbers, const std::vector<int32_t>& objects) {
  return {numbers.begin(), numbers.begin() + static_cast<int64_t>(objects.size())};
}

void add_anchor_losses(const AnchorOutputs& outputs, const AnchorTargets& targets, const ObjectBoxes& objects,
                       DetectionLosses& losses) {
  constexpr float sigma = 3;
  const Device device = outputs.scores.value().device();
  losses.anchor_class =
      cross_entropy(gather_rows(outputs.scores, rows(targets.anchors, device)), rows(targets.labels, device));
  const std::vector<int32_t> positive = matched(targets.anchors, targets.objects);
  losses.anchor_box = box_loss(
      gather_rows(outputs.codes, rows(positive, device)), ops::gather_rows(outputs.anchors, positive),
      ops::gather_rows(objects.boxes, targets.objects), anchor_coding, sigma, targets.anchors.size());
}

/// Of `boxes`, the chosen regions.
void add_region_losses(const RegionOutputs& outputs, const Tensor& boxes, const RegionTargets& targets,
                       const ObjectBoxes& objects, DetectionLosses& losses) {
  constexpr float sigma = 1;
  const Device device = outputs.scores.value().device();
  const int64_t classes = outputs.scores.shape()[1];  // the background and all categories
  std::vector<int32_t> labels(targets.proposals.size(), 0), code_rows;
  for (size_t i = 0; i < targets.objects.size(); ++i) {
    labels[i] = 1 + objects.labels[static_cast<size_t>(targets.objects[i])];
    code_rows.push_back(static_cast<int32_t>(static_cast<int64_t>(i) * classes + labels[i]));
  }
  losses.region_class = cross_entropy(outputs.scores, rows(labels, device));
  const auto foreground = static_cast<int64_t>(targets.objects.size());
  losses.region_box = box_loss(gather_rows(reshape(outputs.codes, {-1, 4}), rows(code_rows, device)),
                               boxes.rows(0, foreground), ops::gather_rows(objects.boxes, targets.objects),
                               region_coding, sigma, labels.size());
}

}  // namespace

DetectionLosses detection_losses(Detector& detector, const Tensor& pixels, int64_t height, int64_t width,
                                 const ObjectBoxes& objects, const DetectionLossOptions& options,
                                 const Choose& choose) {
  const Variable map = detector.map(Variable(pixels));
  const AnchorOutputs anchors = detector.score_anchors(map);
  if (!is_finite(anchors.scores.value().to(Device::cpu())))
    throw Diverged("the scores of anchors are not finite");
  const AnchorTargets anchor_targets =
      la::anchor_targets(anchors.anchors, objects, height, width, options.anchors, choose);
  const Tensor proposals = propose(anchors, height, width, options.proposals).to(Device::cpu());
  const RegionTargets region_targets = la::region_targets(proposals, objects, options.regions, choose);
  const Tensor boxes = ops::gather_rows(proposals, region_targets.proposals);

  DetectionLosses losses;
  add_anchor_losses(anchors, anchor_targets, objects, losses);
  add_region_losses(detector.score_regions(map, boxes.to(pixels.device())), boxes, region_targets, objects,
                    losses);
  return losses;
}

}  // namespace la
