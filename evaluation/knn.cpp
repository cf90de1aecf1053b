#include "evaluation/knn.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "autograd/functions.h"
#include "data/loader.h"
#include "data/subset.h"
#include "evaluation/sample.h"
#include "evaluation/vector_search.h"
#include "tensor/format.h"
#include "tensor/ops.h"
#include "tensor/text.h"

namespace la {
namespace {

constexpr int64_t embedding_batch = 256;

/// The rows that have a label.
LabeledVectors with_labels(const LabeledVectors& all) {
  check(all.vectors.rank() == 2 && static_cast<int64_t>(all.labels.size()) == all.vectors.size(0),
        "kNN: {} labels for vectors of shape {}", all.labels.size(), all.vectors.shape());
  LabeledVectors result;
  std::vector<int32_t> rows;
  for (size_t i = 0; i < all.labels.size(); ++i) {
    if (all.labels[i] < 0) continue;
    rows.push_back(static_cast<int32_t>(i));
    result.labels.push_back(all.labels[i]);
  }
  const bool all_labeled = rows.size() == all.labels.size();
  result.vectors = all_labeled ? all.vectors : ops::gather_rows(all.vectors, rows);
  return result;
}

/// Vectors with labels, of all processes: those with a vote, or those whose label is asked for.
struct Voters {
  VectorSearch vectors;
  std::vector<int32_t> labels;
};

Voters voters_of(Collectives& ranks, const LabeledVectors& own) {
  const LabeledVectors labeled = with_labels(own);
  return {VectorSearch(labeled.vectors, ranks), ranks.all_gather("labels", labeled.labels)};
}

/// The label of each vector of `test`, and the one that wins the vote of the nearest k voters. itself: of each test
/// vector the voter that has no vote; or empty.
Guesses guesses_of(const Voters& voters, const Voters& test, int64_t k, const std::vector<int32_t>& itself,
                   const KnnOptions& options) {
  constexpr int64_t together = 1024;  // queries
  const auto most_votes = static_cast<size_t>(k), found = most_votes + (itself.empty() ? 0 : 1);
  std::vector<double> votes;
  Guesses guesses{.labels = test.labels};
  const bool all_at_once =
      voters.vectors.ranks().alone() && !test.vectors.device().is_cpu();  // a GPU likes many
  const int64_t at_once = all_at_once ? std::max<int64_t>(std::ssize(test.labels), 1) : together;
  for (int64_t begin = 0; begin < std::ssize(test.labels); begin += at_once) {
    const int64_t end = std::min(begin + at_once, std::ssize(test.labels));
    const Neighbors nearest =
        voters.vectors.nearest(test.vectors.rows(begin, end), static_cast<int64_t>(found));
    for (int64_t i = begin; i < end; ++i) {
      std::fill(votes.begin(), votes.end(), 0.0);
      size_t counted = 0;
      const size_t first = static_cast<size_t>(i - begin) * found;
      for (size_t j = first; j < first + found && counted < most_votes; ++j) {
        if (!itself.empty() && nearest.numbers[j] == itself[static_cast<size_t>(i)]) continue;
        const auto label = static_cast<size_t>(voters.labels[static_cast<size_t>(nearest.numbers[j])]);
        if (label >= votes.size()) votes.resize(label + 1, 0.0);
        votes[label] += std::exp(static_cast<double>(nearest.similarities[j]) / options.temperature);
        ++counted;
      }
      const auto winner = std::max_element(votes.begin(), votes.end()) - votes.begin();
      guesses.guessed.push_back(static_cast<int32_t>(winner));
    }
  }
  return guesses;
}

/// The share of vectors whose largest element is that of their label. Their lengths do not matter.
double share_of_largest(Collectives& ranks, const LabeledVectors& own) {
  int32_t correct = 0, n = 0;
  if (own.vectors.size(0) > 0)
    for (const int32_t largest : ops::max(own.vectors, 1).indices.to_vector<int32_t>())
      correct += largest == own.labels[static_cast<size_t>(n++)] ? 1 : 0;
  const Tensor counts = Tensor::from(std::vector<int32_t>{correct, n}, {2});
  ranks.all_reduce("right answers", counts, Reduction::sum);
  return static_cast<double>(counts.data<int32_t>()[0]) / static_cast<double>(counts.data<int32_t>()[1]);
}

/// While one is in scope, the network is in evaluation mode.
class EvaluationMode {
 public:
  explicit EvaluationMode(Module& network) : network_(network), was_training_(network.training()) {
    network.set_training(false);
  }
  ~EvaluationMode() { network_.set_training(was_training_); }
  EvaluationMode(const EvaluationMode&) = delete;
  EvaluationMode& operator=(const EvaluationMode&) = delete;

 private:
  Module& network_;
  bool was_training_;
};

std::shared_ptr<const Dataset> labeled_part(const Dataset* all) {
  if (all == nullptr || !all->has_labels()) return nullptr;
  return labeled_pictures(*all);
}

/// Those of a data set that this process has.
std::vector<int64_t> own_pictures(const Dataset& all, const Shards& shards) {
  const RowRange rows = shards.own_rows(all.size());
  std::vector<int64_t> pictures(static_cast<size_t>(rows.size()));
  std::iota(pictures.begin(), pictures.end(), rows.begin);
  return pictures;
}

Subset own_labeled(const Dataset& all, const Shards& shards) {
  std::vector<int64_t> pictures = own_pictures(all, shards);
  std::erase_if(pictures, [&](int64_t i) { return all.label(i) == unlabeled; });
  return {all, pictures};
}

}  // namespace

Tensor embed(Module& network, const Dataset& dataset, const AugmentationOptions& view, DType precision,
             Device device, const ProgressCallback& progress) {
  NoGrad no_grad;
  const EvaluationMode mode(network);
  Tensor embeddings;
  for (int64_t begin = 0; begin < dataset.size(); begin += embedding_batch) {
    const int64_t end = std::min(begin + embedding_batch, dataset.size());
    const Variable images(plain_views(dataset, view, begin, end).to(device));
    const Tensor v = l2_normalize(network(cast(images, precision))).value();
    if (!embeddings.defined()) embeddings = Tensor({dataset.size(), v.size(1)}, DType::f32, device);
    ops::copy_into(embeddings.rows(begin, end), v);
    if (progress) progress("pictures embedded", end, dataset.size());
  }
  return embeddings;
}

Tensor pixel_vectors(const Dataset& dataset, const AugmentationOptions& view) {
  const Tensor pixels = plain_views(dataset, view, 0, dataset.size());
  const int64_t values = int64_t{view.size} * view.size * dataset.channels();
  return ops::l2_normalize(pixels.reshape({dataset.size(), values})).y;
}

std::vector<int32_t> labels_of(const Dataset& dataset) {
  std::vector<int32_t> labels(static_cast<size_t>(dataset.size()), -1);
  if (!dataset.has_labels()) return labels;
  for (size_t i = 0; i < labels.size(); ++i) {
    const auto picture = static_cast<int64_t>(i);
    if (!dataset.is_bad(picture)) labels[i] = dataset.label(picture);
  }
  return labels;
}

std::vector<int32_t> own_labels(const Dataset& dataset, const Shards& shards) {
  std::vector<int32_t> bad;
  for (int64_t i = 0; i < dataset.size(); ++i)
    if (dataset.is_bad(i)) bad.push_back(static_cast<int32_t>(i));
  const RowRange rows = shards.own_rows(dataset.size());
  std::vector<int32_t> labels = labels_of(Subset(dataset, own_pictures(dataset, shards)));
  for (const int32_t i : shards.ranks().all_gather("bad pictures", bad))
    if (i >= rows.begin && i < rows.end) labels[static_cast<size_t>(i - rows.begin)] = unlabeled;
  return labels;
}

LabeledVectors embed_labeled(Module& network, const Dataset& all, const AugmentationOptions& view,
                             DType precision, Device device, const Shards& shards,
                             const ProgressCallback& progress) {
  const Subset own = own_labeled(all, shards);
  Tensor vectors = embed(network, own, view, precision, device, progress);
  const int32_t own_width = vectors.defined() ? static_cast<int32_t>(vectors.size(1)) : 0,
                width = shards.ranks().all_reduce("length of vectors", own_width, Reduction::max);
  if (!vectors.defined()) vectors = Tensor({0, width}, DType::f32, device);
  return {vectors, labels_of(own)};
}

double Guesses::accuracy() const {
  int64_t right = 0;
  for (size_t i = 0; i < labels.size(); ++i) right += is_right(i) ? 1 : 0;
  return static_cast<double>(right) / static_cast<double>(labels.size());
}

std::vector<std::vector<int64_t>> Guesses::confusion() const {
  int32_t most = 0;
  for (const auto* numbers : {&labels, &guessed})
    for (const int32_t label : *numbers) most = std::max(most, label);
  const auto classes = static_cast<size_t>(most + 1);
  std::vector<std::vector<int64_t>> counts(classes, std::vector<int64_t>(classes));
  for (size_t i = 0; i < labels.size(); ++i)
    ++counts[static_cast<size_t>(labels[i])][static_cast<size_t>(guessed[i])];
  return counts;
}

Guesses knn_guesses(const LabeledVectors& own_train, const LabeledVectors& own_test,
                    const KnnOptions& options, Collectives& ranks) {
  const Voters voters = voters_of(ranks, own_train);
  const Voters test = voters_of(ranks, own_test);
  const int64_t n = voters.vectors.size();
  check(n > 0 && !test.labels.empty(), "kNN: {} training and {} test vectors have labels; expected some", n,
        test.labels.size());
  return guesses_of(voters, test, std::min(options.neighbors, n), {}, options);
}

double knn_accuracy(const LabeledVectors& train, const LabeledVectors& test, const KnnOptions& options,
                    Collectives& ranks) {
  return knn_guesses(train, test, options, ranks).accuracy();
}

Guesses leave_one_out_guesses(const LabeledVectors& all, const LabeledVectors& guess,
                              const KnnOptions& options, Collectives& ranks) {
  const LabeledVectors own_voters = with_labels(all), asked = with_labels(guess);
  check(own_voters.labels == asked.labels,
        "leave-one-out: the {} vectors and the {} that are asked have other labels", own_voters.labels.size(),
        asked.labels.size());
  const Voters voters = voters_of(ranks, own_voters);
  const int64_t n = voters.vectors.size();
  check(n >= 2, "leave-one-out: {} vectors have labels, expected at least 2", n);
  constexpr int64_t most = 50'000;
  // Of all that are tried, and of those that this process has.
  const std::vector<int32_t> itself = evenly_spread(n, most);
  std::vector<int32_t> own_rows;
  LabeledVectors own;
  for (const int32_t number : itself) {
    const int64_t row = number - voters.vectors.first();
    if (row < 0 || row >= std::ssize(asked.labels)) continue;
    own_rows.push_back(static_cast<int32_t>(row));
    own.labels.push_back(asked.labels[static_cast<size_t>(row)]);
  }
  own.vectors = ops::gather_rows(asked.vectors, own_rows);
  return guesses_of(voters, voters_of(ranks, own), std::min(options.neighbors, n - 1), itself, options);
}

double leave_one_out_accuracy(const LabeledVectors& all, const LabeledVectors& guess,
                              const KnnOptions& options, Collectives& ranks) {
  return leave_one_out_guesses(all, guess, options, ranks).accuracy();
}

Evaluator::Evaluator(const Dataset* train, const Dataset* test, const AugmentationOptions& view,
                     DType precision, const Shards& shards)
    : train_(train),
      test_(test),
      shards_(shards),
      labeled_train_(labeled_part(train)),
      labeled_test_(labeled_part(test)),
      view_(view),
      precision_(precision) {}

std::string Evaluator::why_not() const {
  if (!train_->has_labels()) return "the training pictures have no labels";
  if (leaves_one_out()) return labeled_train_->size() > 1 ? "" : "only one picture has a label";
  return test_->has_labels() ? "" : "the test pictures have no labels";
}

LabeledVectors Evaluator::embedded(Module& network, const Dataset& pictures, Device device,
                                   const ProgressCallback& progress) const {
  return embed_labeled(network, pictures, view_, precision_, device, shards_, progress);
}

Accuracy Evaluator::evaluate(Module& network, const Tensor& bank, const ProgressCallback& progress) const {
  Collectives& ranks = shards_.ranks();
  const LabeledVectors train = embedded(network, train_pictures(), bank.device(), progress);
  const LabeledVectors bank_vectors{
      bank, own_labels(*train_, shards_)};  // after pictures have turned out to be bad
  if (leaves_one_out())
    return {.knn200 = leave_one_out_accuracy(train, train, knn_, ranks),
            .bank_knn200 = leave_one_out_accuracy(bank_vectors, train, knn_, ranks),
            .knn1 = leave_one_out_accuracy(bank_vectors, train, {.neighbors = 1}, ranks)};
  const LabeledVectors test = embedded(network, *labeled_test_, bank.device(), progress);
  return {.knn200 = knn_accuracy(train, test, knn_, ranks),
          .bank_knn200 = knn_accuracy(bank_vectors, test, knn_, ranks),
          .knn1 = knn_accuracy(bank_vectors, test, {.neighbors = 1}, ranks)};
}

Accuracy Evaluator::evaluate_classifier(Module& network, Device device,
                                        const ProgressCallback& progress) const {
  Collectives& ranks = shards_.ranks();
  const LabeledVectors train = embedded(network, train_pictures(), device, progress);
  if (leaves_one_out())
    return {.knn200 = leave_one_out_accuracy(train, train, knn_, ranks),
            .likeliest = share_of_largest(ranks, train)};
  const LabeledVectors test = embedded(network, *labeled_test_, device, progress);
  return {.knn200 = knn_accuracy(train, test, knn_, ranks), .likeliest = share_of_largest(ranks, test)};
}

bool Evaluator::pixels_fit() const {
  const int64_t pictures = labeled_train_->size() + (leaves_one_out() ? 0 : labeled_test_->size());
  const int64_t floats = pictures * view_.size * view_.size * labeled_train_->channels();
  return floats * static_cast<int64_t>(sizeof(float)) <= int64_t{2} << 30;
}

double Evaluator::pixel_accuracy() const {
  const auto pixels = [&](const Dataset& data) {
    const Subset own = own_labeled(data, shards_);
    return LabeledVectors{pixel_vectors(own, view_), labels_of(own)};
  };
  const LabeledVectors train = pixels(*train_);
  return leaves_one_out() ? leave_one_out_accuracy(train, train, knn_, shards_.ranks())
                          : knn_accuracy(train, pixels(*test_), knn_, shards_.ranks());
}

std::string Evaluator::protocol(const char* vectors) const {
  const int64_t others = labeled_train_->size() - (leaves_one_out() ? 1 : 0);
  return formatted("kNN top-1 (k={}, tau={}, {}, {})", std::min(knn_.neighbors, others), knn_.temperature,
                   vectors, tested());
}

std::string Evaluator::tested() const {
  return leaves_one_out() ? "leave-one-out over " + counted(labeled_train_->size(), "training image")
                          : counted(labeled_test_->size(), "test image");
}

std::string Evaluator::knn_protocol() const { return protocol("train embeddings recomputed"); }
std::string Evaluator::bank_knn_protocol() const { return protocol("vectors of the memory bank"); }
std::string Evaluator::pixel_protocol() const { return protocol("normalized pixels of unit length"); }

std::string Evaluator::likeliest_protocol() const {
  return formatted("top-1 (the label with the largest output, {})",
                   leaves_one_out() ? counted(labeled_train_->size(), "training image") : tested());
}

std::string Evaluator::bank_protocol() const {
  return formatted("1-NN top-1 (nearest vector of the memory bank, {})", tested());
}

}  // namespace la
