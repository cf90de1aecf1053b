// What it gains to send gradients in buckets while the backward pass goes on. Started by mpirun:
//   bench_buckets NETWORK SIZE BATCH STEPS
// prints the medians of steps with buckets of several sizes, taken by turns; those of the slowest process. One thread each.
#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "layers/networks.h"
#include "layers/sharded_step.h"
#include "tensor/clock.h"
#include "tensor/format.h"
#include "tensor/ops.h"

using namespace la;

namespace {

double median(std::vector<double> x) {
  std::nth_element(x.begin(), x.begin() + std::ssize(x) / 2, x.end());
  return x[x.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  const auto ranks = join_processes();
  const std::string name = argc > 1 ? argv[1] : "resnet18";
  const int size = argc > 2 ? std::stoi(argv[2]) : 64;
  const int64_t batch = argc > 3 ? std::stoll(argv[3]) : 8;
  const int steps = argc > 4 ? std::stoi(argv[4]) : 20;
  constexpr int64_t mib = int64_t{1} << 20, all = int64_t{1} << 40;
  const std::vector<int64_t> sizes{all, mib, 4 * mib, 16 * mib};
  set_num_threads(1);

  const NetworkOptions options{.name = name, .channels = 3, .image_size = size};
  const auto network = make_network(options);
  initialize(*network, options, 0);
  const Shards shards(*ranks, ranks->size());
  const RowRange own = shards.own_rows(batch);
  const Tensor images = ops::random_normal({own.size(), size, size, 3}, {.seed = 1});
  const Tensor dy = Tensor::full({own.size(), options.dim}, 1.0f);

  std::map<int64_t, std::vector<double>> seconds, passes;  // of steps; of backward passes with all sums
  for (int step = -1; step < steps; ++step)
    for (const int64_t bytes : sizes) {
      ShardedStep sharded(*network, shards, bytes);
      ranks->barrier("begin");
      const double begin = now();
      const auto y = sharded.forward(images, batch, [&](const Variable& x) { return (*network)(x); });
      const double middle = now();
      sharded.backward(y, {dy});
      const double end = now();
      const Tensor took = Tensor::from(
          std::vector<float>{static_cast<float>(end - begin), static_cast<float>(end - middle)}, {2});
      ranks->all_reduce("seconds", took, Reduction::max);
      for (const Module::Parameter& p : network->parameters()) p.variable->clear_grad();
      if (step < 0) continue;
      seconds[bytes].push_back(took.data<float>()[0]);
      passes[bytes].push_back(took.data<float>()[1]);
    }
  if (ranks->rank() != 0) return 0;
  for (const int64_t bytes : sizes) {
    const std::string buckets = bytes == all ? "one" : formatted("{} MiB", bytes / mib);
    print("{} processes, {}, {} pixels, batch {}, buckets: {:>6}: {:7.1f} ms a step, {:7.1f} backward\n",
          ranks->size(), name, size, batch, buckets, 1e3 * median(seconds[bytes]),
          1e3 * median(passes[bytes]));
  }
}
