#include "la/trainer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "autograd/functions.h"
#include "evaluation/knn.h"
#include "la/losses.h"
#include "la/neighbors.h"
#include "layers/networks.h"
#include "tensor/clock.h"
#include "tensor/ops.h"
#include "tensor/profile.h"

namespace la {
namespace {

std::unique_ptr<Module> make_initialized(const Config& config, const Dataset& data, int image_size,
                                         Device device) {
  NetworkOptions options = config.network;
  options.channels = data.channels();
  options.image_size = image_size;
  auto network = make_network(options);
  initialize(*network, options, config.run.seed);
  network->to(device);
  return network;
}

std::vector<Module::Parameter> parameters_of(Module& network, DecayOf decay_of) {
  std::vector<Module::Parameter> parameters = network.parameters();
  for (Module::Parameter& p : parameters)
    p.decays = p.role == Module::Role::weight || decay_of == DecayOf::all ||
               (p.role == Module::Role::bias && decay_of == DecayOf::weights_and_biases);
  return parameters;
}

Schedule schedule_of(const OptimizerOptions& options, int64_t steps_per_epoch) {
  Schedule schedule = options.schedule;
  schedule.epochs = options.steps > 0
                        ? TrainingTime{static_cast<double>(options.steps), true}.epochs(steps_per_epoch)
                        : options.epochs;
  schedule.drops = to_epochs(options.drops, steps_per_epoch);
  return schedule;
}

/// The pictures' own size, if they all have the same, up to that of the paper.
int view_size(const PictureArray* array) {
  constexpr int64_t papers = 224;
  return static_cast<int>(
      array == nullptr ? papers : std::min({papers, array->pictures().size(1), array->pictures().size(2)}));
}

}  // namespace

AugmentationOptions augmentation_for(const Config& config, const Dataset& data) {
  const auto* array = dynamic_cast<const PictureArray*>(&data);
  // Those of color photographs are known, and to read thousands of files takes minutes.
  const bool known = array == nullptr && data.channels() == 3;
  const ChannelStatistics statistics = known ? imagenet_statistics() : channel_statistics(data);
  AugmentationOptions view = config.augmentation;
  if (view.size == 0) view.size = view_size(array);
  view.mean = statistics.mean;
  view.stddev = statistics.stddev;
  return view;
}

Trainer::Trainer(const Config& config, const Dataset& data, const AugmentationOptions& augmentation,
                 Device device)
    : config_(config),
      data_(data),
      view_(augmentation),
      device_(device),
      loader_(make_device_loader(data, augmentation,
                                 {.batch = config.optimizer.batch,
                                  .threads = config.run.loader_threads,
                                  .seed = config.run.seed,
                                  .dtype = precision(),
                                  .device = device})),
      network_(make_initialized(config, data, augmentation.size, device)),
      sgd_(parameters_of(*network_, config.optimizer.decay_of), config.optimizer.sgd),
      schedule_(schedule_of(config.optimizer, steps_per_epoch())),
      bank_(config.optimizer.supervised ? 0 : data.size(), config.network.dim, config.la.bank_momentum,
            config.run.seed, device),
      work_(device, !config.run.no_graph),
      total_steps_({1}, DType::i64, device),
      step_of_epoch_({1}, DType::i32, device),
      losses_({steps_per_epoch()}, DType::f32, device) {
  if (config.la.nce_constant == NceConstant::original) nce_constant_ = original_nce_constant(data.size());
  if (config.la.whole_background) every_row_ = rows_of_whole_bank(bank_, config.optimizer.batch);
}

void Trainer::fill_bank(const ProgressCallback& progress) {
  NoGrad no_grad;
  loader_->start_epoch(0, 0);
  for (int64_t step = 0; step < steps_per_epoch(); ++step) {
    loader_->next();
    bank_.assign(loader_->indices(), l2_normalize((*network_)(Variable(loader_->images()))).value());
    if (progress)
      progress("pictures embedded", (step + 1) * config_.optimizer.batch,
               steps_per_epoch() * config_.optimizer.batch);
  }
}

void Trainer::begin_epoch() {
  loader_->start_epoch(epoch_, step_);
  if (step_ > 0) return;  // in the middle of an epoch, whose losses were restored
  loss_sum_ = 0;
  losses_read_ = losses_made_ = 0;
}

int64_t Trainer::steps_of(const TrainingTime& time) const {
  return std::max<int64_t>(
      std::llround(time.epochs(steps_per_epoch()) * static_cast<double>(steps_per_epoch())), 1);
}

bool Trainer::clusters_due() const {
  if (phase() != Phase::la || config_.la.close_neighbors == CloseNeighborKind::knn) return false;
  if (!cluster_labels_.defined()) return true;
  const int64_t steps_of_la = total_steps() - config_.optimizer.warm_start_epochs * steps_per_epoch();
  return steps_of_la % steps_of(config_.la.cluster_every) == 0 && clustered_at_ != total_steps();
}

BankClusters Trainer::cluster_bank(const ProgressCallback& progress) {
  if (!clusters_due()) return {};
  const ProfileRange range("clustering");
  if (config_.la.bank_refresh)
    bank_.assign_all(embed(*network_, data_, view_, precision(), device_, progress));
  if (!cluster_labels_.defined())
    cluster_labels_ = Tensor({bank_.size(), config_.la.clusterings}, DType::i32, device_);
  BankClusters result;
  if (config_.la.close_neighbors == CloseNeighborKind::components) {
    const Components components = nearest_neighbor_components(bank_, progress);
    ops::set_column(cluster_labels_, 0, components.labels);
    result.components = components.count;
  } else {
    cluster_by_kmeans(result, progress);
  }
  clustered_at_ = total_steps();
  return result;
}

void Trainer::cluster_by_kmeans(BankClusters& result, const ProgressCallback& progress) {
  const LaOptions& la = config_.la;
  const auto clusterings = static_cast<uint64_t>(la.clusterings);
  const int64_t interval = la.cluster_every.in_steps ? steps_of(la.cluster_every) : steps_per_epoch();
  const auto time =
      static_cast<uint64_t>(la.cluster_seeds == ClusterSeeds::fresh ? total_steps() / interval : 0);
  for (uint64_t h = 0; h < clusterings; ++h) {
    const auto progress_of_all = [&](std::string_view what, int64_t done, int64_t iterations) {
      if (progress) progress(what, static_cast<int64_t>(h) * iterations + done, la.clusterings * iterations);
    };
    KMeansOptions options = la.kmeans;
    options.clusters = la.clusters.size() == 1 ? la.clusters[0] : la.clusters[h];
    options.key = {config_.run.seed, RandomStream::clustering, time * clusterings + h};
    result.clusterings.push_back(kmeans(bank_.vectors(), options, progress_of_all));
    ops::set_column(cluster_labels_, static_cast<int64_t>(h), result.clusterings.back().labels);
  }
}

bool Trainer::train_step(StepReport& report) {
  cluster_bank();
  report = {.phase = phase(), .epoch = epoch_, .number = step_ + 1};
  const double waited = loader_->seconds_waited();
  loader_->next();
  report.waiting_seconds = loader_->seconds_waited() - waited;
  report.learning_rate = learning_rate();
  sgd_.set_learning_rate(report.learning_rate);
  total_steps_.copy_from_host(std::array{total_steps()}.data());
  step_of_epoch_.copy_from_host(std::array{static_cast<int32_t>(step_)}.data());

  if (phase() != work_phase_) work_.reset();
  work_phase_ = phase();
  {
    const ProfileRange range("step");
    work_.run([this] { compute_step(); });
  }
  report.la_seconds = std::exchange(la_seconds_, 0.0);

  losses_made_ = ++step_;
  // It costs nothing on the CPU, and elsewhere a wait for the device.
  const bool done = step_ == steps_of_epoch();
  if (device_.is_cpu() || done) read_losses();
  if (!done) return true;
  ++epoch_;
  step_ = 0;
  return false;
}

// All that the device does in a step. It may be recorded, so it depends on the step only through tensors.
void Trainer::compute_step() {
  const Variable loss = phase() == Phase::supervised ? supervised_loss() : compare_with_bank(embed_views());
  {
    const ProfileRange range("backward");
    backward(loss);
  }
  const ProfileRange range("update");
  sgd_.step();
}

/// The baseline: the network's output, before it is normalized, as logits of the labels.
Variable Trainer::supervised_loss() {
  const ProfileRange range("forward");
  const Variable loss = cross_entropy((*network_)(Variable(loader_->images())), loader_->labels());
  ops::scatter_rows(losses_, step_of_epoch_, loss.value());
  return loss;
}

/// The embeddings of the step's pictures.
Variable Trainer::embed_views() {
  const ProfileRange range("forward");
  return l2_normalize((*network_)(Variable(loader_->images())));
}

/// The loss, which is kept; then the bank takes the embeddings in.
Variable Trainer::compare_with_bank(const Variable& v) {
  const ProfileRange range("local aggregation");
  const double begin = now();
  const Variable loss = phase() == Phase::ir ? instance_loss(v) : aggregation_loss(v);
  ops::scatter_rows(losses_, step_of_epoch_, loss.value());
  bank_.update(loader_->indices(), v.value());
  if (device_.is_cpu()) la_seconds_ = now() - begin;
  return loss;
}

Variable Trainer::instance_loss(const Variable& v) {
  const Tensor indices = loader_->indices();
  if (config_.la.ir_loss == IrLoss::softmax)
    return instance_softmax_loss(v, bank_, indices, config_.la.temperature);
  const Tensor candidates =
      nce_candidates(indices, config_.la.noise, bank_.size(), config_.run.seed, total_steps_);
  if (nce_constant_ == 0)
    nce_constant_ = estimate_nce_constant(v.value(), bank_, candidates, config_.la.temperature);
  return instance_nce_loss(v, bank_, candidates, nce_constant_, config_.la.temperature);
}

Variable Trainer::aggregation_loss(const Variable& v) const {
  const LaOptions& la = config_.la;
  const Tensor indices = loader_->indices();
  const TopK background = la.whole_background
                              ? whole_bank(bank_, v.value(), every_row_)
                              : background_neighbors(bank_, v.value(), indices, la.background);
  const Tensor close = la.close_neighbors == CloseNeighborKind::knn
                           ? close_by_distance(background, la.close_count)
                           : close_by_clusters(cluster_labels_, indices, background, la.combine_clusterings);
  const Variable loss = local_aggregation_loss(v, bank_, background, close, la.temperature);
  // Of counts, the loss is that of the sum of H ratios; of their mean it is larger by log H.
  const bool counts = la.combine_clusterings == SharedClusters::count;
  return counts ? shift(loss, std::log(static_cast<float>(la.clusterings))) : loss;
}

/// The losses since the last reading. A NaN may also be reported by what met it on the device; then the loss
/// is the better message.
std::vector<float> Trainer::new_losses() const {
  const Tensor losses = losses_.rows(losses_read_, losses_made_);
  try {
    return losses.to_vector<float>();
  } catch (const Error&) {
    const std::vector<float> values = losses.to_vector<float>();
    if (std::all_of(values.begin(), values.end(), [](float loss) { return std::isfinite(loss); })) throw;
    return values;
  }
}

void Trainer::read_losses() {
  for (const float loss : new_losses()) {
    ++losses_read_;
    const int64_t number = losses_read_;
    check(std::isfinite(loss),
          "the loss became {} in epoch {}, step {}, at learning rate {}; earlier checkpoints stay. Begin a "
          "new run with a smaller `learning_rate`",
          loss, step_ == 0 ? epoch_ : epoch_ + 1, number, learning_rate());
    loss_sum_ += loss;
  }
}

double Trainer::epoch_loss() {
  read_losses();
  return losses_read_ == 0 ? 0.0 : loss_sum_ / static_cast<double>(losses_read_);
}

float Trainer::learning_rate() const {
  return schedule_.at(static_cast<double>(total_steps()) / static_cast<double>(steps_per_epoch()));
}

}  // namespace la
