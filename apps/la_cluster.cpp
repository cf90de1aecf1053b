// la_cluster: groups pictures by what a trained network makes of them: a table, a contact sheet of each
// cluster, and folders. `la_cluster --help` lists the options.

#include <algorithm>
#include <filesystem>
#include <memory>

#include "apps/cluster_files.h"
#include "apps/find_clusters.h"
#include "apps/model_program.h"
#include "apps/options/command_line.h"
#include "apps/result_folder.h"
#include "apps/run/interrupt.h"
#include "apps/run/progress.h"
#include "data/subset.h"
#include "evaluation/cluster_agreement.h"
#include "evaluation/cluster_number.h"
#include "evaluation/embedder.h"
#include "evaluation/knn.h"
#include "tensor/format.h"
#include "tensor/io/npy.h"
#include "tensor/ops.h"
#include "tensor/text.h"

using namespace la;

namespace {

namespace fs = std::filesystem;

struct ClusterOptions {
  ModelOptions model;
  int64_t clusters = 0, most_clusters = 30;
  uint64_t seed = 0;
  std::string assign;
  std::string out, folders;
  int64_t sheet_pictures = 25;
  bool copy = false, force = false;
};

/// The vectors of the pictures that can be read, f32 [N, D].
struct Embedded {
  std::vector<int64_t> pictures;
  Tensor vectors;
};

Embedded embed_all(const Embedder& embedder, const Dataset& data) {
  Embedded result;
  std::vector<Tensor> parts;
  const auto take = [&](const EmbeddedPictures& some) {
    parts.push_back(some.outputs.front());
    result.pictures.insert(result.pictures.end(), some.numbers.begin(), some.numbers.end());
  };
  Progress progress(stderr);
  const ProgressCallback show = progress.callback();
  embedder.all_pictures(data, alone(), take, [&](std::string_view what, int64_t done, int64_t n) {
    print_warnings(data);
    show(what, done, n);
  });
  check(!parts.empty(), "there is no picture to cluster");
  result.vectors = ops::concatenate(parts, 0);
  return result;
}

/// The centroids of an earlier call.
Tensor read_centroids(const std::string& file, const Embedder& embedder, const Model& model) {
  const Tensor centroids = read_npy(file);
  const Tensor view = Tensor::zeros({1, model.view.size, model.view.size, model.channels});
  const int64_t dim = embedder.outputs_of_views(view).front().size(1);
  check(centroids.rank() == 2 && centroids.size(0) > 0 && centroids.size(1) == dim,
        "{}: has shape {}, expected centroids [m, {}], as the network's embeddings are of {} numbers", file,
        centroids.shape(), dim, dim);
  check(is_finite(centroids), "{}: has values that are not finite", file);
  return centroids.to(model.device());
}

void print_tried(const std::vector<TriedNumber>& tried, int64_t pictures) {
  print(
      "number of clusters, tried {} times on two halves of {} (stability: adjusted Rand index of the "
      "clusters of a "
      "half and those that the other predicts)\n"
      "  {:>8}  {:>21}  {:>9}\n",
      halvings, counted(std::min(pictures / 2, most_in_half), "picture"), "clusters", "mean squared distance",
      "stability");
  for (const TriedNumber& number : tried)
    print("  {:>8}  {:>21.4f}  {:>9.3f}\n", number.clusters, number.mean_square, number.stability);
}

/// The number that the user gave, or the one on which the halves of the pictures agree most.
int64_t number_of_clusters(const Tensor& vectors, const ClusterOptions& options) {
  if (options.clusters > 0) return options.clusters;
  const std::vector<TriedNumber> tried =
      try_numbers(vectors, options.most_clusters, options.seed, Progress(stderr).callback());
  if (tried.empty()) {
    print("chosen: 1 cluster; to try others takes at least 8 pictures\n");
    return 1;
  }
  print_tried(tried, vectors.size(0));
  std::vector<double> stabilities;
  for (const TriedNumber& number : tried) stabilities.push_back(number.stability);
  const TriedNumber& chosen = tried[choose_number(stabilities)];
  if (chosen.stability <= 0) {
    print("chosen: 1 cluster, for no other number is stable\n");
    return 1;
  }
  print("chosen: {} clusters, the most stable (1: the same from both halves, 0: as alike as by chance)\n",
        chosen.clusters);
  return chosen.clusters;
}

void check_number(int64_t clusters, int64_t pictures) {
  check(clusters <= pictures, "`clusters` {}: expected at most {}, as many as there are pictures", clusters,
        pictures);
}

Tensor find_centroids(const Tensor& vectors, const ClusterOptions& options) {
  check_number(options.clusters, vectors.size(0));
  const int64_t m = number_of_clusters(vectors, options);
  const Tensor centroids = find_clusters(vectors, m, options.seed, Progress(stderr).callback());
  return largest_first(centroids, members_of(vectors, centroids));
}

void print_clusters(const PictureClusters& pictures) {
  constexpr int64_t most = 30;
  print("{} in {}\n  {:>7}  {:>8}  {:>13}  {}\n", counted(std::ssize(pictures.pictures), "picture"),
        counted(pictures.size(), "cluster"), "cluster", "pictures", "mean distance", "most typical");
  int64_t empty = 0;
  for (int64_t c = 0; c < pictures.size(); ++c) {
    const std::vector<int32_t>& members = pictures.clusters.members[static_cast<size_t>(c)];
    if (members.empty()) ++empty;
    if (members.empty() || c >= most) continue;
    print("  {:>7}  {:>8}  {:>13.4f}  {}\n", c, members.size(), pictures.clusters.mean_distance(c),
          printable(pictures.data.name(pictures.picture(members.front()))));
  }
  if (pictures.size() > most) print("  and {} more\n", pictures.size() - most);
  if (empty > 0) print("{} without a picture\n", counted(empty, "cluster is", "clusters are"));
}

void print_agreement(const char* vectors, const std::vector<int32_t>& clusters,
                     const std::vector<int32_t>& labels) {
  print("  {:<22}  {:>6.3f}  {:>6.3f}  {:>6.3f}\n", vectors, purity(clusters, labels),
        normalized_mutual_information(clusters, labels), adjusted_rand_index(clusters, labels));
}

/// Whether k-means of the pixels, as the network sees them, is cheap enough.
bool pixels_fit(const Model& model, int64_t pictures) {
  constexpr int64_t most = int64_t{512} << 20;  // bytes
  const int64_t floats = pictures * model.view.size * model.view.size * model.channels;
  return floats * static_cast<int64_t>(sizeof(float)) <= most;
}

/// What the clusters have to do with the labels, beside as many clusters of the pixels.
void compare_with_labels(const Model& model, const PictureClusters& pictures, const ClusterOptions& options) {
  const Subset shown(pictures.data, pictures.pictures);
  const std::vector<int32_t> labels = labels_of(shown);
  const auto labeled = std::count_if(labels.begin(), labels.end(), [](int32_t label) { return label >= 0; });
  if (labeled == 0) return;
  print(
      "agreement with the labels of {} (NMI: over the arithmetic mean of the entropies; ARI: adjusted Rand "
      "index)\n"
      "  {:<22}  {:>6}  {:>6}  {:>6}\n",
      counted(labeled, "picture"), counted(pictures.size(), "cluster") + " of", "purity", "NMI", "ARI");
  print_agreement("embeddings", pictures.clusters.labels, labels);
  if (!options.assign.empty() || !pixels_fit(model, shown.size())) return;
  const Tensor pixels = pixel_vectors(shown, model.view).to(model.device());
  const Tensor centroids = find_clusters(pixels, pictures.size(), options.seed, Progress(stderr).callback());
  print_agreement("pixels of unit length", members_of(pixels, centroids).labels, labels);
}

void write_results(StagedFolder& out, StagedFolder* folders, const PictureClusters& pictures,
                   const Tensor& centroids, const ClusterOptions& options) {
  if (options.sheet_pictures > 0)
    write_cluster_sheets(out, pictures, options.sheet_pictures, Progress(stderr).callback());
  NpyWriter file(out.path(centroids_file), {centroids.size(1)});
  file.append(centroids);
  file.finish();
  write_cluster_table(out.path(table_file), pictures);
  if (folders != nullptr)
    write_cluster_folders(*folders, pictures, options.copy ? FolderContent::copies : FolderContent::links,
                          Progress(stderr).callback());
  out.commit(is_cluster_file);
  print("{}: {}, {}{}\n", printable(out.folder()), table_file, centroids_file,
        options.sheet_pictures > 0 ? " and a contact sheet of each cluster" : "");
  if (folders == nullptr) return;
  folders->commit(is_cluster_folder);
  print("{}: the pictures, a folder for each cluster\n", printable(folders->folder()));
}

int cluster_pictures(ClusterOptions options, const OptionTable& table) {
  Model model = open_model(options.model, table);
  const DataSource source = open_data(options.model.data);
  const Dataset& data = *source.train;
  check_channels(model, data);
  check_number(options.clusters, data.size());
  const Embedder embedder(model, {});
  const Tensor given = options.assign.empty() ? Tensor() : read_centroids(options.assign, embedder, model);
  if (options.out.empty())
    options.out = fs::path(model.checkpoint).parent_path() / formatted("clusters-{}", source.name);
  if (!options.folders.empty() && full_path(options.out) == full_path(options.folders))
    throw UsageError(formatted("--folders {}: expected another folder than --out", options.folders));
  const auto out = stage_results("--out", options.out, options.model.data.path, options.force);
  const auto folders = options.folders.empty() ? nullptr
                                               : stage_results("--folders", options.folders,
                                                               options.model.data.path, options.force);
  begin_together(alone(), table, model, source);

  Embedded embedded = embed_all(embedder, data);
  const Tensor centroids = given.defined() ? given : find_centroids(embedded.vectors, options);
  const PictureClusters pictures{data, std::move(embedded.pictures), members_of(embedded.vectors, centroids)};
  print_clusters(pictures);
  if (data.has_labels()) compare_with_labels(model, pictures, options);
  write_results(*out, folders.get(), pictures, centroids, options);
  return 0;
}

constexpr ProgramInfo program = {"la_cluster", "Groups pictures by what a trained network makes of them."};

OptionTable options_of(ClusterOptions& options) {
  OptionTable t;
  add_model_options(t, options.model);
  Option& pictures = t.add("pictures", options.model.data.path, "folder of pictures");
  pictures.positional = pictures.required = true;
  t.group("Clusters");
  t.add("clusters", options.clusters, at_least(0),
        "how many; 0: chosen, those that come out most alike from both halves of the pictures");
  t.add("most-clusters", options.most_clusters, between(2, 1000), "to choose from 2 to so many");
  t.add("seed", options.seed,
        "of the halves, and of the first centroids; the same seed repeats the clusters");
  t.add("assign", options.assign,
        "centroids.npy of an earlier call: put the pictures into those clusters, and find none");
  t.group("Output");
  t.add("out", options.out,
        "DIR: clusters.csv (file; cluster, from 0; Euclidean distance of its embedding to the centroid; rank "
        "in "
        "the cluster, 1 the nearest), centroids.npy, f32 [m, D], and contact sheets; empty: clusters-<data> "
        "beside the checkpoint");
  t.add("sheet-pictures", options.sheet_pictures, between(0, 1000),
        "pictures on the contact sheet of a cluster, the most typical first; 0: no sheets");
  t.add("folders", options.folders,
        "DIR: a folder for each cluster, with links to its pictures, named by rank; pictures that are not in "
        "files of their own become PNG files");
  t.add("copy", options.copy, "--folders: copies of the pictures in place of links");
  t.add("force", options.force, "overwrite what an earlier call has written into the folders");
  t.group("Pictures");
  add_model_picture_options(t, options.model.data);
  t.group("Machine");
  add_machine_options(t, options.model.device, options.model.threads);
  return t;
}

void check_options(const ClusterOptions& options) {
  if (options.clusters > 0 && !options.assign.empty())
    throw UsageError("--clusters finds clusters, --assign takes those of an earlier call: one of them");
  if (options.copy && options.folders.empty()) throw UsageError("--copy needs --folders DIR");
}

}  // namespace

int main(int argc, char** argv) {
  let_waiting_threads_sleep(argv);
  return run_program(program.name, [&] {
    ClusterOptions options;
    OptionTable table = options_of(options);
    if (!parse_command_line(program, table, argc, argv)) return 0;
    check_options(options);
    catch_interrupts();
    return cluster_pictures(options, table);
  });
}
