#include "evaluation/detector_trainer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "data/loader.h"
#include "layers/state_dict.h"
#include "tensor/ops.h"

namespace la {
namespace {

constexpr const char* velocity_prefix = "velocity.";
constexpr const char* step_name = "step";

std::vector<Module::Parameter> learnt_parameters(Module& module) {
  std::vector<Module::Parameter> all = module.parameters();
  std::erase_if(all, [](const Module::Parameter& p) { return !p.variable->requires_grad(); });
  return all;
}

void use_batch_statistics(Detector& detector, bool batch, float momentum) {
  for (const auto& [name, module] : detector.descendants())
    if (auto* const norm = dynamic_cast<BatchNorm2d*>(module)) {
      norm->freeze_statistics(!batch);
      norm->set_momentum(momentum);
    }
}

}  // namespace

DetectorTrainer::DetectorTrainer(TrainedDetector& detector, const DetectionData& data,
                                 const DetectorTraining& training)
    : detector_(detector), data_(data), training_(training) {
  const AnchorOptions& anchors = detector.module->anchor_options();
  for (size_t i = 0; i < data.pictures.size(); ++i) {
    const AnnotatedPicture& picture = data.pictures[i];
    if (!has_objects(picture)) continue;
    const auto [height, width] = input_size(picture.height, picture.width, detector.view);
    if (any_anchor_within(height, width, anchors))
      used_.push_back(static_cast<int32_t>(i));
    else
      ++too_narrow_;
  }
  check(too_narrow_ == 0 || !used_.empty(),
        "no anchor lies within any of {} pictures, the first of {} x {} pixels: smaller `anchor_scales` are "
        "needed",
        too_narrow_, data.pictures.front().width, data.pictures.front().height);
  check(!used_.empty(), "none of {} pictures has an object to be found", data.pictures.size());
  detector.module->set_training(true);
  detector.module->fine_tune(training.all_layers);
  parameters_ = learnt_parameters(*detector.module);
  sgd_ = std::make_unique<Sgd>(parameters_, training.sgd);
  std::vector<TrainingTime> drops = training.drops;
  if (drops.empty()) drops = {{static_cast<double>(training.steps) * 5 / 7, true}};
  schedule_ = {.base = training.learning_rate, .drops = to_epochs(drops, steps_per_epoch())};
}

int64_t DetectorTrainer::steps_per_epoch() const { return (training_.flips ? 2 : 1) * pictures(); }

DetectorTrainer::Prepared DetectorTrainer::prepare(int64_t step) {
  const int64_t count = steps_per_epoch(), epoch = step / count;
  if (std::exchange(epoch_of_order_, epoch) != epoch) order_ = epoch_order(count, training_.seed, epoch);
  Prepared prepared;
  for (int64_t tried = 0; tried < count; ++tried) {
    const int32_t number = order_[static_cast<size_t>((step + tried) % count)];
    const bool flip = number >= pictures();
    const int32_t picture_number = used_[static_cast<size_t>(number % pictures())];
    const AnnotatedPicture& annotated = data_.pictures[static_cast<size_t>(picture_number)];
    try {
      const Picture picture = read_annotated(annotated, detector_.decode_options());
      prepared.input =
          make_detector_input(picture, detector_.view, detector_.module->network().layout(), flip);
      prepared.objects = objects_in(annotated, prepared.input, flip);
      return prepared;
    } catch (const Error& error) {
      prepared.warnings.emplace_back(error.what());
    }
  }
  fail("none of {} pictures can be read: {}", pictures(), prepared.warnings.front());
}

DetectorTrainer::Prepared DetectorTrainer::next() {
  const bool is_ahead = std::exchange(step_ahead_, -1) == step_;
  if (!is_ahead && ahead_.valid()) ahead_.wait();
  Prepared prepared = is_ahead ? ahead_.get() : prepare(step_);
  step_ahead_ = step_ + 1;
  ahead_ = std::async(std::launch::async, [this, step = step_ahead_] { return prepare(step); });
  warnings_.insert(warnings_.end(), prepared.warnings.begin(), prepared.warnings.end());
  return prepared;
}

std::vector<std::string> DetectorTrainer::take_warnings() { return std::exchange(warnings_, {}); }

void DetectorTrainer::measure_statistics(int64_t pictures, const ProgressCallback& progress) {
  const NoGrad no_grad;
  Detector& module = *detector_.module;
  for (int64_t i = 0; i < pictures; ++i) {
    const Prepared prepared = prepare(i);
    const DetectorInput& input = prepared.input;
    warnings_.insert(warnings_.end(), prepared.warnings.begin(), prepared.warnings.end());
    use_batch_statistics(module, true,
                         1.0f / static_cast<float>(i + 1));  // so that the mean over all is left
    const Variable map = module.map(Variable(ops::cast(input.pixels.to(module.device()), detector_.dtype)));
    const Tensor proposals =
        propose(module.score_anchors(map), input.height, input.width, {.most = training_.loss.regions.count});
    module.score_regions(map, proposals);
    if (progress) progress("pictures measured", i + 1, pictures);
  }
  use_batch_statistics(module, false, 0);
}

DetectorStep DetectorTrainer::train_step() {
  const Prepared prepared = next();
  Detector& module = *detector_.module;
  RandomGenerator random({training_.seed, RandomStream::regions, static_cast<uint64_t>(step_)});
  const Tensor pixels = ops::cast(prepared.input.pixels.to(module.device()), detector_.dtype);
  DetectorStep result;
  try {
    const DetectionLosses losses =
        detection_losses(module, pixels, prepared.input.height, prepared.input.width, prepared.objects,
                         training_.loss, choose_randomly(random));
    result = {losses.anchor_class.value().item(), losses.anchor_box.value().item(),
              losses.region_class.value().item(), losses.region_box.value().item()};
    if (!std::isfinite(result.loss())) throw Diverged(formatted("the loss is {}", result.loss()));
    backward(losses.sum());
  } catch (const Diverged& error) {
    fail("the training has diverged in step {}: {}; a lower `learning_rate` may help", step_ + 1,
         error.what());
  }
  sgd_->set_learning_rate(learning_rate());
  sgd_->step();
  ++step_;
  return result;
}

std::vector<NamedTensor> DetectorTrainer::state() const {
  std::vector<NamedTensor> tensors = state_dict(*detector_.module);
  for (size_t i = 0; i < parameters_.size(); ++i)
    tensors.push_back(
        {velocity_prefix + parameters_[i].name, to_torch_layout(parameters_[i], sgd_->velocities()[i])});
  tensors.push_back({step_name, Tensor::from(std::vector<int64_t>{step_}, {1})});
  return tensors;
}

void DetectorTrainer::restore(const SafetensorsFile& file) {
  const StateDict tensors = file.by_name();
  load_state_dict(*detector_.module, tensors);
  for (size_t i = 0; i < parameters_.size(); ++i)
    load_tensor(tensors, velocity_prefix + parameters_[i].name, parameters_[i], sgd_->velocities()[i]);
  step_ = file.at(step_name).to_vector<int64_t>()[0];
}

}  // namespace la
