// How fast pictures get from files to the network: listing a folder, decoding, and views for training.
//
//   bench_data FOLDER [VIEWS]
//
// A line each: name, value, unit, separated by tabs. One thread.

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "data/augmentation.h"
#include "data/picture_list.h"
#include "tensor/clock.h"
#include "tensor/format.h"

using namespace la;

namespace {

void print(const char* name, double value, const char* unit) {
  std::printf("%s\t%.4g\t%s\n", name, value, unit);
  std::fflush(stdout);
}

/// One view of 224 pixels of each picture, as the loader makes them.
double view_rate(const Dataset& data, int64_t views, const AugmentationOptions& options) {
  std::vector<float> view(static_cast<size_t>(options.size * options.size * data.channels()));
  const double begin = now();
  for (int64_t i = 0; i < views; ++i) {
    ViewPlan plan;
    const Excerpt e = data.excerpt(i % data.size(), options.size, [&](int height, int width) {
      plan = plan_augmentation(options, height, width, 1, i / data.size(), i % data.size());
      return plan.crop;
    });
    plan.crop = e.crop;
    augment(e.picture, plan, options, view.data());
  }
  return static_cast<double>(views) / (now() - begin);
}

double decode_rate(const Dataset& data, int64_t pictures) {
  const double begin = now();
  for (int64_t i = 0; i < pictures; ++i) data.picture(i % data.size());
  return static_cast<double>(pictures) / (now() - begin);
}

}  // namespace

int main(int argc, char** argv) try {
  check(argc == 2 || argc == 3, "usage: bench_data FOLDER [VIEWS]");
  const double begin = now();
  const int64_t files = list_pictures(argv[1]).size();
  print("listing", now() - begin, "s");
  print("files", static_cast<double>(files), "files");

  const int64_t views = argc == 3 ? std::atoll(argv[2]) : 0;
  if (views == 0) return 0;
  const DataSource data = open_data({.path = argv[1], .format = "folder"});
  const ChannelStatistics statistics = imagenet_statistics();
  const AugmentationOptions options{.mean = statistics.mean, .stddev = statistics.stddev};
  print("decode", decode_rate(*data.train, views), "pictures/s");
  print("view", view_rate(*data.train, views, options), "views/s");
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench_data: %s\n", error.what());
  return 1;
}
