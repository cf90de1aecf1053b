#include "la/trainer.h"

#include <chrono>
#include <cmath>

#include "autograd/functions.h"
#include "la/evaluation.h"
#include "la/losses.h"
#include "la/neighbors.h"
#include "layers/networks.h"
#include "tensor/ops.h"

namespace la {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::unique_ptr<Module> make_initialized(const Config& config, const Dataset& data, int image_size,
                                         Device device) {
  auto network = make_network(
      config.network,
      {.channels = data.channels(), .image_size = image_size, .dim = config.dim, .head = config.head});
  network->initialize(config.seed);
  network->to(device);
  return network;
}

/// Weight decay acts on weights, not on biases and batch-norm parameters.
Sgd make_sgd(Module& network, const Config& config) {
  std::vector<Sgd::Slot> slots;
  for (const Module::Parameter& p : network.parameters())
    slots.push_back({*p.variable, p.decays ? config.weight_decay : 0.0f});
  return Sgd(std::move(slots), config.momentum);
}

Schedule make_schedule(const Config& config) {
  return {.kind = config.schedule,
          .base = config.learning_rate,
          .epochs = static_cast<double>(config.epochs),
          .drops = {config.learning_rate_drops.begin(), config.learning_rate_drops.end()},
          .warm_up_epochs = config.learning_rate_warm_up};
}

}  // namespace

AugmentationOptions augmentation_for(const Config& config, const Dataset& data) {
  constexpr int largest_view = 224;
  const Picture first = data.picture(0);
  const ChannelStatistics statistics = channel_statistics(data);
  return {.size = std::min({first.height, first.width, largest_view}),
          .crop_min_area = config.crop_min_area,
          .crop_max_aspect = config.crop_max_aspect,
          .flip = config.flip,
          .jitter = config.jitter,
          .grayscale = config.grayscale,
          .mean = statistics.mean,
          .stddev = statistics.stddev};
}

Trainer::Trainer(const Config& config, const Dataset& data, const AugmentationOptions& augmentation,
                 Device device)
    : config_(config),
      data_(data),
      view_(augmentation),
      device_(device),
      loader_(data, augmentation, config.batch, config.loader_threads, config.seed),
      network_(make_initialized(config, data, augmentation.size, device)),
      sgd_(make_sgd(*network_, config)),
      schedule_(make_schedule(config)),
      bank_(data.size(), config.dim, config.bank_momentum, config.seed, device) {
  if (config.nce_constant == NceConstant::original) nce_constant_ = original_nce_constant(data.size());
}

void Trainer::fill_bank() {
  NoGrad no_grad;
  loader_.start_epoch(0);
  for (int64_t step = 0; step < steps_per_epoch(); ++step) {
    const Batch batch = loader_.next();
    const Variable images(batch.images.to(device_));
    bank_.assign(batch.indices.to(device_), l2_normalize((*network_)(cast(images, precision()))).value());
  }
}

std::vector<KMeansResult> Trainer::begin_epoch() {
  loader_.start_epoch(epoch_, step_);
  if (step_ > 0) return {};  // in the middle of an epoch, whose clusters were restored
  loss_sum_ = 0;
  loss_steps_ = 0;
  if (phase() == Phase::ir || config_.close_neighbors != CloseNeighborKind::kmeans) return {};
  const bool due = (epoch_ - config_.warm_start_epochs) % config_.cluster_every == 0;
  return due || !cluster_labels_.defined() ? cluster_bank() : std::vector<KMeansResult>();
}

std::vector<KMeansResult> Trainer::cluster_bank() {
  if (config_.bank_refresh) bank_.assign_all(embed(*network_, data_, view_, precision(), device_));
  cluster_labels_ = Tensor({config_.clusterings, bank_.size()}, DType::i32, device_);
  std::vector<KMeansResult> results;
  for (int h = 0; h < config_.clusterings; ++h) {
    const auto number =
        static_cast<uint64_t>(epoch_) * static_cast<uint64_t>(config_.clusterings) + static_cast<uint64_t>(h);
    results.push_back(kmeans(bank_.vectors(), {.clusters = config_.clusters,
                                               .iterations = config_.cluster_iterations,
                                               .spherical = config_.spherical,
                                               .key = {config_.seed, Purpose::clustering, number}}));
    ops::copy_into(cluster_labels_.rows(h, h + 1).reshape({bank_.size()}), results.back().labels);
  }
  return results;
}

bool Trainer::train_step(StepReport& report) {
  const double begin = now(), waited = loader_.seconds_waited();
  const Batch batch = loader_.next();
  report.waiting_seconds = loader_.seconds_waited() - waited;
  const Tensor pictures = batch.indices.to(device_);

  const Variable v = l2_normalize((*network_)(cast(Variable(batch.images.to(device_)), precision())));
  const double loss_begin = now();
  const Variable loss = phase() == Phase::ir ? instance_loss(v, pictures) : aggregation_loss(v, pictures);
  report.loss = loss.value().item();
  check(std::isfinite(report.loss),
        "the loss became {} in epoch {}, step {}, at learning rate {}; earlier checkpoints stay. Begin a new "
        "run with a smaller --learning-rate",
        report.loss, epoch_ + 1, step_ + 1, learning_rate());
  bank_.update(pictures, v.value());
  report.la_seconds = now() - loss_begin;

  backward(loss);
  report.learning_rate = learning_rate();
  sgd_.step(report.learning_rate);

  loss_sum_ += report.loss;
  ++loss_steps_;
  report.seconds = now() - begin;
  if (++step_ < steps_per_epoch()) return true;
  ++epoch_;
  step_ = 0;
  return false;
}

Variable Trainer::instance_loss(const Variable& v, const Tensor& pictures) {
  if (config_.ir_loss == IrLoss::softmax)
    return instance_softmax_loss(v, bank_, pictures, config_.temperature);
  const Tensor candidates = nce_candidates(pictures, config_.noise, bank_.size(), config_.seed,
                                           static_cast<uint64_t>(total_steps()));
  if (nce_constant_ == 0)
    nce_constant_ = estimate_nce_constant(v.value(), bank_, candidates, config_.temperature);
  return instance_nce_loss(v, bank_, candidates, nce_constant_, config_.temperature);
}

Variable Trainer::aggregation_loss(const Variable& v, const Tensor& pictures) const {
  const TopK background = background_neighbors(bank_, v.value(), pictures, config_.background);
  const Tensor close = config_.close_neighbors == CloseNeighborKind::kmeans
                           ? close_by_clusters(cluster_labels_, pictures, background)
                           : close_by_distance(background, config_.close_count);
  return local_aggregation_loss(v, bank_, background, close, config_.temperature);
}

float Trainer::learning_rate() const {
  return schedule_.at(static_cast<double>(total_steps()) / static_cast<double>(steps_per_epoch()));
}

}  // namespace la
