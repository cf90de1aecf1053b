// Times a training step of Faster R-CNN as the authors of LA fine-tuned ResNet-50: one picture of 600 x 800, f32, 20
// categories. bench/peer_detector.py does the same with torchvision.
//
// A line: name and the median time in ms, separated by a tab; lines that start with # explain.
#include <algorithm>
#include <cstdio>
#include <vector>

#include "autograd/sgd.h"
#include "layers/detection/losses.h"
#include "tensor/clock.h"
#include "tensor/format.h"
#include "tensor/ops.h"

namespace {

using namespace la;

constexpr int64_t height = 600, width = 800, canvas_height = 608;
constexpr int warm_up = 2, timed = 5;

struct Times {
  double forward, backward;
};

}  // namespace

int main() try {
  using namespace la;
  DetectorOptions options;
  options.network.name = "resnet50";
  Detector detector(options);
  initialize(detector, options.network, 1);
  detector.fine_tune(false);
  auto learnt = detector.parameters();
  std::erase_if(learnt, [](const auto& p) { return !p.variable->requires_grad(); });
  Sgd sgd(learnt, {.momentum = 0.9f, .weight_decay = 1e-4f});
  sgd.set_learning_rate(1e-3f);
  const Tensor pixels = ops::random_normal({1, canvas_height, width, 3}, {.seed = 2});
  const ObjectBoxes objects{Tensor::from(std::vector<float>{50, 60, 300, 400, 350, 100, 700, 500, 20, 400,
                                                            200, 590, 500, 20, 620, 130},
                                         {4, 4}),
                            {3, 7, 11, 14}};
  RandomGenerator random({.seed = 3});

  std::vector<Times> times;
  for (int step = 0; step < warm_up + timed; ++step) {
    const double begin = now();
    const DetectionLosses losses =
        detection_losses(detector, pixels, height, width, objects, {}, choose_randomly(random));
    const double middle = now();
    backward(losses.sum());
    sgd.step();
    if (step >= warm_up) times.push_back({middle - begin, now() - middle});
  }
  const auto median = [&](auto value) {
    std::sort(times.begin(), times.end(),
              [&](const Times& a, const Times& b) { return value(a) < value(b); });
    return 1e3 * value(times[times.size() / 2]);
  };
  print("# forward {:.0f} ms, backward and update {:.0f} ms\n",
        median([](const Times& t) { return t.forward; }), median([](const Times& t) { return t.backward; }));
  print("detection step f32\t{:.3f}\n", median([](const Times& t) { return t.forward + t.backward; }));
} catch (const la::Error& error) {
  la::print(stderr, "bench_detector: {}\n", error.what());
  return 1;
}
