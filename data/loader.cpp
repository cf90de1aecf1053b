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
template <class Plan>
bool write_view(const Dataset& data, int64_t i, const AugmentationOptions& options, Plan plan, float* view) {
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
  RandomStream random({seed, Purpose::shuffle, static_cast<uint64_t>(epoch)});
  for (size_t i = order.size(); i > 1; --i)
    std::swap(order[i - 1], order[random.below(static_cast<uint32_t>(i))]);
  return order;
}

Loader::Loader(const Dataset& data, AugmentationOptions options, int64_t batch, int threads, uint64_t seed)
    : data_(data), options_(std::move(options)), batch_(batch), thread_count_(threads), seed_(seed) {
  check(batch >= 1 && batch <= data.size(), "a batch of {} from {} pictures", batch, data.size());
  check(data.size() <= std::numeric_limits<int32_t>::max(), "{} pictures are more than an i32 can number",
        data.size());
  check(threads >= 1, "the loader needs at least one thread, got {}", threads);
}

Loader::~Loader() { stop(); }

void Loader::start_epoch(int64_t epoch, int64_t first_step) {
  check(epoch >= 0 && first_step >= 0 && first_step <= steps_per_epoch(),
        "epoch {} cannot begin at step {}; an epoch has {} steps", epoch, first_step, steps_per_epoch());
  stop();
  epoch_ = epoch;
  order_ = epoch_order(data_.size(), seed_, epoch);
  ready_.clear();
  next_claimed_ = next_returned_ = first_step;
  stopping_ = false;
  for (int t = 0; t < thread_count_; ++t) threads_.emplace_back([this] { work(); });
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
    changed_.wait(
        lock, [this] { return stopping_ || next_claimed_ < next_returned_ + batches_ahead(thread_count_); });
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
  const int64_t size = options_.size;
  Batch batch{Tensor({batch_, size, size, data_.channels()}), Tensor({batch_}, DType::i32)};
  float* view = batch.images.data<float>();
  const int64_t view_floats = size * size * data_.channels();
  const std::span<int32_t> indices(batch.indices.data<int32_t>(), static_cast<size_t>(batch_));
  std::copy_n(order_.begin() + step * batch_, batch_, indices.begin());
  for (size_t b = 0; b < indices.size(); ++b, view += view_floats)
    if (!write_view(indices[b], view)) replace_bad(step, b, indices, view);
  return batch;
}

bool Loader::write_view(int32_t index, float* view) const {
  const auto plan = [&](int height, int width) {
    return plan_augmentation(options_, height, width, seed_, epoch_, index);
  };
  return la::write_view(data_, index, options_, plan, view);
}

/// Which picture stands in depends only on the order of the epoch: the first of those after the batch that
/// can be read.
void Loader::replace_bad(int64_t step, size_t place, std::span<int32_t> indices, float* view) const {
  const int64_t n = data_.size();
  for (int64_t i = 0; i < n; ++i) {
    const int32_t other = order_[static_cast<size_t>(((step + 1) * batch_ + i) % n)];
    if (std::find(indices.begin(), indices.end(), other) != indices.end() || !write_view(other, view))
      continue;
    indices[place] = other;
    return;
  }
  fail("no picture is left to take the place of {}", data_.name(indices[place]));
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
