#include "data/loader.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "tensor/clock.h"
#include "tensor/random.h"

namespace la {
namespace {

/// Batches that may be ready or in the making: one for each thread, and some in store for when a batch takes
/// longer than others.
int64_t batches_ahead(int threads) { return threads + 3; }

/// Writes the view of picture i that `plan` says for its height and width; false if the picture is bad.
template <class Plan, class T>
bool write_view(const Dataset& data, int64_t i, const AugmentationOptions& options, Plan plan, T* view) {
  if (data.is_bad(i)) return false;
  ViewPlan p;
  const auto choose = [&](int height, int width) {
    p = plan(height, width);
    return p.crop;
  };
  try {
    const Excerpt excerpt = data.excerpt(i, options.size, choose);
    p.crop = excerpt.crop;
    augment(excerpt.picture, p, options, view);
    return true;
  } catch (const BadPicture&) {  // the data set has counted it
    return false;
  }
}

}  // namespace

std::vector<int32_t> epoch_order(int64_t n, uint64_t seed, int64_t epoch) {
  std::vector<int32_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  RandomGenerator random({seed, RandomStream::shuffle, static_cast<uint64_t>(epoch)});
  for (size_t i = order.size(); i > 1; --i)
    std::swap(order[i - 1], order[random.below(static_cast<uint32_t>(i))]);
  return order;
}

Loader::Loader(const Dataset& data, AugmentationOptions augmentation, const LoaderOptions& options)
    : data_(data), augmentation_(std::move(augmentation)), options_(options) {
  check(options.batch >= 1 && options.batch <= data.size(), "a batch of {} from {} pictures", options.batch,
        data.size());
  check(data.size() <= std::numeric_limits<int32_t>::max(), "{} pictures are more than an i32 can number",
        data.size());
  check(options.threads >= 1, "the loader needs at least one thread, got {}", options.threads);
}

Loader::~Loader() { stop(); }

void Loader::start_epoch(int64_t epoch, int64_t first_step) {
  check(epoch >= 0 && first_step >= 0 && first_step <= steps_per_epoch(),
        "epoch {} cannot begin at step {}; an epoch has {} steps", epoch, first_step, steps_per_epoch());
  stop();
  epoch_ = epoch;
  order_ = epoch_order(data_.size(), options_.seed, epoch);
  ready_.clear();
  next_claimed_ = next_returned_ = first_step;
  stopping_ = false;
  for (int t = 0; t < options_.threads; ++t) threads_.emplace_back([this] { work(); });
}

void Loader::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void Loader::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] {
      return stopping_ || next_claimed_ < next_returned_ + batches_ahead(options_.threads);
    });
    if (stopping_ || next_claimed_ >= steps_per_epoch()) return;
    const int64_t step = next_claimed_++;
    lock.unlock();
    Prepared prepared;
    try {
      prepared.batch = prepare(step);
    } catch (...) {
      prepared.failure = std::current_exception();
    }
    lock.lock();
    ready_.emplace(step, std::move(prepared));
    changed_.notify_all();
  }
}

Batch Loader::prepare(int64_t step) const {
  const int64_t size = augmentation_.size;
  const RowRange own = options_.own_places();
  Batch batch{Tensor::for_upload({own.size(), size, size, data_.channels()}, options_.dtype, options_.device),
              Tensor({own.size()}, DType::i32)};
  const auto first = order_.begin() + step * options_.batch;
  std::vector<int32_t> pictures(first, first + options_.batch);
  dispatch_float(options_.dtype, [&]<class T>(T) { write_views(step, pictures, batch.images.data<T>()); });
  std::copy_n(pictures.begin() + own.begin, own.size(), batch.indices.data<int32_t>());
  return batch;
}

// Who stands in for a bad picture depends on the bad ones before it in the batch. Where these are of other processes, they are
// looked at too, as soon as there is a bad one here.
template <class T>
void Loader::write_views(int64_t step, std::span<int32_t> pictures, T* view) const {
  const RowRange own = options_.own_places();
  bool knows_those_before = own.begin == 0;
  for (int64_t place = own.begin; place < own.end; ++place, view += values_of_view()) {
    if (write_view(pictures[static_cast<size_t>(place)], view)) continue;
    if (!knows_those_before) {
      std::vector<T> elsewhere(static_cast<size_t>(values_of_view()));
      for (size_t other = 0; other < static_cast<size_t>(own.begin); ++other)
        if (!write_view(pictures[other], elsewhere.data()))
          replace_bad(step, other, pictures, elsewhere.data());
      knows_those_before = true;
    }
    replace_bad(step, static_cast<size_t>(place), pictures, view);
  }
}

template <class T>
bool Loader::write_view(int32_t index, T* view) const {
  const auto plan = [&](int height, int width) {
    return plan_augmentation(augmentation_, height, width, options_.seed_of_views(), epoch_, index);
  };
  return la::write_view(data_, index, augmentation_, plan, view);
}

/// Which picture stands in depends only on the order of the epoch: the first of those after the batch that
/// can be read.
template <class T>
void Loader::replace_bad(int64_t step, size_t place, std::span<int32_t> pictures, T* view) const {
  const int64_t n = data_.size();
  for (int64_t i = 0; i < n; ++i) {
    const int32_t other = order_[static_cast<size_t>(((step + 1) * options_.batch + i) % n)];
    if (std::find(pictures.begin(), pictures.end(), other) != pictures.end() || !write_view(other, view))
      continue;
    pictures[place] = other;
    return;
  }
  fail("no picture is left to take the place of {}", data_.name(pictures[place]));
}

Batch Loader::next() {
  const double begin = now();
  std::unique_lock lock(mutex_);
  check(!threads_.empty() && next_returned_ < steps_per_epoch(),
        "the loader has no further batch; start_epoch comes first");
  changed_.wait(lock, [this] { return ready_.contains(next_returned_); });
  seconds_waited_ += now() - begin;
  const auto found = ready_.find(next_returned_);
  if (found->second.failure) std::rethrow_exception(found->second.failure);
  Batch batch = std::move(found->second.batch);
  ready_.erase(found);
  ++next_returned_;
  changed_.notify_all();
  return batch;
}

Tensor views(const Dataset& data, const AugmentationOptions& options, int64_t begin, int64_t end,
             const PlanView& plan) {
  check(begin >= 0 && begin <= end && end <= data.size(), "views of pictures {} to {}; there are {}", begin,
        end, data.size());
  const int64_t view_floats = int64_t{options.size} * options.size * data.channels();
  Tensor result({end - begin, options.size, options.size, data.channels()});
  float* out = result.data<float>();
  std::exception_ptr failure;
#pragma omp parallel for
  for (int64_t i = begin; i < end; ++i) {
    try {
      float* view = out + (i - begin) * view_floats;
      const auto plan_this = [&](int height, int width) { return plan(i, height, width); };
      if (!write_view(data, i, options, plan_this, view)) std::fill_n(view, view_floats, 0.0f);
    } catch (...) {
#pragma omp critical(la_views)
      failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
  return result;
}

Tensor plain_views(const Dataset& data, const AugmentationOptions& options, int64_t begin, int64_t end) {
  return views(data, options, begin, end, [size = options.size](int64_t, int height, int width) {
    return plan_center_view(height, width, size);
  });
}

}  // namespace la
