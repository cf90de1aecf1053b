// Channel statistics beside the two-pass formula in double precision.
#include <doctest/doctest.h>

#include <cmath>
#include <numeric>

#include "data/augmentation.h"
#include "tensor/random.h"
#include "tests/bounded.h"

using namespace la;

TEST_CASE("channel statistics are the means and standard deviations of the pixels") {
  for (const int64_t channels : {1, 3}) {
    constexpr int64_t n = 7, height = 5, width = 9;
    RandomGenerator random({.seed = 2});
    std::vector<uint8_t> pixels;
    for (int64_t i = 0; i < n * height * width * channels; ++i)
      pixels.push_back(static_cast<uint8_t>(random.below(static_cast<uint32_t>(60 + 80 * (i % channels)))));
    const PictureArray data(Tensor::from(pixels, {n, height, width, channels}), {});
    const ChannelStatistics statistics = channel_statistics(data);
    REQUIRE(statistics.mean.size() == static_cast<size_t>(channels));
    REQUIRE(statistics.stddev.size() == static_cast<size_t>(channels));
    for (size_t c = 0; c < statistics.mean.size(); ++c) {
      std::vector<double> values;
      for (size_t i = c; i < pixels.size(); i += static_cast<size_t>(channels))
        values.push_back(pixels[i] / 255.0);
      const auto count = static_cast<double>(values.size());
      const double mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
      double squares = 0;
      for (const double value : values) squares += (value - mean) * (value - mean);
      const double stddev = std::sqrt(squares / count);
      // One rounding to f32; those in double precision are 1e-9 of it.
      CHECK(std::abs(statistics.mean[c] - mean) <= 1.001 * f32_roundoff * mean);
      CHECK(std::abs(statistics.stddev[c] - stddev) <= 1.001 * f32_roundoff * stddev);
    }
  }
}

TEST_CASE("channel statistics of a picture whose columns add up to more than 32 bits hold") {
  constexpr int64_t height = 70'001;
  std::vector<uint8_t> pixels(height, 255);
  pixels.back() = 0;
  const PictureArray data(Tensor::from(pixels, {1, height, 1, 1}), {});
  const ChannelStatistics statistics = channel_statistics(data);
  constexpr double share = 1.0 / height;  // of the pixels that are black
  CHECK(std::abs(statistics.mean[0] - (1 - share)) <= 1.001 * f32_roundoff);
  const double stddev = std::sqrt(share * (1 - share));
  // The variance is a difference of two numbers near 1, each rounded to 2^-53.
  CHECK(std::abs(statistics.stddev[0] - stddev) <= (1.001 * f32_roundoff + 2e-16 / (share * 2)) * stddev);
}

namespace {

/// Grey pictures of one pixel, all alike, that count how often they are looked at.
class CountedPictures : public Dataset {
 public:
  explicit CountedPictures(int64_t size) : size_(size) {}
  int64_t size() const override { return size_; }
  int channels() const override { return 1; }
  Picture picture(int64_t i) const override {
    ++looks;
    last = std::max(last, i);
    return {&pixel_, 1, 1, 1, nullptr};
  }
  bool has_labels() const override { return false; }
  int label(int64_t) const override { return unlabeled; }
  std::string description() const override { return "counted"; }
  size_t memory_bytes() const override { return 1; }

  mutable int64_t looks = 0, last = 0;

 private:
  int64_t size_;
  uint8_t pixel_ = 77;
};

}  // namespace

TEST_CASE("channel statistics look at up to 10,000 pictures from everywhere; without variance stddev is 1") {
  for (const int64_t size : {1, 9999, 10000, 10001, 19999, 60000}) {
    const CountedPictures data(size);
    const ChannelStatistics statistics = channel_statistics(data);
    CHECK(statistics.mean == std::vector<float>{static_cast<float>(77 / 255.0)});
    CHECK(statistics.stddev == std::vector<float>{1.0f});
    CHECK(data.looks <= 10000);
    CHECK(data.looks >= std::min<int64_t>(size, 5000));
    CHECK(data.last >= size - size / 5000 - 1);
  }
}
