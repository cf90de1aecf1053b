// Times on a GPU what training at the paper's size consists of: steps of networks, Local Aggregation's own
// part of a step, exact selection, k-means; and, as the yardsticks, a copy and a matrix product.
//
//   bench_gpu [NAME ...]
//
// A line for a reader or a program: name, median, unit, separated by tabs; a line that starts with #
// explains. bench/peer_gpu.py prints the same lines for PyTorch, bench/compare.sh both with their ratios.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "autograd/functions.h"
#include "autograd/sgd.h"
#include "data/augmentation.h"
#include "la/kmeans.h"
#include "la/losses.h"
#include "la/memory_bank.h"
#include "la/neighbors.h"
#include "layers/networks.h"
#include "tensor/backend.h"
#include "tensor/clock.h"
#include "tensor/format.h"
#include "tensor/ops.h"

using namespace la;

namespace {

const Device gpu = Device::cuda();

/// Median seconds of one call of `work`, of `rounds` measurements of `calls` calls each.
double seconds_of(const std::function<void()>& work, int calls, int rounds = 7) {
  for (int i = 0; i < 3; ++i) work();
  std::vector<double> times;
  for (int round = 0; round < rounds; ++round) {
    backend(gpu).synchronize();
    const double begin = now();
    for (int i = 0; i < calls; ++i) work();
    backend(gpu).synchronize();
    times.push_back((now() - begin) / calls);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

void print(const std::string& name, double value, const char* unit) {
  std::printf("%s\t%.4g\t%s\n", name.c_str(), value, unit);
  std::fflush(stdout);
}

void print_line(const std::string& text) { std::printf("# %s\n", text.c_str()); }

// ---- Yardsticks -------------------------------------------------------------------------------------------

void measure_copy() {
  const Tensor from = Tensor::full({int64_t{1} << 28}, 1.0f, DType::f32, gpu),
               to(from.shape(), DType::f32, gpu);
  const double seconds = seconds_of([&] { ops::copy_into(to, from); }, 5);
  print("copy", 2.0 * static_cast<double>(from.bytes()) / seconds / 1e9, "GB/s");
}

void measure_matmul() {
  constexpr int64_t n = 8192;
  const auto random = [](uint64_t seed) {
    return ops::cast(ops::random_normal({n, n}, {.seed = seed}, gpu), DType::bf16);
  };
  const Tensor a = random(1), b = random(2), c({n, n}, DType::bf16, gpu);
  const double seconds = seconds_of([&] { ops::matmul_into(c, a, b, {.transpose_b = true}); }, 5);
  print("matmul_bf16", 2.0 * n * n * n / seconds / 1e12, "TFLOP/s");
}

// ---- Training steps ---------------------------------------------------------------------------------------

struct Training {
  std::string network;
  int64_t size, batch;
  bool augment;  // pictures lie on the device as u8
};

/// Random, because chips draw less power, and run faster, on equal numbers.
Tensor random_bytes(const Shape& shape) {
  std::vector<uint64_t> words(static_cast<size_t>((shape.numel() + 7) / 8));
  std::mt19937_64 random(1);
  for (uint64_t& word : words) word = random();
  Tensor bytes(shape, DType::u8, gpu);
  bytes.copy_from_host(words.data());
  return bytes;
}

/// Plans of views as training makes them, as bytes: u8 [batch, sizeof(ViewPlan)].
Tensor random_plans(int64_t batch, int64_t size) {
  std::vector<ViewPlan> plans;
  for (int64_t i = 0; i < batch; ++i)
    plans.push_back(plan_augmentation({}, static_cast<int>(size), static_cast<int>(size), 1, 0, i));
  Tensor bytes({batch, static_cast<int64_t>(sizeof(ViewPlan))}, DType::u8, gpu);
  bytes.copy_from_host(plans.data());
  return bytes;
}

/// Forward, backward and update, recorded once. With `augment` the views are made from 50,000
/// pictures on the device.
void measure_training(const std::string& name, const Training& t) {
  constexpr int64_t channels = 3;
  auto network = make_network({.name = t.network, .channels = channels, .image_size = t.size});
  network->initialize(1);
  network->to(gpu);
  Sgd sgd(network->parameters(), {.momentum = 0.9f, .weight_decay = 1e-4f});
  sgd.set_learning_rate(0.01f);

  const Variable target(ops::random_normal({t.batch, 128}, {.seed = 2}, gpu));
  const int64_t resident = t.augment ? 50'000 : 0;
  const Tensor pictures = random_bytes({resident, t.size, t.size, channels});
  const Tensor rows = ops::random_below({t.batch}, std::max<int64_t>(resident, 1), {.seed = 3}, gpu);
  const Tensor plans = random_plans(t.batch, t.size);
  const ViewFormat format{
      .size = static_cast<int>(t.size), .mean = {0.5f, 0.5f, 0.5f}, .stddev = {0.2f, 0.2f, 0.2f}};
  const Variable fixed(ops::random_normal({t.batch, t.size, t.size, channels}, {.seed = 1}, gpu));
  CapturedStep step(gpu, true);
  const double seconds = seconds_of(
      [&] {
        step.run([&] {
          const Variable images =
              t.augment ? Variable(ops::make_views(pictures, rows, plans, format)) : fixed;
          const Variable v = l2_normalize((*network)(cast(images, DType::bf16)));
          backward(mean(multiply(v, target)));
          sgd.step();
        });
      },
      t.batch * t.size > 16384 ? 5 : 50);
  print(name, static_cast<double>(t.batch) / seconds, "images/s");
}

// ---- Local Aggregation ------------------------------------------------------------------------------------

constexpr int64_t bank_size = 1'281'167, dim = 128, batch = 256, background = 4096, labelings = 10,
                  clusters = 30'000;

/// Unit vectors in clouds: what a trained bank looks like.
Tensor clustered_vectors(int64_t n, uint64_t seed) {
  constexpr int64_t clouds = 10'000;
  const Tensor centers = ops::random_normal({clouds, dim}, {1, RandomStream::test, 0}, gpu);
  const Tensor cloud = ops::random_below({n}, clouds, {seed, RandomStream::test, 1}, gpu);
  const Tensor spread = ops::random_normal({n, dim}, {seed, RandomStream::test, 2}, gpu);
  return ops::l2_normalize(ops::add(ops::gather_rows(centers, cloud), spread)).y;
}

/// Neighbors, loss, gradient and bank update of one step.
void measure_la_step() {
  MemoryBank bank(bank_size, dim, 0.5f, 1, gpu);
  bank.assign_all(clustered_vectors(bank_size, 1));
  const Tensor labels = ops::random_below({labelings, bank_size}, clusters, {3, RandomStream::test, 0}, gpu);
  std::vector<int32_t> rows;
  for (int32_t i = 0; i < batch; ++i) rows.push_back(i * 4999);
  const Tensor own = Tensor::from(rows, {batch}, gpu);
  const Variable v(
      ops::l2_normalize(ops::add(ops::gather_rows(bank.vectors(), own), clustered_vectors(batch, 2))).y,
      true);
  CapturedStep step(gpu, true);
  const double seconds = seconds_of(
      [&] {
        step.run([&] {
          const Background near = background_neighbors(bank, v.value(), own, background);
          const CloseMasks close = close_by_clusters(bank, labels, own, near);
          Variable fresh = v;
          fresh.clear_grad();
          backward(local_aggregation_loss(fresh, bank, near, close, 0.07f));
          bank.update(own, v.value());
        });
      },
      10);
  print("la_step", 1e3 * seconds, "ms");
}

void measure_top_k() {
  const Tensor scores =
      ops::matmul(clustered_vectors(batch, 2), clustered_vectors(bank_size, 1), {.transpose_b = true});
  const double seconds = seconds_of([&] { ops::top_k(scores, background); }, 5);
  print("top_4096", 1e3 * seconds, "ms");
}

void measure_kmeans() {
  const Tensor x = clustered_vectors(bank_size, 1);
  const Tensor centroids = ops::copy(x.rows(0, clusters));
  const double assign = seconds_of([&] { ops::nearest_centroid(x, centroids); }, 2, 3);
  print("kmeans_assign", 1e3 * assign, "ms");
  print("kmeans_assign_rate", 2.0 * bank_size * clusters * dim / assign / 1e12, "TFLOP/s");
  const Tensor labels = ops::nearest_centroid(x, centroids).labels;
  const auto update = [&] {
    ops::sum_by_label(x, labels, clusters);
    ops::count_labels(labels, clusters);
  };
  print("kmeans_update", 1e3 * seconds_of(update, 2, 3), "ms");
}

struct Measurement {
  std::string name;
  std::function<void()> run;
};

/// Which of NVIDIA's libraries the process has loaded, and from where.
void show_libraries() {
  print_line(backend(gpu).name());
  ops::matmul(Tensor::zeros({8, 8}, DType::f32, gpu), Tensor::zeros({8, 8}, DType::f32, gpu));
  std::ifstream maps("/proc/self/maps");
  std::set<std::string> paths;
  for (std::string line; std::getline(maps, line);)
    if (const size_t path = line.find('/'); path != std::string::npos)
      for (const char* name : {"libcudnn", "libcublas", "libcuda.", "libnvrtc"})
        if (line.find(name, path) != std::string::npos) paths.insert(line.substr(path));
  for (const std::string& path : paths) print_line(path);
}

const Measurement measurements[] = {
    {"libraries", show_libraries},
    {"copy", measure_copy},
    {"matmul_bf16", measure_matmul},
    {"resnet50_step",
     [] {
       measure_training("resnet50_step", {"resnet50", 224, 256, false});
     }},
    {"resnet18_small_step",
     [] {
       measure_training("resnet18_small_step", {"resnet18", 32, 512, true});
     }},
    {"top_4096", measure_top_k},
    {"la_step", measure_la_step},
    {"kmeans", measure_kmeans},
};

void check_name(const std::string& name) {
  std::string known;
  for (const Measurement& m : measurements) {
    if (m.name == name) return;
    known += " " + m.name;
  }
  fail("there is no measurement '{}', but{}", name, known);
}

}  // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string> chosen(argv + 1, argv + argc);
  for (const std::string& name : chosen) check_name(name);
  if (const std::string problem = cuda_problem(); !problem.empty()) fail("no GPU: {}", problem);
  autotune(std::getenv("LA_NO_AUTOTUNE") == nullptr);  // as the peer's cudnn.benchmark
  for (const Measurement& m : measurements)
    if (chosen.empty() || std::find(chosen.begin(), chosen.end(), m.name) != chosen.end()) m.run();
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench_gpu: %s\n", error.what());
  return 1;
}
