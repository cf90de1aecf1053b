#include "layers/gradient_sum.h"

#include <utility>

#include "tensor/ops.h"

namespace la {

// A number of elements that all ranks share evenly makes a bucket's parts lie where they are sent from. What stands between its
// last number and its end is added too, whatever it is, and not read.
GradientSum::GradientSum(const std::vector<Variable>& parameters, const Shards& shards, int64_t others,
                         int64_t bytes)
    : shards_(shards),
      // NCCL adds all in one call on the stream, when the pass is over.
      during_pass_(!shards.ranks().alone() && !shards.ranks().has_own_order()),
      sums_(shards) {
  if (shards.count() == 1) return;
  check(!parameters.empty(), "gradients over {} shards of no parameter", shards.count());
  const int64_t ranks = shards.ranks().size(), smallest = bytes / static_cast<int64_t>(sizeof(float));
  int64_t end = 0;
  const auto close = [&] { return buckets_.back().end = end = (end + ranks - 1) / ranks * ranks; };
  buckets_.emplace_back();
  for (size_t i = parameters.size(); i-- > 0;) {
    const Variable& parameter = parameters[i];
    check(parameter.requires_grad() && parameter.dtype() == DType::f32,
          "the sum of gradients of a variable of {} that requires {}", parameter.dtype(),
          parameter.requires_grad() ? "them" : "none");
    if (during_pass_ && end > buckets_.back().begin && end - buckets_.back().begin >= smallest) {
      buckets_.push_back({.begin = close()});
    }
    places_.push_back({parameter, buckets_.size() - 1, end});
    ++buckets_.back().awaited;
    end += parameter.value().numel();
  }
  ++buckets_.back().awaited;  // collect(), for the others
  others_.begin = std::exchange(end, end + others);
  others_.end = end;
  close();
}

GradientSum::~GradientSum() { end_observation(); }

void GradientSum::end_observation() {
  if (!observing_) return;
  for (Place& place : places_) place.parameter.observe_gradient({});
  observing_ = false;
}

/// Copies the gradient to the numbers of the last shard, and clears it.
void GradientSum::take(Place& place) {
  const int64_t n = place.parameter.value().numel();
  const Tensor to = of_shards_.back().rows(place.begin, place.begin + n);
  if (const Tensor& gradient = place.parameter.grad(); gradient.defined())
    ops::copy_into(to, gradient.reshape({n}));
  else
    ops::fill(to, 0.0f);
  place.parameter.clear_grad();
}

void GradientSum::begin_shard() {
  check(collected_ < shards_.own(), "gradients of more than the {} shards of this rank", shards_.own());
  of_shards_.emplace_back(Shape{buckets_.back().end}, DType::f32, places_.front().parameter.value().device());
}

void GradientSum::collect_during_pass() {
  if (!during_pass_) return;
  check(collected_ + 1 == shards_.own(), "gradients are collected during the pass of the last shard alone");
  begin_shard();
  observing_ = true;
  for (Place& place : places_) place.parameter.observe_gradient([this, &place] { complete(place); });
}

void GradientSum::complete(Place& place) {
  check(!place.taken, "a gradient of shape {} is complete, and then another pass adds to it",
        place.parameter.shape());
  take(place);
  place.taken = true;
  --buckets_[place.bucket].awaited;
  while (buckets_[started_].awaited == 0) start_next();  // never the last one
  sums_.advance();
}

/// Starts to add the next bucket over the shards: in the same order on all ranks.
void GradientSum::start_next() {
  const Bucket& bucket = buckets_[started_++];
  std::vector<Tensor> parts;
  for (const Tensor& of_shard : of_shards_) parts.push_back(of_shard.rows(bucket.begin, bucket.end));
  sums_.start("gradients", std::move(parts));
}

void GradientSum::collect(const Tensor& others) {
  if (shards_.count() == 1) {
    sum_of_others_ = others;
    return;
  }
  if (!observing_) begin_shard();
  end_observation();
  for (Place& place : places_)
    if (!std::exchange(place.taken, false)) take(place);
  if (others_.size() > 0) ops::copy_into(of_shards_.back().rows(others_.begin, others_.end), others);
  if (++collected_ < shards_.own()) return;
  while (started_ < buckets_.size()) start_next();
}

Tensor GradientSum::finish() {
  if (shards_.count() == 1) return sum_of_others_;
  check(collected_ == shards_.own(), "the gradients of {} shards of this rank, expected {}", collected_,
        shards_.own());
  const std::vector<Tensor> sums = sums_.finish();
  for (Place& place : places_) {
    const Tensor& value = place.parameter.value();
    const int64_t begin = place.begin - buckets_[place.bucket].begin;
    place.parameter.set_grad(sums[place.bucket].rows(begin, begin + value.numel()).reshape(value.shape()));
  }
  const int64_t begin = others_.begin - buckets_.back().begin;
  return sums.back().rows(begin, begin + others_.size());
}

}  // namespace la
