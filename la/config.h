// Config: every option of a training run, with its default. Errors name a field as `bank_momentum`; on the
// command line it is --bank-momentum, and apps/options/training_options.cpp says what it means to a user.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "autograd/sgd.h"
#include "data/augmentation.h"
#include "data/dataset.h"
#include "la/kmeans.h"
#include "layers/networks.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/op_types.h"
#include "tensor/shards.h"

namespace la {

enum class Precision { f32, bf16, automatic };  // automatic: bf16 where the device multiplies it
/// The type of a network's activations, once the precision has been chosen.
constexpr DType activation_type(Precision precision) {
  return precision == Precision::bf16 ? DType::bf16 : DType::f32;
}
using ScheduleKind = Schedule::Kind;
enum class IrLoss { nce, softmax };
enum class NceConstant { original, estimate };  // Z = 2876934.2 / 1281167 * N, or from the first batch
/// Members of a picture's clusters by k-means, its nearest, or those that chains of nearest neighbors join.
enum class CloseNeighborKind { kmeans, knn, components };
enum class BankInit { random, forward };  // random unit vectors, or one pass of the untrained network
enum class ClusterSeeds { fresh, same };  // of the clusterings of each time, or those of the first again
/// Which parameters weight decay applies to: `all` includes the scales and shifts of batch norm.
enum class DecayOf { weights, weights_and_biases, all };

/// How the values of an enum are written on the command line and in presets, in the enum's order.
template <class E>
inline constexpr std::array<std::string_view, 0> enum_names{};
template <>
inline constexpr std::array<std::string_view, 3> enum_names<Precision>{"f32", "bf16", "auto"};
template <>
inline constexpr std::array<std::string_view, 2> enum_names<ScheduleKind>{"step", "cosine"};
template <>
inline constexpr std::array<std::string_view, 4> enum_names<HeadKind>{"linear", "linear-bn", "mlp", "none"};
template <>
inline constexpr std::array<std::string_view, 2> enum_names<IrLoss>{"nce", "softmax"};
template <>
inline constexpr std::array<std::string_view, 2> enum_names<NceConstant>{"original", "estimate"};
template <>
inline constexpr std::array<std::string_view, 3> enum_names<CloseNeighborKind>{"kmeans", "knn", "components"};
template <>
inline constexpr std::array<std::string_view, 3> enum_names<SharedClusters>{"any", "all", "mean"};
template <>
inline constexpr std::array<std::string_view, 2> enum_names<BankInit>{"random", "forward"};
template <>
inline constexpr std::array<std::string_view, 2> enum_names<ClusterSeeds>{"fresh", "same"};
template <>
inline constexpr std::array<std::string_view, 3> enum_names<DecayOf>{"weights", "weights-and-biases", "all"};
template <>
inline constexpr std::array<std::string_view, 3> enum_names<FixedCrop>{"no", "anywhere", "central"};
template <>
inline constexpr std::array<std::string_view, 2> enum_names<Initialization>{"torchvision", "original"};

template <class E>
requires(!enum_names<E>.empty()) constexpr std::string_view name_of(E value) {
  return enum_names<E>[static_cast<size_t>(value)];
}

struct OptimizerOptions {
  // Counts all epochs, those of the warm start included.
  int epochs = 200;
  /// The end of the run, wherever it falls in an epoch; 0: after the epochs above. They are set to it, rounded
  /// up, by choose_defaults.
  int64_t steps = 0;
  int warm_start_epochs = 10;
  /// The baseline of every table: cross-entropy on the labels, in place of IR and LA. The embedding is as long as
  /// there are labels, and says how likely each of them is.
  bool supervised = false;
  int batch = 128;
  /// Its `epochs` and `drops` follow from those here.
  Schedule schedule = {};
  /// When the rate is divided by 10; without any, choose_defaults chooses them.
  std::vector<TrainingTime> drops = {};
  Sgd::Options sgd = {.momentum = 0.9f, .weight_decay = 1e-4f};
  DecayOf decay_of = DecayOf::weights;
};

struct LaOptions {
  float temperature = 0.07f;
  float bank_momentum = 0.5f;
  BankInit bank_init = BankInit::random;
  bool bank_refresh = false;       // before each clustering, recompute the whole bank without augmentation
  int background = 0;              // k; 0 chooses it from the number of pictures
  bool whole_background = false;   // B_i is the whole bank: k = N
  int clusterings = 0;             // H; 0 chooses it
  std::vector<int> clusters = {};  // m, or that of each clustering; none or 0 chooses it
  KMeansOptions kmeans = {};       // its clusters are those above
  TrainingTime cluster_every{1};
  ClusterSeeds cluster_seeds = ClusterSeeds::fresh;
  /// How H clusterings say who is close: by any of them, by all, or (count) by the mean of their ratios.
  SharedClusters combine_clusterings = SharedClusters::any;
  CloseNeighborKind close_neighbors = CloseNeighborKind::kmeans;
  int close_count = 0;  // close neighbors of each picture with `knn`; 0 chooses it
  IrLoss ir_loss = IrLoss::nce;
  int noise = 0;  // noise samples of NCE; 0 chooses it
  NceConstant nce_constant = NceConstant::original;
};

struct RunOptions {
  uint64_t seed = 0;
  Precision precision = Precision::f32;
  std::string device = "auto";
  bool tf32 = false;             // on a GPU, f32 products with 10 bits of fraction
  bool autotune = false;         // on a GPU, time the plans of convolutions and products
  bool no_graph = false;         // on a GPU, launch each kernel of a step by itself
  int threads = 0;               // 0: all cores, shared by the processes of a host
  int64_t shards = 0;            // S, of each batch and of the bank; 0: one for each process
  bool sync_batch_norm = false;  // batch norm of a batch as a whole, not of each shard
  std::string collectives =
      "auto";  // by what several processes exchange tensors: NCCL where they have GPUs, or MPI
  double collective_timeout = 600;  // seconds that a process waits for the others
  int loader_threads = 1;           // threads that prepare batches ahead
  std::string init = {};            // a state dictionary in a safetensors file, to begin with
  std::string init_without = {};    // names of its tensors, separated by commas, that begin so are left out
  std::string folder = {};          // of the run; empty chooses runs/<data>-<network>-<number>
  bool resume = false;
  bool dry_run = false;  // print the plan, time a few steps, and end
  // Epochs between kNN evaluations; 0: only at the start, after the warm start and at the end.
  int eval_every = 0;
  TrainingTime keep_every = {};  // from one network that is kept to the next; 0: none
  bool tensorboard = false;      // event files in the run's folder
};

struct Config {
  DataOptions data = {.path = "/usr/share/datasets/fashion-mnist"};
  /// Without a size it is the pictures' own, or 224; mean and stddev come from the data (augmentation_for).
  AugmentationOptions augmentation = {.size = 0};
  /// Channels and image size come from the data.
  NetworkOptions network = {};
  OptimizerOptions optimizer = {};
  LaOptions la = {};
  RunOptions run = {};
};

/// Checks what needs no data: values that contradict each other. Throws an Error that names field and value.
void validate(const Config& config);
/// Checks the values against `pictures`, the number N of training pictures; run choose_defaults first.
void validate(const Config& config, int64_t pictures);
/// Checks them against the processes: an Error on all of them.
void validate(const Config& config, const Shards& shards);
/// Fills in every value that is left to the program (k, H, m, close_count, noise, learning_rate_drops, and
/// the epochs of a run whose steps are given) by scaling the paper's values for ImageNet to `pictures`, and returns one
/// line of text for each, which says why.
std::vector<std::string> choose_defaults(Config& config, int64_t pictures);
/// The same for what depends on the device: the precision.
std::vector<std::string> choose_for_device(Config& config, Device device);
/// k as choose_defaults chooses it for so many pictures.
int usual_background(int64_t pictures);

}  // namespace la
