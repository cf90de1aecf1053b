// Times the layers that a training step consists of, in f32 and bf16: the three passes of each distinct
// convolution of ResNet-20 on 28 x 28 pictures, of ResNet-18 on 32 x 32 (batch 128) and of ResNet-50 on
// 224 x 224 (batch 16), and batch norm, beside what memory allows.
//
//   bench_layers [f32|bf16]
//
// A line for a reader or a program: name, median and least time in ms, rate at the median, separated by tabs;
// a line that starts with # explains.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/format.h"
#include "tensor/ops.h"

namespace {

using namespace la;

double now_ms() {
  using namespace std::chrono;
  return duration<double, std::milli>(steady_clock::now().time_since_epoch()).count();
}

struct Milliseconds {
  double median, least;
};

/// Times at least 5 and at most 50 runs of `f`, for about half a second, after two to warm up.
Milliseconds time(const std::function<void()>& f) {
  f();
  f();
  std::vector<double> times;
  for (const double start = now_ms(); times.size() < 5 || (times.size() < 50 && now_ms() - start < 500);) {
    const double begin = now_ms();
    f();
    times.push_back(now_ms() - begin);
  }
  std::sort(times.begin(), times.end());
  return {times[times.size() / 2], times.front()};
}

/// One line; `work` is what is done in billions, of operations or bytes.
Milliseconds report(const std::string& name, double work, std::string_view unit,
                    const std::function<void()>& f) {
  const Milliseconds t = time(f);
  print("{}\t{:.3f}\t{:.3f}\t{:.0f} {}\n", name, t.median, t.least, work / t.median * 1e3, unit);
  std::fflush(stdout);
  return t;
}

Tensor random_tensor(const Shape& shape, DType dtype, uint64_t seed) {
  return ops::cast(ops::random_normal(shape, {seed, RandomStream::test, 0}), dtype);
}

/// A convolution and how often it occurs in its network.
struct Conv {
  int64_t extent, in, out;
  int kernel, stride, count;
};

struct Network {
  const char* name;
  int64_t batch;
  std::vector<Conv> convs;
};

const std::vector<Network> networks{
    {"resnet20",
     128,
     {{28, 1, 16, 3, 1, 1},
      {28, 16, 16, 3, 1, 6},
      {28, 16, 32, 3, 2, 1},
      {28, 16, 32, 1, 2, 1},
      {14, 32, 32, 3, 1, 5},
      {14, 32, 64, 3, 2, 1},
      {14, 32, 64, 1, 2, 1},
      {7, 64, 64, 3, 1, 5}}},
    {"resnet18",
     128,
     {{32, 3, 64, 3, 1, 1},
      {32, 64, 64, 3, 1, 4},
      {32, 64, 128, 3, 2, 1},
      {32, 64, 128, 1, 2, 1},
      {16, 128, 128, 3, 1, 3},
      {16, 128, 256, 3, 2, 1},
      {16, 128, 256, 1, 2, 1},
      {8, 256, 256, 3, 1, 3},
      {8, 256, 512, 3, 2, 1},
      {8, 256, 512, 1, 2, 1},
      {4, 512, 512, 3, 1, 3}}},
    {"resnet50",
     16,
     {{224, 3, 64, 7, 2, 1},    {56, 64, 64, 1, 1, 1},    {56, 64, 64, 3, 1, 3},   {56, 64, 256, 1, 1, 4},
      {56, 256, 64, 1, 1, 2},   {56, 256, 128, 1, 1, 1},  {56, 128, 128, 3, 2, 1}, {56, 256, 512, 1, 2, 1},
      {28, 128, 128, 3, 1, 3},  {28, 128, 512, 1, 1, 4},  {28, 512, 128, 1, 1, 3}, {28, 512, 256, 1, 1, 1},
      {28, 256, 256, 3, 2, 1},  {28, 512, 1024, 1, 2, 1}, {14, 256, 256, 3, 1, 5}, {14, 256, 1024, 1, 1, 6},
      {14, 1024, 256, 1, 1, 5}, {14, 1024, 512, 1, 1, 1}, {14, 512, 512, 3, 2, 1}, {14, 1024, 2048, 1, 2, 1},
      {7, 512, 512, 3, 1, 2},   {7, 512, 2048, 1, 1, 3},  {7, 2048, 512, 1, 1, 2}}},
};

/// The three passes of a convolution; returns their time in ms (the first layer has no data gradient).
double time_conv(const Conv& c, int64_t batch, DType dtype) {
  const Tensor x = random_tensor({batch, c.extent, c.extent, c.in}, dtype, 1);
  const Tensor weight = random_tensor({c.out, c.kernel, c.kernel, c.in}, dtype, 2);
  const ConvGeometry geometry{.stride = c.stride, .padding = c.kernel / 2};
  const Tensor dy = random_tensor(ops::conv2d(x, weight, geometry).shape(), dtype, 3);
  const double work = 2e-9 * static_cast<double>(dy.numel() * c.in * c.kernel * c.kernel);
  const std::string name = formatted("{0} conv {1}x{1} {2}->{3} at {4}x{4} /{5} batch {6}", dtype, c.kernel,
                                     c.in, c.out, c.extent, c.stride, batch);
  const bool first_layer = c.in <= 3;
  double sum = 0;
  sum += report(name + " forward", work, "GFLOP/s", [&] { ops::conv2d(x, weight, geometry); }).median;
  if (!first_layer)
    sum += report(name + " data", work, "GFLOP/s", [&] {
             ops::conv2d_backward_data(dy, weight, x.shape(), geometry);
           }).median;
  sum += report(name + " weight", work, "GFLOP/s", [&] {
           ops::conv2d_backward_weight(dy, x, weight.shape(), geometry);
         }).median;
  return sum;
}

/// A batch norm as blocks have it: with ReLU, with or without a residual. A pass over one array of x's size
/// is one unit of memory traffic; scaling an array is two and shows what memory allows.
void time_batch_norm(const Shape& shape, DType dtype) {
  const Shape channels{shape[-1]};
  const Tensor x = random_tensor(shape, dtype, 1), dy = random_tensor(shape, dtype, 2),
               residual = random_tensor(shape, dtype, 3);
  const BatchNormState state{Tensor::full(channels, 1.0f), Tensor::zeros(channels), Tensor::zeros(channels),
                             Tensor::full(channels, 1.0f)};
  const BatchNormOptions options{.relu = true};
  const BatchNormResult result = ops::batch_norm(x, state, residual, options);
  const double unit = 1e-9 * static_cast<double>(x.bytes());
  const std::string name = formatted("{} {} ", dtype, shape);
  report(name + "memory", 2 * unit, "GB/s", [&] { ops::scale(x, 2.0f); });
  report(name + "batch norm forward", 3 * unit, "GB/s",
         [&] { ops::batch_norm(x, state, Tensor(), options); });
  report(name + "batch norm forward, residual", 4 * unit, "GB/s",
         [&] { ops::batch_norm(x, state, residual, options); });
  report(name + "batch norm backward", 5 * unit, "GB/s",
         [&] { ops::batch_norm_backward(dy, x, result, state, false, options); });
  report(name + "batch norm backward, residual", 7 * unit, "GB/s",
         [&] { ops::batch_norm_backward(dy, x, result, state, true, options); });
}

void time_all(DType dtype) {
  for (const Network& network : networks) {
    double sum = 0;
    for (const Conv& c : network.convs) sum += c.count * time_conv(c, network.batch, dtype);
    print("{} convolutions of {}, each as often as it occurs\t{:.3f}\n", dtype, network.name, sum);
  }
  for (const auto& [extent, channels] :
       {std::pair<int64_t, int64_t>{28, 16}, {14, 32}, {7, 64}, {32, 64}, {4, 512}})
    time_batch_norm({128, extent, extent, channels}, dtype);
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string_view only = argc > 1 ? argv[1] : "";
  check(only.empty() || only == "f32" || only == "bf16", "expected f32 or bf16, got {}", only);
  print("# {} threads; name, median ms, least ms, rate at the median\n", num_threads());
  if (only != "bf16") time_all(DType::f32);
  if (only != "f32") time_all(DType::bf16);
} catch (const la::Error& error) {
  print(stderr, "bench_layers: {}\n", error.what());
  return 1;
}
