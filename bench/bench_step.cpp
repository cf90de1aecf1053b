// Times training steps of a network, without Local Aggregation's own part: forward, backward, update.
//
//   bench_step NETWORK SIZE CHANNELS f32|bf16 BATCH STEPS
//
// Prints one line: median and best images/s, and the peak memory of the process in MiB, separated by tabs.
#include <sys/resource.h>

#include <algorithm>
#include <string>

#include "autograd/functions.h"
#include "autograd/sgd.h"
#include "layers/networks.h"
#include "tensor/clock.h"
#include "tensor/format.h"
#include "tensor/ops.h"

using namespace la;

namespace {

void measure(const std::string& name, int64_t size, int64_t channels, DType precision, int64_t batch,
             int steps) {
  auto network = make_network({.name = name, .channels = channels, .image_size = size});
  network->initialize(1);
  Sgd sgd(network->parameters(), {.momentum = 0.9f, .weight_decay = 1e-4f});
  sgd.set_learning_rate(0.01f);

  const Tensor images = ops::random_normal({batch, size, size, channels}, {.seed = 1});
  const Variable target(ops::random_normal({batch, 128}, {.seed = 2}));
  std::vector<double> rates;
  for (int step = -2; step < steps; ++step) {  // the first two make primitives and fill the allocator
    const double begin = now();
    backward(mean(multiply(l2_normalize((*network)(cast(Variable(images), precision))), target)));
    sgd.step();
    if (step >= 0) rates.push_back(static_cast<double>(batch) / (now() - begin));
  }
  std::sort(rates.begin(), rates.end());
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  print("{:.1f}\t{:.1f}\t{}\n", rates[rates.size() / 2], rates.back(), usage.ru_maxrss / 1024);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) {
    print(stderr, "usage: bench_step NETWORK SIZE CHANNELS f32|bf16 BATCH STEPS\n");
    return 2;
  }
  try {
    measure(argv[1], std::stoll(argv[2]), std::stoll(argv[3]),
            std::string(argv[4]) == "bf16" ? DType::bf16 : DType::f32, std::stoll(argv[5]),
            std::stoi(argv[6]));
  } catch (const std::exception& error) {
    print(stderr, "bench_step: {}\n", error.what());
    return 1;
  }
}
