// Times the steps of docs/fast.md: one op, the bank's nearest rows, from the naive loop to today's.
//
//   bench_tour [TURNS]
//
// The steps take turns, and the least time of each counts, so that a machine that others use too does little
// harm. All results must be equal. A floor is what the product must take at the machine's speed as measured
// here: of multiplying, by a large product of oneDNN, or of memory, by a copy, whichever is longer.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "docs/nearest_steps.h"
#include "tensor/format.h"
#include "tensor/ops.h"

namespace {

using namespace la;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr int64_t pictures = 60000, batch = 128, dim = 128, background = 4096;

double now_ms() {
  using namespace std::chrono;
  return duration<double, std::milli>(steady_clock::now().time_since_epoch()).count();
}

/// Adds the time of `part` to the least so far.
template <class Part>
auto timed(double& least, Part part) {
  const double start = now_ms();
  auto result = part();
  least = std::min(least, now_ms() - start);
  return result;
}

struct Step {
  std::string name;
  int threads;
  std::function<TopK(Step&)> run;  // sets the times
  double product = infinity;
  double selection = infinity;
  double total = infinity;
};

/// Vectors of nearly unit length whose numbers are multiples of 2^-10. Products are multiples of 2^-20, and
/// sums of 128 of them exact in f32 in whatever order, so that all steps must give equal results.
Tensor coarse_unit_vectors(int64_t n, uint64_t seed) {
  const Tensor vectors = ops::l2_normalize(ops::random_normal({n, dim}, {seed, RandomStream::test, 0})).y;
  float* x = vectors.data<float>();
  for (int64_t i = 0; i < vectors.numel(); ++i) x[i] = std::round(x[i] * 1024.0f) / 1024.0f;
  return vectors;
}

std::vector<Step> make_steps(const Tensor& v, const Tensor& bank) {
  const auto stored = [=](auto product, auto select) {
    return [=](Step& step) {
      const Tensor scores = timed(step.product, [&] { return product(v, bank); });
      return timed(step.selection, [&] { return select(scores, background); });
    };
  };
  const auto op = [=](Step&) { return ops::nearest_rows(v, bank, background); };
  std::vector<Step> steps{
      {"1 loops, full sort", 1, stored(steps::scores_by_loops, steps::select_by_sorting)},
      {"2 vectors and blocks, partition", 1, stored(steps::scores_by_blocks, steps::select_by_partitioning)},
      {"3 library's product, counting", 1, stored(steps::scores_by_library, steps::select_by_counting)},
      {"4 tiles and a threshold", 1, [=](Step&) { return steps::nearest_by_threshold(v, bank, background); }},
      {"5 today's op, one thread", 1, op}};
  if (num_threads() > 1) steps.push_back({"5 today's op, all threads", num_threads(), op});
  return steps;
}

/// What the machine can do with so many threads: the best of all turns.
class Machine {
 public:
  explicit Machine(int threads) : threads_(threads) {}

  void measure() {
    set_num_threads(threads_);
    timed(product_ms_, [&] { return ops::matmul_into(c_, a_, a_), 0; });
    timed(copy_ms_, [&] { return ops::copy_into(to_, from_), 0; });
  }
  /// GFLOP/s of a large product of oneDNN.
  double multiplies() const { return 2e-6 * n * n * n / product_ms_; }
  /// GB/s of a copy, which reads and writes each byte, between arrays that no cache holds.
  double copies() const { return 2e-6 * static_cast<double>(from_.bytes()) / copy_ms_; }

  /// Milliseconds that the op takes at least: for its product, and for reading the table once.
  double multiplying_floor() const { return 2e-6 * batch * pictures * dim / multiplies(); }
  double memory_floor() const { return 4e-6 * pictures * dim / copies(); }
  double floor() const { return std::max(multiplying_floor(), memory_floor()); }

  void print() const {
    std::printf("%d thread%s: multiplies %.0f GFLOP/s, copies %.1f GB/s; floors of the op %.1f and %.1f ms\n",
                threads_, threads_ == 1 ? "" : "s", multiplies(), copies(), multiplying_floor(),
                memory_floor());
  }

 private:
  static constexpr int64_t n = 2048;
  int threads_;
  Tensor a_ = coarse_unit_vectors(n * n / dim, 1).reshape({n, n}), c_{{n, n}};
  Tensor from_ = Tensor::zeros({int64_t{1} << 26}), to_ = Tensor::zeros({int64_t{1} << 26});
  double product_ms_ = infinity, copy_ms_ = infinity;
};

bool equal(const TopK& a, const TopK& b) {
  return a.indices.to_vector<int32_t>() == b.indices.to_vector<int32_t>() &&
         a.values.to_vector<float>() == b.values.to_vector<float>();
}

std::string milliseconds(double time) { return std::isfinite(time) ? formatted("{:.1f}", time) : "-"; }

/// One turn of all steps; `expected` is the result of the first.
void measure(std::vector<Step>& steps, TopK& expected) {
  for (Step& step : steps) {
    set_num_threads(step.threads);
    const TopK found = timed(step.total, [&] { return step.run(step); });
    if (!expected.values.defined()) expected = found;
    check(equal(found, expected), "step \"{}\" differs from step \"{}\"", step.name, steps[0].name);
  }
}

void print(const std::vector<Step>& steps, const Machine& one, const Machine& all) {
  std::printf("%-34s %8s %10s %8s %8s %9s\n", "step", "product", "selection", "ms", "faster", "floor/ms");
  double before = 0;
  for (const Step& step : steps) {
    const Machine& machine = step.threads == 1 ? one : all;
    std::printf("%-34s %8s %10s %8s %8s %8.1f%%\n", step.name.c_str(), milliseconds(step.product).c_str(),
                milliseconds(step.selection).c_str(), milliseconds(step.total).c_str(),
                before > 0 ? formatted("{:.1f}x", before / step.total).c_str() : "",
                100 * machine.floor() / step.total);
    before = step.total;
  }
}

}  // namespace

int main(int argc, char** argv) try {
  const int turns = argc > 1 ? std::atoi(argv[1]) : 5, all = num_threads();
  check(turns >= 1, "expected at least 1 turn, got {}", argv[argc - 1]);
  const Tensor bank = coarse_unit_vectors(pictures, 1), v = coarse_unit_vectors(batch, 2);
  std::vector<Step> steps = make_steps(v, bank);
  Machine one(1), every(all);
  TopK expected;
  for (int turn = 0; turn < turns; ++turn) {
    one.measure();
    every.measure();
    measure(steps, expected);
  }
  one.print();
  if (all > 1) every.print();
  print(steps, one, every);
} catch (const la::Error& error) {
  std::fprintf(stderr, "bench_tour: %s\n", error.what());
  return 1;
}
