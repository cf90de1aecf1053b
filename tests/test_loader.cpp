// The loader: batches depend on the seed, the epoch and the step alone, and it can be stopped, restarted and
// refused a picture at any time.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <set>

#include "data/device_loader.h"
#include "data/loader.h"
#include "tensor/format.h"
#include "tensor/ops.h"
#include "tensor/random.h"
#include "tests/op_case.h"
#include "tests/with_threads.h"

using namespace la;

namespace {

constexpr int side = 6;

AugmentationOptions view_options() { return {.size = side, .mean = {0.5f}, .stddev = {0.25f}}; }

PictureArray noise(int64_t pictures) {
  RandomGenerator random({.seed = 3});
  std::vector<uint8_t> pixels;
  for (int64_t i = 0; i < pictures * side * side; ++i)
    pixels.push_back(static_cast<uint8_t>(random.below(256)));
  return {Tensor::from(pixels, {pictures, side, side, 1}), {}};
}

/// Another data set, whose picture `broken` is an Error.
class BrokenPicture : public Dataset {
 public:
  BrokenPicture(const Dataset& data, int64_t broken) : data_(data), broken_(broken) {}
  int64_t size() const override { return data_.size(); }
  int channels() const override { return data_.channels(); }
  Picture picture(int64_t i) const override {
    check(i != broken_, "picture {} is broken", i);
    return data_.picture(i);
  }
  bool has_labels() const override { return false; }
  int label(int64_t) const override { return unlabeled; }
  std::string description() const override { return "broken"; }
  size_t memory_bytes() const override { return 0; }
  void repair() { broken_ = -1; }

 private:
  const Dataset& data_;
  std::atomic<int64_t> broken_;
};

struct Seen {
  std::vector<int32_t> indices;
  std::vector<float> pixels;
  bool operator==(const Seen&) const = default;
};

void append(Seen& seen, const Batch& batch) {
  const auto indices = batch.indices.to_vector<int32_t>();
  const auto pixels = batch.images.to_vector<float>();
  seen.indices.insert(seen.indices.end(), indices.begin(), indices.end());
  seen.pixels.insert(seen.pixels.end(), pixels.begin(), pixels.end());
}

Seen run_epoch(Loader& loader, int64_t epoch, int64_t first_step = 0) {
  Seen seen;
  loader.start_epoch(epoch, first_step);
  for (int64_t step = first_step; step < loader.steps_per_epoch(); ++step) append(seen, loader.next());
  return seen;
}

}  // namespace

TEST_CASE("the loader gives the same batches for any number of threads") {
  const PictureArray data = noise(53);
  Loader one(data, view_options(), {.batch = 8, .threads = 1, .seed = 7});
  CHECK(one.steps_per_epoch() == 6);
  const Seen expected = run_epoch(one, 2);
  REQUIRE(expected.indices.size() == 48);
  REQUIRE(expected.pixels.size() == 48 * side * side);
  for (const int threads : {2, 4, 9}) {
    Loader several(data, view_options(), {.batch = 8, .threads = threads, .seed = 7});
    CHECK(run_epoch(several, 2) == expected);
  }
  Loader other_seed(data, view_options(), {.batch = 8, .threads = 1, .seed = 8});
  CHECK(run_epoch(other_seed, 2).indices != expected.indices);
}

TEST_CASE("the pictures of a batch are views of its indices") {
  const PictureArray data = noise(20);
  const AugmentationOptions options = view_options();
  Loader loader(data, options, {.batch = 20, .threads = 2, .seed = 5});
  const Seen seen = run_epoch(loader, 4);
  std::vector<float> view(side * side);
  for (size_t b = 0; b < 20; ++b) {
    const int32_t index = seen.indices[b];
    augment(data.picture(index), plan_augmentation(options, side, side, 5, 4, index), options, view.data());
    CHECK(std::equal(view.begin(), view.end(), seen.pixels.begin() + static_cast<int64_t>(b * view.size())));
  }
}

namespace {

/// What the loader of a device brings is what the loader gives, up to `bound`.
void check_device_loader(DeviceLoader& device_loader, const Dataset& data, DType dtype, float bound) {
  REQUIRE(device_loader.steps_per_epoch() == 6);
  Loader loader(data, view_options(), {.batch = 8, .threads = 2, .seed = 7, .dtype = dtype});
  for (const int64_t first_step : {0, 4}) {
    device_loader.start_epoch(2, first_step);
    loader.start_epoch(2, first_step);
    for (int64_t step = first_step; step < device_loader.steps_per_epoch(); ++step) {
      device_loader.next();
      const Batch expected = loader.next();
      CHECK(device_loader.indices().to_vector<int32_t>() == expected.indices.to_vector<int32_t>());
      REQUIRE(device_loader.images().dtype() == dtype);
      const auto images = ops::cast(device_loader.images(), DType::f32).to_vector<float>(),
                 views = ops::cast(expected.images, DType::f32).to_vector<float>();
      REQUIRE(images.size() == views.size());
      int wrong = 0;
      for (size_t i = 0; i < views.size(); ++i) wrong += !(std::abs(images[i] - views[i]) <= bound);
      CHECK(wrong == 0);
    }
  }
}

}  // namespace

TEST_CASE("every device is brought the indices and views of the loader" * doctest::test_suite("devices")) {
  const PictureArray data = noise(53);
  const BrokenPicture not_in_memory(data, -1);  // none is broken; its pictures do not stay on the device
  for (Device device : available_devices())
    for (const DType dtype : {DType::f32, DType::bf16}) {
      const LoaderOptions options{.batch = 8, .threads = 2, .seed = 7, .dtype = dtype, .device = device};
      CHECK(fits_on_device(data, device) == !device.is_cpu());
      // As in the cases of make_views, with the stddev of these options; views are below 4, so that values
      // which round otherwise differ by 2^-6 at most.
      const float bound =
          2 * 200 * 0x1p-24f / view_options().stddev[0] + (dtype == DType::bf16 ? 0x1p-6f : 0.0f);
      check_device_loader(*make_device_loader(data, view_options(), options), data, dtype, bound);
      CHECK(!fits_on_device(not_in_memory, device));
      check_device_loader(*make_device_loader(not_in_memory, view_options(), options), data, dtype, 0.0f);
    }
}

TEST_CASE("a device loader brings the labels of its pictures" * doctest::test_suite("devices")) {
  std::vector<int> labels;
  for (int i = 0; i < 20; ++i) labels.push_back(100 + i);
  const PictureArray data(noise(20).pictures(), labels);
  for (Device device : available_devices()) {
    const auto loader =
        make_device_loader(data, view_options(), {.batch = 6, .threads = 1, .seed = 7, .device = device});
    loader->start_epoch(0, 0);
    loader->next();
    const auto indices = loader->indices().to_vector<int32_t>();
    const auto brought = loader->labels().to_vector<int32_t>();
    REQUIRE(brought.size() == 6);
    for (size_t i = 0; i < brought.size(); ++i) CHECK(brought[i] == 100 + indices[i]);
    const PictureArray without = noise(20);
    const auto no_labels =
        make_device_loader(without, view_options(), {.batch = 6, .threads = 1, .seed = 7, .device = device});
    CHECK_THROWS_WITH_AS(no_labels->labels(), "the data set has no labels", Error);
  }
}

TEST_CASE("loaders of several views show the same pictures otherwise" * doctest::test_suite("devices")) {
  const PictureArray data = noise(20);
  for (Device device : available_devices()) {
    std::vector<std::unique_ptr<DeviceLoader>> loaders;
    for (const int view : {0, 1, 1}) {
      loaders.push_back(make_device_loader(
          data, view_options(), {.batch = 6, .threads = 1, .seed = 7, .device = device, .view = view}));
      loaders.back()->start_epoch(0, 0);
      loaders.back()->next();
      CHECK(loaders.back()->indices().to_vector<int32_t>() ==
            loaders.front()->indices().to_vector<int32_t>());
    }
    const auto images = [&](size_t i) { return loaders[i]->images().to_vector<float>(); };
    CHECK(images(1) == images(2));
    CHECK(images(0) != images(1));
  }
}

TEST_CASE("a loader's views of bf16 are its views of f32, rounded") {
  const PictureArray data = noise(20);
  Loader exact(data, view_options(), {.batch = 20, .threads = 1, .seed = 5}),
      rounded(data, view_options(), {.batch = 20, .threads = 2, .seed = 5, .dtype = DType::bf16});
  exact.start_epoch(3);
  rounded.start_epoch(3);
  const auto expected = exact.next().images.to_vector<float>();
  const auto got = rounded.next().images.to_vector<bf16>();
  REQUIRE(got.size() == expected.size());
  for (size_t i = 0; i < got.size(); ++i) CHECK(got[i].bits == bf16(expected[i]).bits);
}

TEST_CASE("an epoch uses each picture once, but for the remainder, and the next another order") {
  const PictureArray data = noise(53);
  Loader loader(data, view_options(), {.batch = 8, .threads = 2, .seed = 7});
  std::set<int32_t> ever;
  std::vector<int32_t> before;
  for (int64_t epoch = 0; epoch < 8; ++epoch) {
    const std::vector<int32_t> indices = run_epoch(loader, epoch).indices;
    const std::set<int32_t> different(indices.begin(), indices.end());
    CHECK(different.size() == 48);
    CHECK(*different.begin() >= 0);
    CHECK(*different.rbegin() < 53);
    CHECK(indices != before);
    CHECK_THROWS_AS(loader.next(), Error);  // the epoch has ended
    ever.insert(different.begin(), different.end());
    before = indices;
  }
  CHECK(ever.size() == 53);  // the remainder is not always the same
}

TEST_CASE("an epoch begun at a step gives what skipping the steps before gives") {
  const PictureArray data = noise(53);
  Loader loader(data, view_options(), {.batch = 8, .threads = 2, .seed = 7});
  const Seen whole = run_epoch(loader, 3);
  for (int64_t first = 0; first <= 6; ++first) {
    const Seen rest = run_epoch(loader, 3, first);
    const auto batch_floats = 8 * side * side;
    CHECK(rest.indices == std::vector<int32_t>(whole.indices.begin() + first * 8, whole.indices.end()));
    CHECK(rest.pixels == std::vector<float>(whole.pixels.begin() + first * batch_floats, whole.pixels.end()));
  }
  CHECK_THROWS_AS(loader.start_epoch(3, 7), Error);
  CHECK_THROWS_AS(loader.start_epoch(3, -1), Error);
  CHECK_THROWS_AS(loader.start_epoch(-1), Error);
}

TEST_CASE("a loader ends and starts again in the middle of an epoch") {
  const PictureArray data = noise(53);
  Loader undisturbed(data, view_options(), {.batch = 4, .threads = 1, .seed = 7});
  const Seen expected = run_epoch(undisturbed, 5);
  for (int taken = 0; taken < 6; ++taken) {
    Loader loader(data, view_options(), {.batch = 4, .threads = 3, .seed = 7});
    for (int epoch = 0; epoch < 5; ++epoch) {
      loader.start_epoch(epoch);
      for (int i = 0; i < taken; ++i) loader.next();
    }
    CHECK(run_epoch(loader, 5) == expected);
    loader.start_epoch(6);  // and is destroyed with its threads at work
  }
  const Loader never_started(data, view_options(), {.batch = 4, .threads = 3, .seed = 7});
}

TEST_CASE("an Error in a picture reaches next() at its batch, and a new epoch may follow") {
  const PictureArray data = noise(53);
  Loader whole(data, view_options(), {.batch = 4, .threads = 1, .seed = 7});
  const Seen expected = run_epoch(whole, 1);
  for (const int64_t step : {0, 1, 7, 12}) {
    const auto at = static_cast<size_t>(4 * step + 2);
    BrokenPicture broken(data, expected.indices[at]);
    Loader loader(broken, view_options(), {.batch = 4, .threads = 3, .seed = 7});
    loader.start_epoch(1);
    Seen seen;
    for (int64_t i = 0; i < step; ++i) append(seen, loader.next());
    CHECK(std::equal(seen.indices.begin(), seen.indices.end(), expected.indices.begin()));
    const std::string message = formatted("picture {} is broken", expected.indices[at]);
    CHECK_THROWS_WITH_AS(loader.next(), message.c_str(), Error);
    CHECK_THROWS_WITH_AS(loader.next(), message.c_str(), Error);
    broken.repair();
    CHECK(run_epoch(loader, 1) == expected);
  }
}

namespace {

/// Holds every picture back until so many threads ask for one at once.
class Gathering : public Dataset {
 public:
  Gathering(const Dataset& data, int threads) : data_(data), missing_(threads) {}
  int64_t size() const override { return data_.size(); }
  int channels() const override { return data_.channels(); }
  Picture picture(int64_t i) const override {
    std::unique_lock lock(mutex_);
    if (!complete_) {
      complete_ = --missing_ == 0;
      arrived_.notify_all();
      // The patience ends a test that has failed; one that passes does not wait for it.
      check(arrived_.wait_for(lock, std::chrono::seconds(60), [this] { return complete_; }),
            "{} threads did not come", missing_);
    }
    return data_.picture(i);
  }
  bool has_labels() const override { return false; }
  int label(int64_t) const override { return unlabeled; }
  std::string description() const override { return "gathering"; }
  size_t memory_bytes() const override { return 0; }

 private:
  const Dataset& data_;
  mutable std::mutex mutex_;
  mutable std::condition_variable arrived_;
  mutable int missing_;
  mutable bool complete_ = false;
};

}  // namespace

TEST_CASE("all threads of a loader prepare batches at once") {
  const PictureArray data = noise(40);
  const Gathering gathering(data, 10);
  Loader loader(gathering, view_options(), {.batch = 2, .threads = 10, .seed = 7}),
      one(data, view_options(), {.batch = 2, .threads = 1, .seed = 7});
  CHECK(run_epoch(loader, 0) == run_epoch(one, 0));
}

TEST_CASE("a loader refuses batches and numbers of threads that cannot be") {
  const PictureArray data = noise(10);
  CHECK_THROWS_AS(Loader(data, view_options(), {.batch = 11, .threads = 1, .seed = 0}), Error);
  CHECK_THROWS_AS(Loader(data, view_options(), {.batch = 0, .threads = 1, .seed = 0}), Error);
  CHECK_THROWS_AS(Loader(data, view_options(), {.batch = 5, .threads = 0, .seed = 0}), Error);
  Loader loader(data, view_options(), {.batch = 5, .threads = 1, .seed = 0});
  CHECK_THROWS_AS(loader.next(), Error);  // no epoch was started
}

TEST_CASE("plain views are the pictures without chance, for any number of threads") {
  const PictureArray data = noise(20);
  const AugmentationOptions options = view_options();
  std::vector<float> expected(15 * side * side);
  for (int64_t i = 0; i < 15; ++i)
    center_view(data.picture(i + 3), options, expected.data() + i * side * side);
  for (const int threads : {1, 2, 4}) {
    const WithThreads scope(threads);
    const Tensor views = plain_views(data, options, 3, 18);
    CHECK(views.shape() == Shape{15, side, side, 1});
    CHECK(views.to_vector<float>() == expected);
  }
  const BrokenPicture broken(data, 9);
  CHECK_THROWS_WITH_AS(plain_views(broken, options, 0, 20), "picture 9 is broken", Error);
  CHECK_THROWS_AS(plain_views(data, options, 10, 21), Error);
}
