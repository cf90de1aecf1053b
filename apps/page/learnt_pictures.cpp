#include "apps/page/learnt_pictures.h"

#include <algorithm>
#include <filesystem>
#include <numeric>

#include "data/subset.h"
#include "evaluation/sample.h"
#include "evaluation/vector_search.h"
#include "la/checkpoint.h"
#include "tensor/format.h"
#include "tensor/ops.h"
#include "tensor/text.h"

namespace la {
namespace {

Tensor rows_of(const Tensor& all, const std::vector<int64_t>& numbers) {
  const std::vector<int32_t> rows(numbers.begin(), numbers.end());
  return ops::gather_rows(all, rows);
}

/// What the checkpoint of a training has besides the network, if it is a training of so many pictures.
struct Trained {
  Tensor bank;            // f32 [N, D]; undefined if there is none
  Tensor cluster_labels;  // i32 [N], of its first clustering, likewise
};

Trained read_trained(const Model& model, int64_t pictures) {
  const auto wanted = [](const std::string& name) {
    return name == bank_name || name == cluster_labels_name;
  };
  const SafetensorsFile file = read_safetensors(model.checkpoint, Checksum::unread, wanted);
  Trained trained;
  if (!file.contains(bank_name) || file.at(bank_name).size(0) != pictures) return trained;
  trained.bank = file.at(bank_name).to(model.device());
  if (file.contains(cluster_labels_name))  // [H, N]
    trained.cluster_labels = file.at(cluster_labels_name).rows(0, 1).reshape({pictures}).to(model.device());
  return trained;
}

/// The directions of the means of the clusters, but of empty ones.
Tensor centroids_of(const Tensor& vectors, const Tensor& labels) {
  const std::vector<int32_t> of_vector = labels.to_vector<int32_t>();
  const int64_t m = 1 + *std::max_element(of_vector.begin(), of_vector.end());
  const std::vector<int32_t> counts = ops::count_labels(labels, m).to_vector<int32_t>();
  std::vector<int64_t> used;
  for (size_t c = 0; c < counts.size(); ++c)
    if (counts[c] > 0) used.push_back(static_cast<int64_t>(c));
  return ops::l2_normalize(rows_of(ops::sum_by_label(vectors, labels, m), used)).y;
}

/// Paths below the folder that they have in common.
std::vector<std::string> below_common_folder(std::vector<std::string> paths) {
  const auto [first, last] = std::minmax_element(paths.begin(), paths.end());
  const size_t differs = static_cast<size_t>(
      std::mismatch(first->begin(), first->end(), last->begin(), last->end()).first - first->begin());
  const size_t slash = first->substr(0, differs).rfind('/'),
               common = slash == std::string::npos ? 0 : slash + 1;
  for (std::string& path : paths) path.erase(0, common);
  return paths;
}

class Look {
 public:
  Look(Model& model, const DataSource& data, const LearntOptions& options, const ProgressCallback& progress)
      : model_(model), data_(data), options_(options), progress_(progress) {}

  LearntPictures result() {
    choose_pictures();
    find_vectors();
    lay_out();
    if (trained_.cluster_labels.defined()) cluster();
    if (data_.train->has_labels()) guess();
    name();
    return std::move(learnt_);
  }

 private:
  /// Those that can be read, which is known when their thumbnails are made.
  void choose_pictures() {
    const Dataset& pictures = *data_.train;
    learnt_.all = pictures.size();
    const std::vector<int32_t> spread = evenly_spread(learnt_.all, options_.most_pictures);
    learnt_.numbers.assign(spread.begin(), spread.end());
    const auto make = [&] {
      learnt_.thumbnails =
          make_thumbnails(Subset(pictures, learnt_.numbers), options_.most_thumbnail_bytes, progress_);
    };
    make();
    if (std::erase_if(learnt_.numbers, [&](int64_t i) { return pictures.is_bad(i); }) > 0) make();
    check(learnt_.numbers.size() > 2, "a map of {}; expected 3 at least",
          counted(std::ssize(learnt_.numbers), "picture"));
  }

  void find_vectors() {
    const Dataset& pictures = *data_.train;
    trained_ = read_trained(model_, learnt_.all);
    if (trained_.bank.defined()) {
      learnt_.vectors = "the vectors of the memory bank";
      vectors_ = rows_of(trained_.bank, learnt_.numbers);
    } else {
      learnt_.vectors = "the embeddings";
      vectors_ = embed(*model_.module, Subset(pictures, learnt_.numbers), model_.view, model_.dtype,
                       model_.device(), progress_);
    }
    check(is_finite(vectors_), "{}: its vectors are not finite", model_.checkpoint);
  }

  void lay_out() {
    const int64_t n = vectors_.size(0);
    const TsneOptions usual;
    learnt_.graph = neighbor_graph(VectorSearch(vectors_),
                                   std::min<int64_t>(std::llround(3 * usual.perplexity), n - 1), progress_);
    learnt_.map = tsne(learnt_.graph, first_plane(vectors_), usual, progress_);
    if (n <= 2 * trusted_neighbors) return;
    constexpr int64_t sample = 1000;
    learnt_.trusted = std::min(sample, n);
    learnt_.trustworthiness =
        trustworthiness(vectors_.to(Device::cpu()), learnt_.map, trusted_neighbors, learnt_.trusted);
  }

  void cluster() {
    const Tensor centroids = centroids_of(trained_.bank, trained_.cluster_labels);
    learnt_.clusters = largest_first_members(centroids);
    learnt_.clustering =
        formatted("the nearest of {} centers, those of the training's first clustering", centroids.size(0));
  }
  ClusterMembers largest_first_members(const Tensor& centroids) const {
    return members_of(vectors_, largest_first(centroids, members_of(vectors_, centroids)));
  }

  /// By the vectors that are shown, so that none need be computed but those of the test pictures.
  void guess() {
    const Subset shown(*data_.train, learnt_.numbers);
    learnt_.labels = labels_of(shown);
    const LabeledVectors voters{vectors_, learnt_.labels};
    const int64_t labeled =
        std::count_if(learnt_.labels.begin(), learnt_.labels.end(), [](int32_t label) { return label >= 0; });
    const bool has_test = data_.test != nullptr && data_.test->has_labels();
    KnnOptions options;
    options.neighbors = std::min(options.neighbors, labeled - (has_test ? 0 : 1));
    if (options.neighbors < 1) return;
    std::string tested = "each of them against the others";
    if (has_test) {
      const LabeledVectors test = embed_labeled(*model_.module, *data_.test, model_.view, model_.dtype,
                                                model_.device(), {}, progress_);
      if (test.labels.empty()) return;
      learnt_.guesses = knn_guesses(voters, test, options);
      tested = counted(std::ssize(test.labels), "test image");
    } else {
      learnt_.guesses = leave_one_out_guesses(voters, voters, options);
    }
    learnt_.protocol = formatted("kNN (k={}, tau={}, {} of {}, {})", options.neighbors, options.temperature,
                                 learnt_.vectors, counted(labeled, "training image"), tested);
  }

  void name() {
    if (data_.train->listing().empty()) return;
    std::vector<std::string> names;
    for (const int64_t i : learnt_.numbers) names.push_back(escaped(data_.train->name(i)));
    learnt_.names = below_common_folder(std::move(names));
  }

  Model& model_;
  const DataSource& data_;
  const LearntOptions& options_;
  const ProgressCallback& progress_;
  Trained trained_;
  Tensor vectors_;  // of those that are shown
  LearntPictures learnt_;
};

}  // namespace

LearntPictures look_at_pictures(Model& model, const DataSource& data, const LearntOptions& options,
                                const ProgressCallback& progress) {
  return Look(model, data, options, progress).result();
}

}  // namespace la
