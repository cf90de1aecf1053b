// Times the ops of object detection at the sizes of Faster R-CNN in training: non-maximum suppression of
// 12,000 proposals, and 256 regions of 7 x 7 cells from a feature map of 38 x 50 pixels and 1,024 channels.
//
//   bench_detection FILE    writes boxes and scores to FILE, for bench/peer_detection.py to do the same work
//
// A line: name and the median time in ms, separated by a tab; a line that starts with # explains.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "tensor/format.h"
#include "tensor/ops.h"

namespace {

using namespace la;

constexpr int64_t proposals = 12000, regions = 256, height = 38, width = 50, channels = 1024;
constexpr float stride = 16;  // pixels of the picture in one of the feature map
constexpr int cells = 7;

void report(const std::string& name, const std::function<void()>& f) {
  using Clock = std::chrono::steady_clock;
  f();
  f();
  std::vector<double> times;
  const auto milliseconds = [](Clock::duration d) {
    return std::chrono::duration<double, std::milli>(d).count();
  };
  for (const auto start = Clock::now();
       times.size() < 5 || (times.size() < 50 && milliseconds(Clock::now() - start) < 1000);) {
    const auto begin = Clock::now();
    f();
    times.push_back(milliseconds(Clock::now() - begin));
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  print("{}\t{:.3f}\n", name, times[times.size() / 2]);
  std::fflush(stdout);
}

/// Proposals [n, 4] in a picture of 800 x 608: as a young RPN makes them, all over it; or, as a trained one,
/// around `objects` places.
Tensor random_boxes(int64_t n, int64_t objects, uint64_t seed) {
  RandomGenerator random({.seed = seed});
  std::vector<float> centers;
  for (int64_t i = 0; i < 4 * objects; ++i) centers.push_back(random.uniform(0, 1));
  std::vector<float> boxes;
  const float picture_width = width * stride, picture_height = height * stride;
  for (int64_t i = 0; i < n; ++i) {
    float own[4];
    for (float& x : own) x = random.uniform(0, 1);
    if (objects > 0) {
      const auto object = static_cast<size_t>(4 * random.below(static_cast<uint32_t>(objects)));
      for (size_t k = 0; k < 4; ++k) own[k] = 0.85f * centers[object + k] + 0.15f * own[k];
    }
    const float half_width = 16 + 120 * own[2], half_height = 16 + 120 * own[3];
    const float x = picture_width * own[0], y = picture_height * own[1];
    for (float corner : {x - half_width, y - half_height, x + half_width, y + half_height})
      boxes.push_back(corner);
  }
  return ops::clip_boxes(Tensor::from(boxes, {n, 4}), picture_width - stride, picture_height - stride);
}

void write(std::ofstream& file, const Tensor& t) {
  file.write(static_cast<const char*>(t.raw()), static_cast<std::streamsize>(t.bytes()));
}

void time_nms(const std::string& name, const Tensor& boxes, const Tensor& scores) {
  for (float threshold : {0.7f, 0.5f}) {
    const NmsOptions options{.iou_threshold = threshold, .most = proposals};
    print("# {} at {}: {} kept\n", name, threshold,
          ops::nms(boxes, scores, options).count.to_vector<int32_t>()[0]);
    report(formatted("nms {} {}", name, threshold), [&] { ops::nms(boxes, scores, options); });
  }
}

void time_regions(const Tensor& boxes) {
  const RegionGrid crop{cells, cells, 1 / stride};
  const RegionGrid align{cells, cells, 1 / stride, RegionGrid::Samples::in_cells, 2, false};
  const Shape shape{1, height, width, channels};
  const Tensor pictures = Tensor::zeros({regions}, DType::i32);
  for (DType dtype : {DType::f32, DType::bf16}) {
    const Tensor x = ops::cast(ops::random_normal(shape, {.seed = 4}), dtype),
                 dy = ops::cast(ops::random_normal({regions, cells, cells, channels}, {.seed = 5}), dtype);
    print("# {}: least traffic {:.0f} MB forward and backward each (the cells once, the feature map once)\n",
          dtype, 1e-6 * static_cast<double>(x.bytes() + dy.bytes()));
    for (const auto& [name, grid] : {std::pair("crop_and_resize", crop), std::pair("roi_align", align)}) {
      report(formatted("{} {} forward", name, dtype), [&] { ops::sample_regions(x, boxes, pictures, grid); });
      report(formatted("{} {} backward", name, dtype),
             [&] { ops::sample_regions_backward(dy, boxes, pictures, shape, grid); });
    }
  }
}

}  // namespace

int main(int argc, char** argv) try {
  using namespace la;
  check(argc == 2, "usage: bench_detection FILE");
  const Tensor spread = random_boxes(proposals, 0, 1), grouped = random_boxes(proposals, 40, 2),
               scores = ops::random_uniform({proposals}, 0, 1, {.seed = 3});
  std::ofstream file(argv[1], std::ios::binary);
  for (const Tensor& t : {spread, grouped, scores}) write(file, t);
  file.close();
  check(file.good(), "cannot write {}", argv[1]);
  time_nms("spread", spread, scores);
  time_nms("grouped", grouped, scores);
  time_regions(spread.rows(0, regions));
} catch (const la::Error& error) {
  la::print(stderr, "bench_detection: {}\n", error.what());
  return 1;
}
