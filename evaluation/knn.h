// How good the embeddings are: the share of test pictures whose label their nearest training
// pictures predict.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/augmentation.h"
#include "data/dataset.h"
#include "layers/module.h"
#include "tensor/progress_callback.h"
#include "tensor/shards.h"

namespace la {

/// Embeddings v of all pictures of a data set, f32 [N, D] on the unit sphere, computed in batches without
/// augmentation by the network in evaluation mode. `precision` is that of the network's activations.
/// `progress` is told after each batch.
Tensor embed(Module& network, const Dataset& dataset, const AugmentationOptions& view, DType precision,
             Device device, const ProgressCallback& progress = {});

/// The pixels of all pictures as the network sees them, scaled to length 1: f32 [N, S * S * C]. What an
/// embedding must beat.
Tensor pixel_vectors(const Dataset& dataset, const AugmentationOptions& view);

/// The labels of all pictures; -1 where a picture has none, or is bad.
std::vector<int32_t> labels_of(const Dataset& dataset);

/// The same of those pictures that this process has (Shards::own_rows); bad are those that any process knows to be. All make the
/// same calls.
std::vector<int32_t> own_labels(const Dataset& dataset, const Shards& shards);

/// Vectors on the unit sphere with their labels (-1: unknown).
struct LabeledVectors {
  Tensor vectors;  // f32 [N, D]
  std::vector<int32_t> labels;
};

/// The embeddings of those of this process's pictures that have a label, with their labels, after bad ones have been found. Which
/// pictures a process has, `shards` says (own_rows); all make the same calls.
LabeledVectors embed_labeled(Module& network, const Dataset& all, const AugmentationOptions& view,
                             DType precision, Device device, const Shards& shards,
                             const ProgressCallback& progress = {});

struct KnnOptions {
  int64_t neighbors = 200;    // k
  float temperature = 0.07f;  // each neighbor votes for its label with weight exp(similarity / temperature)
};

/// What was guessed for things whose label is known.
struct Guesses {
  std::vector<int32_t> labels, guessed = {};

  bool is_right(size_t i) const { return labels[i] == guessed[i]; }
  /// The share that is right.
  double accuracy() const;
  /// counts[a][b]: how many with label a were taken for b.
  std::vector<std::vector<int64_t>> confusion() const;
};

/// Of each vector of `test` that has a label, in their order, the label that wins the vote of its k nearest vectors of `train`.
/// Vectors without a label take no part; a tie goes to the lowest label. Of several processes, each brings its own vectors, and all
/// get the result.
Guesses knn_guesses(const LabeledVectors& train, const LabeledVectors& test, const KnnOptions& options,
                    Collectives& ranks = alone());
double knn_accuracy(const LabeledVectors& train, const LabeledVectors& test, const KnnOptions& options,
                    Collectives& ranks = alone());

/// The same where there are no test vectors: the label of each vector is predicted by the others
/// (leave-one-out), from `guess`, which is another vector for each of the same things, such as their
/// embeddings where `all` is the memory bank. Of more than 50,000 so many are tried, evenly spread.
Guesses leave_one_out_guesses(const LabeledVectors& all, const LabeledVectors& guess,
                              const KnnOptions& options, Collectives& ranks = alone());
double leave_one_out_accuracy(const LabeledVectors& all, const LabeledVectors& guess,
                              const KnnOptions& options, Collectives& ranks = alone());

struct Accuracy {
  double knn200 = 0;                       // k = 200, embeddings of the training pictures recomputed
  std::optional<double> bank_knn200 = {};  // k = 200, vectors of the memory bank
  std::optional<double> knn1 = {};         // the label of the nearest vector of the memory bank
  std::optional<double> likeliest = {};    // of a network trained on labels: the one with the largest output
};

/// Evaluates a network on a test set, and says by which protocol; without a test set, on the training
/// pictures, each against the others.
class Evaluator {
 public:
  /// `test` may be null; `view` says how a picture is shown to the network. Of several processes, each embeds a part of the
  /// pictures, and all make the same calls.
  Evaluator(const Dataset* train, const Dataset* test, const AugmentationOptions& view, DType precision,
            const Shards& shards = {});

  /// Whether there are labels to compare with; why_not() says what is missing.
  bool available() const { return why_not().empty(); }
  std::string why_not() const;

  /// bank: of each training picture of this process a vector, f32 [N, D].
  Accuracy evaluate(Module& network, const Tensor& bank, const ProgressCallback& progress = {}) const;
  /// The same for a network with an output for each label, and without a bank.
  Accuracy evaluate_classifier(Module& network, Device device, const ProgressCallback& progress = {}) const;
  /// Whether the pixels of all labeled pictures, as the network sees them, take at most 2 GiB.
  bool pixels_fit() const;
  /// kNN on the pixels, by the protocol of knn200.
  double pixel_accuracy() const;

  /// The protocols in words, as they stand beside each accuracy.
  std::string knn_protocol() const;
  std::string bank_knn_protocol() const;
  std::string pixel_protocol() const;
  std::string bank_protocol() const;
  std::string likeliest_protocol() const;

 private:
  /// Those that are embedded, each process its part: the labeled ones, but where each is left out they stand with the bank's.
  const Dataset& train_pictures() const { return leaves_one_out() ? *train_ : *labeled_train_; }
  LabeledVectors embedded(Module& network, const Dataset& pictures, Device device,
                          const ProgressCallback& progress) const;
  std::string protocol(const char* vectors) const;
  bool leaves_one_out() const { return test_ == nullptr; }
  /// "10000 test images"
  std::string tested() const;

  const Dataset* train_;
  const Dataset* test_;
  Shards shards_;
  std::shared_ptr<const Dataset> labeled_train_,
      labeled_test_;  // their pictures that have a label; may be null
  AugmentationOptions view_;
  DType precision_;
  KnnOptions knn_;
};

}  // namespace la
