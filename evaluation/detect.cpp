#include "evaluation/detect.h"

#include <algorithm>

#include "tensor/format.h"
#include "tensor/ops.h"

namespace la {
namespace {

/// What the detector says of its proposals in a picture, in host memory.
struct Answers {
  Tensor probabilities;  // [R, 1 + categories]
  Tensor boxes;          // [R, 4 (1 + categories)], in pixels of the picture itself
};

Answers ask(const TrainedDetector& detector, const Picture& picture, const ProposalOptions& options) {
  const NoGrad no_grad;
  Detector& module = *detector.module;
  const DetectorInput input = make_detector_input(picture, detector.view, module.network().layout());
  const Variable map = module.map(Variable(ops::cast(input.pixels.to(module.device()), detector.dtype)));
  const Tensor proposals = propose(module.score_anchors(map), input.height, input.width, options);
  const RegionOutputs outputs = module.score_regions(map, proposals);
  const Tensor boxes =
      ops::decode_boxes(ops::scale(proposals, 1 / input.scale), outputs.codes.value(), region_coding);
  const Tensor inside =
      ops::clip_boxes(boxes, static_cast<float>(picture.width - 1), static_cast<float>(picture.height - 1));
  return {ops::softmax(outputs.scores.value()).to(Device::cpu()), inside.to(Device::cpu())};
}

}  // namespace

std::vector<Detection> find_objects(const TrainedDetector& detector, const Picture& picture, int64_t number,
                                    const FindOptions& options) {
  const Answers answers = ask(detector, picture, options.proposals);
  std::vector<Detection> found;
  for (int category = 0; category < detector.options.categories; ++category) {
    const int64_t answer = category + 1;  // 0 is the background
    const Tensor boxes = ops::slice(answers.boxes, 1, 4 * answer, 4 * answer + 4);
    const Tensor scores = ops::slice(answers.probabilities, 1, answer, answer + 1).reshape({-1});
    const KeptBoxes kept =
        ops::nms(boxes, scores,
                 {.iou_threshold = options.iou_threshold, .most = options.most, .extent = last_pixel_extent});
    for (const int32_t i : kept.indices.to_vector<int32_t>()) {
      const bool last =
          i < 0 || scores.data<float>()[i] <= 0 || scores.data<float>()[i] < options.least_score;
      if (last) break;
      const float* const b = boxes.data<float>() + int64_t{4} * i;
      found.push_back({number, category, scores.data<float>()[i], {b[0], b[1], b[2] + 1, b[3] + 1}});
    }
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const Detection& a, const Detection& b) { return a.score > b.score; });
  if (static_cast<int64_t>(found.size()) > options.most) found.resize(static_cast<size_t>(options.most));
  return found;
}

std::vector<Detection> find_objects(const TrainedDetector& detector, const DetectionData& data,
                                    const FindOptions& options,
                                    const std::function<void(const std::string& line)>& bad,
                                    const ProgressCallback& progress) {
  std::vector<Detection> all;
  const auto count = static_cast<int64_t>(data.pictures.size());
  for (int64_t i = 0; i < count; ++i) {
    const AnnotatedPicture& annotated = data.pictures[static_cast<size_t>(i)];
    try {
      const Picture picture = read_annotated(annotated, detector.decode_options());
      const std::vector<Detection> found = find_objects(detector, picture, i, options);
      all.insert(all.end(), found.begin(), found.end());
    } catch (const Error& error) {
      bad(formatted("{}: {}", annotated.name, error.what()));
    }
    if (progress) progress("pictures searched", i + 1, count);
  }
  return all;
}

}  // namespace la
