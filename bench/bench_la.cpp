// Times the part of training that is Local Aggregation's own, at the size of the default data set: what a
// step adds to the network, instance recognition, k-means over the bank and the exact nearest neighbors.
//
//   bench_la [FILE]
//
// With FILE, writes the vectors there, for bench/peer_la.py to do the same work on them with PyTorch and
// faiss. A line for a reader or a program: name, median and least time in ms, separated by tabs; a line that
// starts with # explains.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "la/kmeans.h"
#include "la/memory_bank.h"
#include "tensor/format.h"
#include "tensor/ops.h"

namespace {

using namespace la;

constexpr int64_t pictures = 60000, queries = 10000, dim = 128, batch = 128;
constexpr int64_t background = 4096, labelings = 3, clusters = 600, noise = 4096, knn = 200;
constexpr float factor = 1 / 0.07f;

double now_ms() {
  using namespace std::chrono;
  return duration<double, std::milli>(steady_clock::now().time_since_epoch()).count();
}

/// Times of the parts of something that is done again and again.
class Times {
 public:
  /// Runs `part` and adds its time to the row called `name`.
  void measure(const std::string& name, const std::function<void()>& part) {
    const double start = now_ms();
    part();
    row(name).push_back(now_ms() - start);
  }

  /// Adds a row with the sum of the last times of some others.
  void sum(const std::string& name, const std::vector<std::string>& parts) {
    double total = 0;
    for (const std::string& part : parts) total += row(part).back();
    row(name).push_back(total);
  }

  void print() {
    for (auto& [name, times] : rows_) {
      std::sort(times.begin(), times.end());
      std::printf("%s\t%.3f\t%.3f\n", name.c_str(), times[times.size() / 2], times.front());
    }
    std::fflush(stdout);
    rows_.clear();
  }

 private:
  std::vector<double>& row(const std::string& name) {
    for (auto& [known, times] : rows_)
      if (known == name) return times;
    return rows_.emplace_back(name, std::vector<double>()).second;
  }

  std::vector<std::pair<std::string, std::vector<double>>> rows_;
};

/// Unit vectors in `clusters` clouds, in random order: what a trained bank looks like.
Tensor clustered_vectors(int64_t n, uint64_t seed) {
  const Tensor centers = ops::random_normal({clusters, dim}, {1, RandomStream::test, 0});
  const Tensor cloud = ops::random_below({n}, clusters, {seed, RandomStream::test, 1});
  const Tensor spread = ops::random_normal({n, dim}, {seed, RandomStream::test, 2});
  return ops::l2_normalize(ops::add(ops::gather_rows(centers, cloud), spread)).y;
}

void write_vectors(const char* path, const Tensor& bank, const Tensor& others) {
  std::ofstream file(path, std::ios::binary);
  for (const Tensor& t : {bank, others})
    file.write(static_cast<const char*>(t.raw()), static_cast<std::streamsize>(t.bytes()));
  check(file.good(), "cannot write {}", path);
}

/// What Local Aggregation adds to a training step, and the bank product alone for comparison.
void time_step(const Tensor& bank, const Tensor& v, const Tensor& own) {
  const Tensor labels = ops::random_below({pictures, labelings}, clusters, {3, RandomStream::test, 0});
  const Tensor product({batch, pictures});
  Times times;
  for (int repeat = 0; repeat < 30; ++repeat) {
    TopK near;
    Tensor close, weights;
    times.measure("nearest_rows", [&] { near = ops::nearest_rows(v, bank, background, own); });
    times.measure("same_cluster_mask", [&] {
      close = ops::same_cluster_mask(labels, ops::gather_rows(labels, own), near.indices);
    });
    times.measure("log_sums", [&] {
      weights = ops::log_sums_gradient(near.values, close, factor, ops::log_sums(near.values, close, factor));
    });
    times.measure("gather_sum", [&] { ops::gather_sum(weights, near.indices, bank); });
    times.measure("ema_update_rows", [&] { ops::ema_update_rows(bank, own, v, 0.5f); });
    times.sum("la_step", {"nearest_rows", "same_cluster_mask", "log_sums", "gather_sum", "ema_update_rows"});
    times.measure("bank_product", [&] { ops::matmul_into(product, v, bank, {.transpose_b = true}); });
  }
  times.print();
}

/// The warm start: the full softmax over all pictures, and noise-contrastive estimation.
void time_instance_recognition(const Tensor& bank, const Tensor& v, const Tensor& own) {
  const Tensor scores({batch, pictures});
  const Tensor candidates = ops::random_below({batch, 1 + noise}, pictures, {4, RandomStream::test, 0});
  Times times;
  for (int repeat = 0; repeat < 15; ++repeat) {
    ops::matmul_into(scores, v, bank, {.transpose_b = true});
    times.measure("softmax_cross_entropy", [&] { ops::softmax_cross_entropy(scores, own, factor); });
    Tensor chosen;
    RowLosses losses;
    times.measure("nce_gather_dot", [&] { chosen = ops::gather_dot(v, bank, candidates); });
    times.measure("nce_logistic_loss", [&] { losses = ops::logistic_loss(chosen, factor, -10.0f); });
    times.measure("nce_gather_sum", [&] { ops::gather_sum(losses.gradient, candidates, bank); });
    times.sum("nce", {"nce_gather_dot", "nce_logistic_loss", "nce_gather_sum"});
  }
  times.print();
}

void time_kmeans(const Tensor& bank) {
  Times times;
  double inertia = 0;
  for (int repeat = 0; repeat < 3; ++repeat) {
    times.measure("kmeans_20",
                  [&] { inertia = kmeans(bank, {.clusters = clusters, .iterations = 20}).inertia; });
  }
  times.print();
  std::printf("# k-means inertia %.1f\n", inertia);
}

void time_exact_neighbors(const Tensor& bank, const Tensor& others) {
  Times times;
  for (int repeat = 0; repeat < 3; ++repeat)
    times.measure("knn_10000", [&] { ops::nearest_rows(others, bank, knn); });
  times.print();
}

}  // namespace

int main(int argc, char** argv) try {
  const Tensor bank = clustered_vectors(pictures, 1), others = clustered_vectors(queries, 2);
  if (argc > 1) write_vectors(argv[1], bank, others);
  std::vector<int32_t> rows;
  for (int32_t i = 0; i < batch; ++i) rows.push_back(i * 461);
  const Tensor own = Tensor::from(rows, {batch});
  const Tensor v = ops::l2_normalize(ops::add(ops::gather_rows(bank, own), others.rows(0, batch))).y;
  std::printf("# %d threads; %lld x %lld bank, batch %lld; milliseconds: median, least\n", num_threads(),
              static_cast<long long>(pictures), static_cast<long long>(dim), static_cast<long long>(batch));
  time_kmeans(bank);
  time_exact_neighbors(bank, others);
  time_instance_recognition(bank, v, own);
  time_step(bank, v, own);
} catch (const la::Error& error) {
  std::fprintf(stderr, "bench_la: %s\n", error.what());
  return 1;
}
