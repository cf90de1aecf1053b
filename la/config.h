// Config: every option of a training run, with its default. The names are those of the command line
// (`--bank-momentum` is bank_momentum); apps/option_table.cpp says what each one means to a user.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "autograd/sgd.h"
#include "layers/resnet.h"
#include "tensor/device.h"
#include "tensor/dtype.h"

namespace la {

enum class Precision { f32, bf16, automatic };  // automatic: bf16 where the device multiplies it
/// The type of a network's activations, once the precision has been chosen.
constexpr DType activation_type(Precision precision) {
  return precision == Precision::bf16 ? DType::bf16 : DType::f32;
}
using ScheduleKind = Schedule::Kind;
enum class IrLoss { nce, softmax };
enum class NceConstant { original, estimate };  // Z = 2876934.2 / 1281167 * N, or from the first batch
enum class CloseNeighborKind { kmeans, knn };
enum class BankInit { random, forward };  // random unit vectors, or one pass of the untrained network

/// How the values of an enum are written on the command line and in presets, in the enum's order.
template <class E>
inline constexpr std::array<std::string_view, 0> enum_names{};
template <>
inline constexpr std::array<std::string_view, 3> enum_names<Precision>{"f32", "bf16", "auto"};
template <>
inline constexpr std::array<std::string_view, 2> enum_names<ScheduleKind>{"step", "cosine"};
template <>
inline constexpr std::array<std::string_view, 3> enum_names<HeadKind>{"linear", "linear-bn", "mlp"};
template <>
inline constexpr std::array<std::string_view, 2> enum_names<IrLoss>{"nce", "softmax"};
template <>
inline constexpr std::array<std::string_view, 2> enum_names<NceConstant>{"original", "estimate"};
template <>
inline constexpr std::array<std::string_view, 2> enum_names<CloseNeighborKind>{"kmeans", "knn"};
template <>
inline constexpr std::array<std::string_view, 2> enum_names<BankInit>{"random", "forward"};

template <class E>
requires(!enum_names<E>.empty()) constexpr std::string_view name_of(E value) {
  return enum_names<E>[static_cast<size_t>(value)];
}

struct Config {
  // Data.
  std::string data = "/usr/share/datasets/fashion-mnist";
  std::string format = "auto";
  int64_t limit = 0;  // use only so many training pictures; 0 is all
  std::string val;    // test pictures of a picture folder, if not in data/val
  double val_split =
      0;               // share of a picture folder to be set apart for testing, where it has no test pictures
  int image_size = 0;  // height and width of a view; 0: the pictures' own, or 224
  double max_bad = 0.01;  // share of picture files that may be damaged or gone, if they are more than a few
  int64_t max_pixels = 200'000'000;        // of a picture file; larger ones are bad
  std::string background_color = "white";  // behind what is transparent

  // Augmentation.
  float crop_min_area = 0.2f;  // random resized crop: share of the picture's area, from here to 1
  float crop_max_aspect = 4.0f / 3.0f;
  float flip = 0.5f;       // probability
  float jitter = 0.4f;     // brightness, contrast, saturation, hue
  float grayscale = 0.2f;  // probability

  // Network.
  std::string network = "resnet20";
  HeadKind head = HeadKind::linear;
  int dim = 128;
  std::string init;          // a state dictionary in a safetensors file, to begin with
  std::string init_without;  // names of its tensors, separated by commas, that begin so are left out
  Precision precision = Precision::f32;
  std::string device = "auto";
  bool tf32 = false;      // on a GPU, f32 products with 10 bits of fraction
  bool autotune = false;  // on a GPU, time the plans of convolutions and products
  bool no_graph = false;  // on a GPU, launch each kernel of a step by itself

  // Optimization. `epochs` counts all epochs, those of the warm start included.
  int epochs = 200;
  int warm_start_epochs = 10;
  int batch = 128;
  float learning_rate = 0.03f;
  ScheduleKind schedule = ScheduleKind::step;
  // step: the rate is divided by 10 after so many epochs; empty chooses 60 % and 80 % of `epochs`
  std::vector<int> learning_rate_drops;
  float learning_rate_warm_up = 0.0f;  // epochs of linear increase from 0
  float momentum = 0.9f;
  float weight_decay = 1e-4f;

  // Local Aggregation.
  float temperature = 0.07f;
  float bank_momentum = 0.5f;
  BankInit bank_init = BankInit::random;
  bool bank_refresh = false;  // before each clustering, recompute the whole bank without augmentation
  int background = 0;         // k; 0 chooses it from the number of pictures
  int clusterings = 0;        // H; likewise
  int clusters = 0;           // m; likewise
  int cluster_every = 1;
  int cluster_iterations = 20;
  bool spherical = false;
  CloseNeighborKind close_neighbors = CloseNeighborKind::kmeans;
  int close_count = 0;  // close neighbors of each picture with `knn`; 0 chooses it
  IrLoss ir_loss = IrLoss::nce;
  int noise = 0;  // noise samples of NCE; 0 chooses it
  NceConstant nce_constant = NceConstant::original;

  // The run.
  uint64_t seed = 0;
  int threads = 0;         // 0: all cores
  int loader_threads = 1;  // threads that prepare batches ahead
  std::string run;         // run folder; empty chooses runs/<data>-<network>-<number>
  bool resume = false;
  bool dry_run = false;  // print the plan, time a few steps, and end
  // Epochs between kNN evaluations; 0: only at the start, after the warm start and at the end.
  int eval_every = 0;
};

/// Checks what needs no data: values that contradict each other. Throws an Error that names option and value.
void validate(const Config& config);
/// Checks the values against `pictures`, the number N of training pictures; run choose_defaults first.
void validate(const Config& config, int64_t pictures);
/// Fills in every value that is left to the program (k, H, m, close_count, noise,
/// learning_rate_drops) by scaling the paper's values for ImageNet to `pictures`, and returns one
/// line of text for each, which says why.
std::vector<std::string> choose_defaults(Config& config, int64_t pictures);
/// The same for what depends on the device: the precision.
std::vector<std::string> choose_for_device(Config& config, Device device);

}  // namespace la
