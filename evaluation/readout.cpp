#include "evaluation/readout.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>

#include "autograd/functions.h"
#include "autograd/sgd.h"
#include "data/device_loader.h"
#include "data/loader.h"
#include "data/subset.h"
#include "evaluation/features.h"
#include "layers/gradient_sum.h"
#include "layers/layers.h"
#include "layers/state_dict.h"
#include "tensor/format.h"
#include "tensor/io/safetensors.h"
#include "tensor/ops.h"

namespace la {
namespace {

constexpr int64_t evaluation_batch = 64;
constexpr int crops = 10;
/// Of the vectors of embedding and pixels, by trial: with much shorter ones the readout learns too slowly,
/// with much longer ones not at all.
constexpr float baseline_length = 30;

/// Crops of at least a fifth of the picture and their mirror images, with colors changed as the options say.
AugmentationOptions training_views(const AugmentationOptions& view, const ReadoutOptions& readout) {
  AugmentationOptions options = view;
  options.fixed_crop = readout.fixed_crop;
  options.crop_min_area = 0.2f;
  options.flip = 0.5f;
  options.jitter = readout.jitter;
  options.grayscale = readout.grayscale;
  return options;
}

/// One linear map for each stage.
class Readouts : public Module {
 public:
  Readouts(const std::vector<std::string>& names, const std::vector<Tensor>& features, int64_t classes) {
    for (size_t i = 0; i < names.size(); ++i) {
      maps_.push_back(std::make_unique<Linear>(features[i].size(1), classes));
      std::string name = names[i];
      std::replace(name.begin(), name.end(), '.', '_');
      add(name, *maps_.back());
    }
  }
  Variable forward(const Variable&) override { fail("each readout has its own features"); }
  Variable logits(size_t stage, const Tensor& features) { return (*maps_[stage])(Variable(features)); }
  size_t size() const { return maps_.size(); }

 private:
  std::vector<std::unique_ptr<Linear>> maps_;
};

std::vector<std::string> all_stages(Module& network) {
  std::vector<std::string> names{pixels_readout};
  for (const auto& [name, module] : network.stages()) names.push_back(name);
  names.push_back(embedding_readout);
  return names;
}

/// Of any stage but the pixels.
Module& module_of(Module& network, const std::string& stage) {
  return stage == embedding_readout ? network : find_module(network, stage);
}

/// Counts of right answers.
class Score {
 public:
  /// probabilities: f32 [B, classes], or anything that grows with them.
  void add(const Tensor& probabilities, const std::vector<int32_t>& labels) {
    const int64_t k = std::min<int64_t>(5, probabilities.size(1));
    const std::vector<int32_t> likeliest = ops::top_k(probabilities, k).indices.to_vector<int32_t>();
    for (size_t i = 0; i < labels.size(); ++i) {
      if (labels[i] == unlabeled) continue;
      const auto begin = likeliest.begin() + static_cast<int64_t>(i) * k;
      const auto place = std::find(begin, begin + k, labels[i]) - begin;
      first_ += place == 0;
      among_ += place < k;
      ++count_;
    }
  }
  /// Of the answers that all processes have counted.
  ReadoutAccuracy accuracy(Collectives& ranks) const {
    const Tensor all = Tensor::from(std::vector<int32_t>{first_, among_, count_}, {3});
    ranks.all_reduce("right answers", all, Reduction::sum);
    const int32_t* counts = all.data<int32_t>();
    const double n = std::max(counts[2], 1);
    return {counts[0] / n, counts[1] / n};
  }

 private:
  int32_t first_ = 0, among_ = 0, count_ = 0;
};

class Training {
 public:
  Training(Model& model, const Dataset& train, const Dataset& test, const ReadoutOptions& options,
           const Shards& shards)
      : model_(model),
        train_(labeled_pictures(train)),
        test_(labeled_pictures(test)),
        options_(options),
        shards_(shards),
        device_(model.device()) {
    check(train_->size() > 0 && test_->size() > 0,
          "linear readout: {} training and {} test pictures have labels", train_->size(), test_->size());
    check(train_->channels() == model.channels && test_->channels() == model.channels,
          "the network sees pictures of {} channels, the data have {}", model.channels, train_->channels());
    options_.batch = static_cast<int>(std::min<int64_t>(options_.batch, train_->size()));
    if (options_.stages.empty()) options_.stages = all_stages(*model.module);
    for (const std::string& name : options_.stages)
      if (name != pixels_readout) modules_.push_back(&module_of(*model.module, name));
    int classes = 1;
    for (const Dataset* data : {train_.get(), test_.get()})
      for (int64_t i = 0; i < data->size(); ++i) classes = std::max(classes, data->label(i) + 1);

    const std::vector<Tensor> features = features_of(plain_views(*test_, model.view, 0, 1).to(device_));
    for (const Tensor& f : features) shapes_.push_back({f.size(1)});
    readouts_ = std::make_unique<Readouts>(options_.stages, features, classes);
    readouts_->initialize(options_.seed);
    readouts_->to(device_);
    sgd_ = std::make_unique<Sgd>(
        readouts_->parameters(),
        Sgd::Options{.momentum = options_.momentum, .weight_decay = options_.weight_decay});
    for (const Module::Parameter& p : readouts_->parameters()) parameters_.push_back(*p.variable);
  }

  std::vector<StageReadout> operator()(const ReadoutObserver& observer) {
    const auto loader = make_device_loader(*train_, training_views(model_.view, options_),
                                           {.batch = options_.batch,
                                            .threads = options_.loader_threads,
                                            .seed = options_.seed,
                                            .device = device_,
                                            .places = shards_.own_rows(options_.batch)});
    const int64_t an_epoch = loader->steps_per_epoch(), all = steps_of_all(an_epoch);
    const Schedule schedule{.kind = Schedule::Kind::step,
                            .base = options_.learning_rate,
                            .drops = to_epochs(drops(all), an_epoch)};
    for (int epoch = restore(); epoch * an_epoch < all; ++epoch) {
      loader->start_epoch(epoch, 0);
      const int64_t before = epoch * an_epoch, steps = std::min(an_epoch, all - before);
      for (int64_t step = 0; step < steps; ++step) {
        ReadoutProgress progress{.epoch = epoch, .step = step, .done = before + step, .steps = all};
        progress.learning_rate =
            schedule.at(static_cast<double>(progress.done) / static_cast<double>(an_epoch));
        sgd_->set_learning_rate(progress.learning_rate);
        loader->next();
        progress.loss = train_step(*loader, observer.wants_loss());
        if (!observer.step(progress)) return {};
      }
      save(epoch + 1);
    }
    return measure();
  }

 private:
  int64_t steps_of_all(int64_t steps_per_epoch) const {
    return options_.steps > 0 ? options_.steps : options_.epochs * steps_per_epoch;
  }
  std::vector<TrainingTime> drops(int64_t steps) const {
    if (!options_.drops.empty()) return options_.drops;
    const auto all = static_cast<double>(steps);
    return {{all * 3 / 7, true}, {all * 6 / 7, true}};
  }

  /// Of each stage, f32 [B, features].
  std::vector<Tensor> features_of(const Tensor& images) {
    NoGrad no_grad;
    const std::vector<Tensor> outputs =
        outputs_of(*model_.module, modules_, cast(Variable(images), model_.dtype));
    std::vector<Tensor> features;
    auto output = outputs.begin();
    for (const std::string& name : options_.stages) {
      const bool pixels = name == pixels_readout, embedding = name == embedding_readout;
      const Tensor all = readout_features(pixels ? images : *output++);
      if (pixels)
        features.push_back(ops::scale(all, baseline_length / std::sqrt(static_cast<float>(all.size(1)))));
      else
        features.push_back(embedding ? ops::scale(ops::l2_normalize(all).y, baseline_length) : all);
    }
    return features;
  }

  /// The mean over the stages of the loss, if it is to be read.
  double train_step(const DeviceLoader& loader, bool read_loss) {
    const Tensor images = loader.images(), labels = loader.labels();
    const int64_t first = shards_.own_rows(options_.batch).begin;
    GradientSum gradients(parameters_, shards_);
    std::vector<Tensor> losses;
    for (int64_t s = shards_.first(); s < shards_.last(); ++s) {
      const RowRange rows = shards_.rows(options_.batch, s);
      losses.push_back(learn_shard(images.rows(rows.begin - first, rows.end - first),
                                   labels.rows(rows.begin - first, rows.end - first)));
      gradients.collect();
    }
    gradients.finish();
    sgd_->step();
    const Tensor sum = shards_.sum("losses", losses);
    if (!read_loss) return std::numeric_limits<double>::quiet_NaN();
    const double loss = static_cast<double>(sum.item()) / static_cast<double>(readouts_->size());
    check(std::isfinite(loss), "linear readout: the loss became {}", loss);
    return loss;
  }

  /// Back-propagates the loss of the pictures of a shard, of which there may be none; returns its part in that of the batch, summed
  /// over the stages, f32 [1].
  Tensor learn_shard(const Tensor& images, const Tensor& labels) {
    const Tensor sum = Tensor::zeros({1}, DType::f32, device_);
    if (images.size(0) == 0) return sum;
    const float share = static_cast<float>(images.size(0)) / static_cast<float>(options_.batch);
    const std::vector<Tensor> features = features_of(images);
    for (size_t stage = 0; stage < readouts_->size(); ++stage) {
      const Variable loss = scale(cross_entropy(readouts_->logits(stage, features[stage]), labels), share);
      ops::add_in_place(sum, loss.value());
      backward(loss);
    }
    return sum;
  }

  /// Each process tests every R-th block of pictures.
  std::vector<StageReadout> measure() {
    Collectives& ranks = shards_.ranks();
    std::vector<Score> one(readouts_->size()), ten(readouts_->size());
    for (int64_t begin = ranks.rank() * evaluation_batch; begin < test_->size();
         begin += ranks.size() * evaluation_batch) {
      const int64_t end = std::min(begin + evaluation_batch, test_->size());
      const std::vector<Tensor> plain = logits_of(plain_views(*test_, model_.view, begin, end));
      const std::vector<int32_t> labels = labels_between(begin, end);
      for (size_t s = 0; s < one.size(); ++s) one[s].add(plain[s], labels);
      if (!options_.ten_crop) continue;
      const std::vector<Tensor> mean = mean_over_ten_crops(begin, end);
      for (size_t s = 0; s < ten.size(); ++s) ten[s].add(mean[s], labels);
    }
    std::vector<StageReadout> results;
    for (size_t s = 0; s < one.size(); ++s)
      results.push_back({options_.stages[s], shapes_[s], one[s].accuracy(ranks), ten[s].accuracy(ranks)});
    return results;
  }

  /// After the views are made, so that bad pictures are known.
  std::vector<int32_t> labels_between(int64_t begin, int64_t end) const {
    std::vector<int32_t> labels;
    for (int64_t i = begin; i < end; ++i) labels.push_back(test_->is_bad(i) ? unlabeled : test_->label(i));
    return labels;
  }

  /// f32 [B, classes] of each stage.
  std::vector<Tensor> logits_of(const Tensor& images) {
    NoGrad no_grad;
    const std::vector<Tensor> features = features_of(images.to(device_));
    std::vector<Tensor> logits;
    for (size_t s = 0; s < features.size(); ++s) logits.push_back(readouts_->logits(s, features[s]).value());
    return logits;
  }

  std::vector<Tensor> mean_over_ten_crops(int64_t begin, int64_t end) {
    std::vector<Tensor> sums;
    for (int crop = 0; crop < crops; ++crop) {
      const auto plan = [crop](int64_t, int height, int width) { return plan_ten_crop(crop, height, width); };
      const std::vector<Tensor> logits = logits_of(views(*test_, model_.view, begin, end, plan));
      for (size_t s = 0; s < logits.size(); ++s) {
        const Tensor probabilities = softmax(logits[s].to(Device::cpu()));
        if (crop == 0)
          sums.push_back(probabilities);
        else
          ops::add_in_place(sums[s], probabilities);
      }
    }
    return sums;
  }

  /// Of each row of an f32 tensor in host memory.
  static Tensor softmax(const Tensor& logits) {
    const Tensor result(logits.shape());
    const int64_t classes = logits.size(1);
    for (int64_t row = 0; row < logits.size(0); ++row) {
      const float* from = logits.data<float>() + row * classes;
      float* to = result.data<float>() + row * classes;
      const float largest = *std::max_element(from, from + classes);
      double sum = 0;
      for (int64_t c = 0; c < classes; ++c) sum += to[c] = std::exp(from[c] - largest);
      for (int64_t c = 0; c < classes; ++c) to[c] = static_cast<float>(to[c] / sum);
    }
    return result;
  }

  /// What must be the same for a state to go on from.
  std::string identity() const {
    const ReadoutOptions& o = options_;
    return formatted("{} {} {} {} {} {} {} {} {} {} {} {} {} {}", model_.checkpoint, train_->description(),
                     joined(o.stages, ","), o.epochs, o.steps, joined(o.drops, ","), o.batch, o.learning_rate,
                     o.momentum, o.weight_decay, static_cast<int>(o.fixed_crop), o.jitter, o.grayscale,
                     o.seed);
  }

  void save(int epochs_done) const {
    if (options_.state.empty() || shards_.ranks().rank() > 0) return;
    std::vector<NamedTensor> tensors;
    const auto parameters = readouts_->parameters();
    for (size_t i = 0; i < parameters.size(); ++i) {
      tensors.push_back(
          {parameters[i].name, to_torch_layout(parameters[i], parameters[i].variable->value())});
      tensors.push_back(
          {"velocity." + parameters[i].name, to_torch_layout(parameters[i], sgd_->velocities()[i])});
    }
    write_safetensors(options_.state, tensors,
                      {{"readout", identity()}, {"epochs_done", formatted("{}", epochs_done)}});
  }

  /// The epochs that are done already. All processes read the same file.
  int restore() {
    Collectives& ranks = shards_.ranks();
    const int done = restore_own();
    const int of_others = ranks.all_reduce("epochs that are done", done, Reduction::max);
    ranks.agree("whether all go on from the same state",
                done == of_others ? ""
                                  : formatted("{}: {} epochs are done, but for others {}", options_.state,
                                              done, of_others));
    return done;
  }

  int restore_own() {
    if (options_.state.empty() || !std::filesystem::exists(options_.state)) return 0;
    const SafetensorsFile file = read_safetensors(options_.state, Checksum::required);
    const auto found = file.metadata.find("readout");
    if (found == file.metadata.end() || found->second != identity()) return 0;
    const StateDict tensors = file.by_name();
    const auto parameters = readouts_->parameters();
    for (size_t i = 0; i < parameters.size(); ++i) {
      load_tensor(tensors, parameters[i].name, parameters[i], parameters[i].variable->value());
      load_tensor(tensors, "velocity." + parameters[i].name, parameters[i], sgd_->velocities()[i]);
    }
    return file.number<int>("epochs_done");
  }

  Model& model_;
  std::unique_ptr<Dataset> train_, test_;
  ReadoutOptions options_;
  Shards shards_;
  Device device_;
  std::vector<Module*> modules_;
  std::vector<Shape> shapes_;
  std::unique_ptr<Readouts> readouts_;
  std::unique_ptr<Sgd> sgd_;
  std::vector<Variable> parameters_;
};

}  // namespace

void check_stages(Module& network, const std::vector<std::string>& stages) try {
  for (const std::string& name : stages)
    if (name != pixels_readout) module_of(network, name);
} catch (const Error& error) {
  fail("{}; besides, {} and {} can be read out", error.what(), pixels_readout, embedding_readout);
}

Tensor readout_features(const Tensor& output) {
  if (output.rank() == 2) return output;
  check(output.rank() == 4, "features of shape {}, expected [N, H, W, C] or [N, C]", output.shape());
  constexpr int64_t most = 200'000;
  const int64_t n = output.size(0), features = output.numel() / n;
  const int window = features > 4 * most ? 4 : features > most ? 2 : 1;
  if (window == 1) return output.reshape({n, -1});
  return ops::avg_pool2d(output, {.kernel = window, .stride = window}).reshape({n, -1});
}

std::vector<StageReadout> linear_readout(Model& model, const Dataset& train, const Dataset& test,
                                         const ReadoutOptions& options, const ReadoutObserver& observer,
                                         const Shards& shards) {
  return Training(model, train, test, options, shards)(observer);
}

}  // namespace la
