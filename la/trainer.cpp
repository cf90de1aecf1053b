#include "la/trainer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>

#include "autograd/functions.h"
#include "data/subset.h"
#include "evaluation/knn.h"
#include "la/losses.h"
#include "la/neighbors.h"
#include "layers/layers.h"
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
                 Device device, const Shards& shards)
    : config_(config),
      data_(data),
      shards_(shards),
      view_(augmentation),
      device_(device),
      loader_(make_device_loader(data, augmentation,
                                 {.batch = config.optimizer.batch,
                                  .threads = config.run.loader_threads,
                                  .seed = config.run.seed,
                                  .dtype = precision(),
                                  .device = device,
                                  .places = shards.own_rows(config.optimizer.batch)})),
      network_(make_initialized(config, data, augmentation.size, device)),
      sharded_(*network_, shards),
      sgd_(parameters_of(*network_, config.optimizer.decay_of), config.optimizer.sgd),
      schedule_(schedule_of(config.optimizer, steps_per_epoch())),
      bank_(config.optimizer.supervised ? 0 : data.size(), config.network.dim, config.la.bank_momentum,
            config.run.seed, device, shards),
      work_(device, !config.run.no_graph && shards.ranks().can_be_recorded()),
      total_steps_({1}, DType::i64, device),
      step_of_epoch_({1}, DType::i32, device),
      losses_({steps_per_epoch()}, DType::f32, device),
      pictures_({config.optimizer.batch}, DType::i32, device) {
  validate(config, shards);
  if (config.run.sync_batch_norm)
    for (const auto& [name, module] : network_->descendants())
      if (auto* const norm = dynamic_cast<BatchNorm2d*>(module)) norm->synchronize_statistics(shards_);
  if (config.la.nce_constant == NceConstant::original) nce_constant_ = original_nce_constant(data.size());
  if (config.la.whole_background) every_row_ = rows_of_whole_bank(bank_, config.optimizer.batch);
}

Tensor Trainer::pictures_of_batch() const {
  return shards_.gather("numbers of pictures", loader_->indices(), config_.optimizer.batch);
}

void Trainer::fill_bank(const ProgressCallback& progress) {
  NoGrad no_grad;
  loader_->start_epoch(0, 0);
  for (int64_t step = 0; step < steps_per_epoch(); ++step) {
    loader_->next();
    const Tensor v = embeddings(forward());
    sharded_.average_statistics();
    bank_.assign(pictures_of_batch(), shards_.gather("embeddings", v, config_.optimizer.batch));
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
  if (config_.la.bank_refresh) refresh_bank(progress);
  if (!cluster_labels_.defined())
    cluster_labels_ = Tensor({bank_.vectors().size(0), config_.la.clusterings}, DType::i32, device_);
  BankClusters result;
  if (config_.la.close_neighbors == CloseNeighborKind::components) {
    const Components components = nearest_neighbor_components(bank_, progress);
    ops::set_column(cluster_labels_, 0, components.labels);
    result.components = components.count;
    result.sizes.push_back(components.sizes);
  } else {
    cluster_by_kmeans(result, progress);
  }
  result.spread = spread_of(bank_.rows());
  clustered_at_ = total_steps();
  return result;
}

/// Shard by shard, so that what a picture's embedding is does not depend on the number of processes.
void Trainer::refresh_bank(const ProgressCallback& progress) {
  constexpr int64_t block = 65536;  // embeddings that are there beside the bank
  for (int64_t p = 0; p < shards_.own(); ++p) {
    const RowRange rows = bank_.rows().range(p);
    for (int64_t begin = 0; begin < rows.size(); begin += block) {
      std::vector<int64_t> pictures(static_cast<size_t>(std::min(block, rows.size() - begin)));
      std::iota(pictures.begin(), pictures.end(), rows.begin + begin);
      const Subset some(data_, pictures);
      ops::copy_into(bank_.rows().part(p).rows(begin, begin + some.size()),
                     embed(*network_, some, view_, precision(), device_, progress));
    }
  }
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
    result.clusterings.push_back(kmeans(bank_.rows(), options, progress_of_all));
    ops::set_column(cluster_labels_, static_cast<int64_t>(h), result.clusterings.back().labels);
    result.sizes.push_back(result.clusterings.back().sizes);
  }
}

bool Trainer::train_step(StepReport& report) {
  cluster_bank();
  report = {.phase = phase(), .epoch = epoch_, .number = step_ + 1};
  const double waited = loader_->seconds_waited();
  loader_->next();
  report.waiting_seconds = loader_->seconds_waited() - waited;
  ops::copy_into(pictures_, pictures_of_batch());
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
  if (phase() == Phase::supervised)
    learn_labels();
  else
    learn_from_bank();
  const ProfileRange range("update");
  sgd_.step();
}

/// Of this process's rows of a batch, those of each of its shards.
std::vector<Tensor> Trainer::rows_of_shards(const Tensor& own) const {
  std::vector<Tensor> parts;
  const int64_t batch = config_.optimizer.batch, first = shards_.own_rows(batch).begin;
  for (int64_t s = shards_.first(); s < shards_.last(); ++s)
    parts.push_back(own.rows(shards_.rows(batch, s).begin - first, shards_.rows(batch, s).end - first));
  return parts;
}

/// The baseline: the network's output, before it is normalized, as logits of the labels.
void Trainer::learn_labels() {
  const int64_t batch = config_.optimizer.batch;
  const auto logits = sharded_.forward(loader_->images(), batch,
                                       [this](const Variable& images) { return (*network_)(images); });
  const std::vector<Tensor> labels = rows_of_shards(loader_->labels());
  std::vector<Tensor> losses, gradients;
  for (size_t p = 0; p < logits.size(); ++p) {
    losses.push_back(Tensor::zeros({1}, DType::f32, device_));
    gradients.emplace_back();
    if (!logits[p].defined()) continue;
    const Variable x(logits[p].value(), true);
    const float share = static_cast<float>(labels[p].size(0)) / static_cast<float>(batch);
    const Variable loss = scale(cross_entropy(x, labels[p]), share);
    backward(loss);
    losses.back() = loss.value();
    gradients.back() = x.grad();
  }
  ops::scatter_rows(losses_, step_of_epoch_, shards_.sum("losses", losses));
  const ProfileRange range("backward");
  sharded_.backward(logits, gradients);
}

/// The embeddings of this process's pictures are compared with the bank of all, and the gradients go back to them.
void Trainer::learn_from_bank() {
  const std::vector<Variable> v = forward();
  const Variable own(embeddings(v), true);
  backward(compare_with_bank(own));
  const ProfileRange range("backward");
  sharded_.backward(v, rows_of_shards(own.grad()));
}

/// The embeddings of the step's pictures, for each shard of this process.
std::vector<Variable> Trainer::forward() {
  const ProfileRange range("forward");
  return sharded_.forward(loader_->images(), config_.optimizer.batch,
                          [this](const Variable& images) { return l2_normalize((*network_)(images)); });
}

/// All of them as one tensor, f32 [own, D].
Tensor Trainer::embeddings(const std::vector<Variable>& of_shards) const {
  std::vector<Tensor> parts;
  for (const Variable& v : of_shards)
    if (v.defined()) parts.push_back(v.value());
  if (parts.empty()) return Tensor({0, config_.network.dim}, DType::f32, device_);
  return parts.size() == 1 ? parts[0] : ops::concatenate(parts, 0);
}

/// The loss, which is kept; then the bank takes the embeddings of the whole batch in.
Variable Trainer::compare_with_bank(const Variable& v) {
  const ProfileRange range("local aggregation");
  const double begin = now();
  const Tensor all = shards_.gather("embeddings", v.value(), config_.optimizer.batch);
  const Variable loss = phase() == Phase::ir ? instance_loss(v, all) : aggregation_loss(v, all);
  ops::scatter_rows(losses_, step_of_epoch_, loss.value());
  bank_.update(pictures_, all);
  if (device_.is_cpu()) la_seconds_ = now() - begin;
  return loss;
}

Variable Trainer::instance_loss(const Variable& v, const Tensor& all) {
  if (config_.la.ir_loss == IrLoss::softmax)
    return instance_softmax_loss(v, all, bank_, pictures_, config_.la.temperature);
  const Tensor candidates =
      nce_candidates(pictures_, config_.la.noise, bank_.size(), config_.run.seed, total_steps_);
  if (nce_constant_ == 0)
    nce_constant_ = estimate_nce_constant(all, bank_, candidates, config_.la.temperature);
  return instance_nce_loss(v, all, bank_, candidates, nce_constant_, config_.la.temperature);
}

/// B_i of pictures, as many as a batch at most.
Background Trainer::background_of(const Tensor& v, const Tensor& indices) const {
  if (!config_.la.whole_background) return background_neighbors(bank_, v, indices, config_.la.background);
  std::vector<Tensor> rows;
  for (const Tensor& of_batch : every_row_) rows.push_back(of_batch.rows(0, v.size(0)));
  return whole_bank(bank_, v, rows);
}

CloseMasks Trainer::close_of(const Background& background, const Tensor& indices) const {
  const LaOptions& la = config_.la;
  return la.close_neighbors == CloseNeighborKind::knn
             ? close_by_distance(bank_, background, la.close_count)
             : close_by_clusters(bank_, cluster_labels_, indices, background, la.combine_clusterings);
}

Variable Trainer::aggregation_loss(const Variable& v, const Tensor& all) const {
  const LaOptions& la = config_.la;
  const Background background = background_of(all, pictures_);
  const Variable loss =
      local_aggregation_loss(v, bank_, background, close_of(background, pictures_), la.temperature);
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
