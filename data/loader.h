// The loader: shuffles, augments and batches pictures ahead of their use. What a picture becomes depends only
// on (seed, epoch, index), not on the number of threads or on where an epoch was resumed. In place of a
// picture that cannot be read another one is taken. Of several processes, each reads the pictures of its own
// places in a batch.
#pragma once

#include <condition_variable>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "data/augmentation.h"
#include "data/dataset.h"
#include "tensor/shards.h"

namespace la {

/// The order in which an epoch visits n pictures: a random permutation of 0 to n - 1.
std::vector<int32_t> epoch_order(int64_t n, uint64_t seed, int64_t epoch);

struct LoaderOptions {
  int64_t batch;  // pictures of a step
  int threads;    // how many prepare batches; some three batches more than threads are kept in memory
  uint64_t seed;
  DType dtype = DType::f32;  // of the images: f32 or bf16
  Device device = {};        // to which the images will be copied
  /// Loaders with the same seed show the same pictures in the same order; those with other numbers here, in
  /// other views.
  int view = 0;
  /// The places of each batch whose pictures this process prepares; without any, all.
  std::optional<RowRange> places = {};

  RowRange own_places() const { return places.value_or(RowRange{0, batch}); }
  uint64_t seed_of_views() const { return seed + static_cast<uint64_t>(view) * 0x9e3779b97f4a7c15; }
};

/// The pictures at the own places of a batch.
struct Batch {
  Tensor images;  // [B, S, S, C], in host memory (Tensor::for_upload)
  Tensor
      indices;  // i32 [B]: which picture of the data set each is; no two are alike, at other places neither
};

class Loader {
 public:
  /// `data` must outlive the loader.
  Loader(const Dataset& data, AugmentationOptions augmentation, const LoaderOptions& options);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  /// Full batches of an epoch; the pictures that are left over, others in every epoch, are not used in it.
  int64_t steps_per_epoch() const { return data_.size() / options_.batch; }
  /// Begins an epoch at a step of it, wherever the epoch before was.
  void start_epoch(int64_t epoch, int64_t first_step = 0);
  /// The next batch, in order. An Error that a thread met in preparing it is thrown here, and again by each
  /// further call until an epoch is started.
  Batch next();
  /// How long next() has waited, since the loader was made.
  double seconds_waited() const { return seconds_waited_; }

 private:
  struct Prepared {
    Batch batch;
    std::exception_ptr failure;  // in place of a batch
  };

  Batch prepare(int64_t step) const;
  template <class T>
  void write_views(int64_t step, std::span<int32_t> pictures, T* view) const;
  template <class T>
  bool write_view(int32_t index, T* view) const;
  template <class T>
  void replace_bad(int64_t step, size_t place, std::span<int32_t> pictures, T* view) const;
  int64_t values_of_view() const {
    return int64_t{augmentation_.size} * augmentation_.size * data_.channels();
  }
  void work();
  void stop();

  const Dataset& data_;
  AugmentationOptions augmentation_;
  LoaderOptions options_;

  int64_t epoch_ = 0;
  std::vector<int32_t> order_;  // of the epoch
  double seconds_waited_ = 0;

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::map<int64_t, Prepared> ready_;
  int64_t next_claimed_ = 0;   // step that the next free thread prepares
  int64_t next_returned_ = 0;  // step that next() returns
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

/// How picture i, of that height and width, is to be shown.
using PlanView = std::function<ViewPlan(int64_t i, int height, int width)>;

/// Views of pictures [begin, end), each as planned: f32 [end - begin, S, S, C]. Of a bad picture it is the
/// mean color.
Tensor views(const Dataset& data, const AugmentationOptions& options, int64_t begin, int64_t end,
             const PlanView& plan);
/// The same for evaluation (plan_center_view).
Tensor plain_views(const Dataset& data, const AugmentationOptions& options, int64_t begin, int64_t end);

}  // namespace la
