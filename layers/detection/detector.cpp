#include "layers/detection/detector.h"

#include <algorithm>

#include "layers/initializers.h"
#include "layers/networks.h"
#include "tensor/ops.h"

namespace la {
namespace {

std::unique_ptr<Backbone> make_backbone(NetworkOptions options) {
  options.head = HeadKind::none;
  options.dim = 0;
  options.last_stride = 1;
  std::unique_ptr<Module> network = make_network(options);
  auto* const backbone = dynamic_cast<Backbone*>(network.get());
  check(backbone != nullptr, "{}: not a network that detectors can stand on", options.name);
  network.release();
  return std::unique_ptr<Backbone>(backbone);
}

/// What begins with small normal weights hardly changes boxes and scores at first. Biases begin with 0.
Initializer initializer_of(const Module::Parameter& p) {
  if (p.role == Module::Role::bias) return constant(0.0f);
  return normal(p.name.starts_with("box.") ? 0.001f : 0.01f);
}

/// Rows of what a convolution says of the anchors of each pixel, f32: [1, H, W, A k] -> [H W A, k].
Variable rows_of(const Variable& x, int64_t k) { return reshape(cast(x, DType::f32), {-1, k}); }

}  // namespace

Detector::ProposalNetwork::ProposalNetwork(int64_t map_channels, int64_t channels, int64_t anchors)
    : conv(map_channels, channels, {.kernel = 3, .padding = 1}),
      score(channels, 2 * anchors, {.kernel = 1}),
      box(channels, 4 * anchors, {.kernel = 1}) {
  add("conv", conv);
  add("score", score);
  add("box", box);
}

Detector::Detector(const DetectorOptions& o)
    : network_(make_backbone(o.network)),
      anchor_options_{network_->layout().stride, o.anchor_scales, o.anchor_ratios},
      categories_(o.categories),
      rpn_(network_->layout().map_channels, o.rpn_channels,
           static_cast<int64_t>(o.anchor_scales.size() * o.anchor_ratios.size())),
      score_(network_->layout().features, 1 + o.categories),
      box_(network_->layout().features, 4 * (1 + o.categories)) {
  check(!o.anchor_scales.empty() && !o.anchor_ratios.empty(),
        "a detector without anchors: no scales, or no ratios");
  check(o.categories >= 1, "a detector of {} categories, expected at least 1", o.categories);
  add("network", *network_);
  add("rpn", rpn_);
  add("score", score_);
  add("box", box_);
}

AnchorOutputs Detector::score_anchors(const Variable& map) {
  check(map.shape()[0] == 1, "a detector sees 1 picture at a time, these are {}", map.shape()[0]);
  constexpr int64_t most_anchors = 100'000;  // they are compared in pairs
  const int64_t count = map.shape()[1] * map.shape()[2] *
                        static_cast<int64_t>(anchor_options_.scales.size() * anchor_options_.ratios.size());
  check(
      count <= most_anchors,
      "a map of {} x {} pixels has {} anchors, expected at most {}: smaller pictures (`short_side`) or fewer "
      "`anchor_scales` are needed",
      map.shape()[1], map.shape()[2], count, most_anchors);
  const Variable hidden = rpn_(map);
  return {anchors(map.shape()[1], map.shape()[2], anchor_options_), rows_of(rpn_.score(hidden), 2),
          rows_of(rpn_.box(hidden), 4)};
}

RegionOutputs Detector::score_regions(const Variable& map, const Tensor& boxes) {
  const BackboneLayout layout = network_->layout();
  const Tensor pictures = Tensor::zeros({boxes.size(0)}, DType::i32, boxes.device());
  const int samples = layout.pools ? 2 * layout.size : layout.size;
  Variable regions = crop_and_resize(map, boxes, pictures, samples, 1.0f / static_cast<float>(layout.stride));
  if (layout.pools) regions = max_pool2d(regions, {.kernel = 2, .stride = 2});
  const Variable features = network_->region_features(regions);
  return {score_(features), box_(features)};
}

void Detector::fine_tune(bool all_layers) {
  for (const auto& [name, module] : network_->descendants())
    if (auto* const norm = dynamic_cast<BatchNorm2d*>(module)) norm->freeze_statistics();
  if (all_layers) return;
  const std::vector<std::string> frozen = network_->layout().frozen;
  network_->freeze([&](const Parameter& p) {
    return p.role != Role::norm && std::any_of(frozen.begin(), frozen.end(), [&](const std::string& name) {
             return p.name.starts_with(name);
           });
  });
}

void initialize(Detector& detector, const NetworkOptions& network, uint64_t seed) {
  detector.initialize(seed, initializer_of);
  initialize(detector.network(), network, seed);
}

Tensor propose(const AnchorOutputs& outputs, int64_t height, int64_t width, const ProposalOptions& options) {
  const Tensor scores = ops::slice(ops::softmax(outputs.scores.value()), 1, 1, 2).reshape({-1});
  const Tensor anchors = outputs.anchors.to(scores.device());
  const Tensor boxes = ops::clip_boxes(ops::decode_boxes(anchors, outputs.codes.value(), anchor_coding),
                                       static_cast<float>(width - 1), static_cast<float>(height - 1));
  // As in TensorFlow, the area here is that between the outer pixels' centers.
  const KeptBoxes kept =
      ops::nms(boxes, scores, {.iou_threshold = options.iou_threshold, .most = options.most, .extent = 0.0f});
  return ops::gather_rows(boxes, kept.indices.rows(0, kept.count.to_vector<int32_t>()[0]));
}

}  // namespace la
