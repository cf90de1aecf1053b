#include "evaluation/knn.h"

#include <algorithm>
#include <cmath>

#include "autograd/functions.h"
#include "data/loader.h"
#include "data/subset.h"
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
  const auto count = static_cast<int64_t>(rows.size());
  result.vectors = all_labeled
                       ? all.vectors
                       : ops::gather_rows(all.vectors, Tensor::from(rows, {count}, all.vectors.device()));
  return result;
}

/// For each vector of `test`, whether its label wins the vote of the nearest k of `train`. itself: of each test
/// vector the row in `train` that has no vote; or empty.
std::vector<bool> right_votes(const LabeledVectors& train, const LabeledVectors& test, int64_t k,
                              const std::vector<int32_t>& itself, const KnnOptions& options) {
  const auto voters = static_cast<size_t>(k), found = voters + (itself.empty() ? 0 : 1);
  const TopK nearest = ops::nearest_rows(test.vectors, train.vectors, static_cast<int64_t>(found));
  const std::vector<float> similarities = nearest.values.to_vector<float>();
  const std::vector<int32_t> indices = nearest.indices.to_vector<int32_t>();

  std::vector<double> votes(static_cast<size_t>(*std::max_element(train.labels.begin(), train.labels.end())) +
                            1);
  std::vector<bool> right;
  for (size_t i = 0; i < test.labels.size(); ++i) {
    std::fill(votes.begin(), votes.end(), 0.0);
    size_t counted = 0;
    for (size_t j = i * found; j < (i + 1) * found && counted < voters; ++j) {
      if (!itself.empty() && indices[j] == itself[i]) continue;
      votes[static_cast<size_t>(train.labels[static_cast<size_t>(indices[j])])] +=
          std::exp(static_cast<double>(similarities[j]) / options.temperature);
      ++counted;
    }
    const auto predicted = std::max_element(votes.begin(), votes.end()) - votes.begin();
    right.push_back(predicted == test.labels[i]);
  }
  return right;
}

double share_of(const std::vector<bool>& right) {
  return static_cast<double>(std::count(right.begin(), right.end(), true)) /
         static_cast<double>(right.size());
}

/// The share of vectors whose largest element is that of their label. Their lengths do not matter.
double share_of_largest(const LabeledVectors& outputs) {
  const std::vector<int32_t> largest = ops::max(outputs.vectors, 1).indices.to_vector<int32_t>();
  int64_t correct = 0;
  for (size_t i = 0; i < largest.size(); ++i) correct += largest[i] == outputs.labels[i];
  return static_cast<double>(correct) / static_cast<double>(largest.size());
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
  return ops::l2_normalize(pixels.reshape({dataset.size(), -1})).y;
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

std::vector<bool> knn_is_right(const LabeledVectors& all_train, const LabeledVectors& all_test,
                               const KnnOptions& options) {
  const LabeledVectors train = with_labels(all_train), test = with_labels(all_test);
  check(!train.labels.empty() && !test.labels.empty(),
        "kNN: {} training and {} test vectors have labels; expected some", train.labels.size(),
        test.labels.size());
  return right_votes(train, test, std::min(options.neighbors, train.vectors.size(0)), {}, options);
}

double knn_accuracy(const LabeledVectors& train, const LabeledVectors& test, const KnnOptions& options) {
  return share_of(knn_is_right(train, test, options));
}

double leave_one_out_accuracy(const LabeledVectors& all, const LabeledVectors& guess,
                              const KnnOptions& options) {
  const LabeledVectors voters = with_labels(all), asked = with_labels(guess);
  const int64_t n = voters.vectors.size(0);
  check(voters.labels == asked.labels,
        "leave-one-out: the {} vectors and the {} that are asked have other labels", n, asked.labels.size());
  check(n >= 2, "leave-one-out: {} vectors have labels, expected at least 2", n);
  constexpr int64_t most = 50'000;
  const int64_t count = std::min(n, most);
  std::vector<int32_t> rows;
  LabeledVectors some;
  for (int64_t i = 0; i < count; ++i) {
    rows.push_back(static_cast<int32_t>(i * n / count));
    some.labels.push_back(asked.labels[static_cast<size_t>(rows.back())]);
  }
  some.vectors = ops::gather_rows(asked.vectors, Tensor::from(rows, {count}, asked.vectors.device()));
  return share_of(right_votes(voters, some, std::min(options.neighbors, n - 1), rows, options));
}

Evaluator::Evaluator(const Dataset* train, const Dataset* test, const AugmentationOptions& view,
                     DType precision)
    : train_(train),
      test_(test),
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
  return {embed(network, pictures, view_, precision_, device, progress), labels_of(pictures)};
}

Accuracy Evaluator::evaluate(Module& network, const Tensor& bank, const ProgressCallback& progress) const {
  const LabeledVectors bank_vectors{bank, labels_of(*train_)};
  const LabeledVectors train = embedded(network, *labeled_train_, bank.device(), progress);
  if (leaves_one_out())
    return {.knn200 = leave_one_out_accuracy(train, train, knn_),
            .bank_knn200 = leave_one_out_accuracy(bank_vectors, train, knn_),
            .knn1 = leave_one_out_accuracy(bank_vectors, train, {.neighbors = 1})};
  const LabeledVectors test = embedded(network, *labeled_test_, bank.device(), progress);
  return {.knn200 = knn_accuracy(train, test, knn_),
          .bank_knn200 = knn_accuracy(bank_vectors, test, knn_),
          .knn1 = knn_accuracy(bank_vectors, test, {.neighbors = 1})};
}

Accuracy Evaluator::evaluate_classifier(Module& network, Device device,
                                        const ProgressCallback& progress) const {
  const LabeledVectors train = embedded(network, *labeled_train_, device, progress);
  if (leaves_one_out())
    return {.knn200 = leave_one_out_accuracy(train, train, knn_), .likeliest = share_of_largest(train)};
  const LabeledVectors test = embedded(network, *labeled_test_, device, progress);
  return {.knn200 = knn_accuracy(train, test, knn_), .likeliest = share_of_largest(test)};
}

bool Evaluator::pixels_fit() const {
  const int64_t pictures = labeled_train_->size() + (leaves_one_out() ? 0 : labeled_test_->size());
  const int64_t floats = pictures * view_.size * view_.size * labeled_train_->channels();
  return floats * static_cast<int64_t>(sizeof(float)) <= int64_t{2} << 30;
}

double Evaluator::pixel_accuracy() const {
  const auto pixels = [&](const Dataset& data) {
    return LabeledVectors{pixel_vectors(data, view_), labels_of(data)};
  };
  const LabeledVectors train = pixels(*labeled_train_);
  return leaves_one_out() ? leave_one_out_accuracy(train, train, knn_)
                          : knn_accuracy(train, pixels(*labeled_test_), knn_);
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
