// Gradients that are added over several processes while the backward pass goes on. The cases are run by as many processes as the
// tests are started with.
#include <doctest/doctest.h>

#include "autograd/functions.h"
#include "layers/layers.h"
#include "layers/sharded_step.h"
#include "tests/sharded.h"

using namespace la;

namespace {

/// A network of rows with running statistics and a part that takes no part; `in_pass` is called in the backward pass, when all
/// gradients but those of `first` are complete.
struct WatchedNetwork final : Module {
  Linear first{6, 5};
  BatchNorm2d norm{5};
  Linear unused{3, 7}, second{5, 9}, last{9, 4};
  std::function<void()> in_pass;

  WatchedNetwork() {
    add("first", first);
    add("norm", norm);
    add("unused", unused);
    add("second", second);
    add("last", last);
    initialize(3);
  }
  Variable forward(const Variable& x) override {
    const Variable y = norm(first(x));
    return last(relu(second(record("watched", y.value(), {y}, [this](const Tensor& dy) -> Gradients {
      if (in_pass) in_pass();
      return {dy};
    }))));
  }
};

/// What a step on `batch` rows leaves: gradients, and running statistics.
std::vector<std::vector<float>> step_of(WatchedNetwork& network, const Shards& shards, int64_t batch,
                                        int64_t bucket_bytes) {
  const Tensor x = ops::random_normal({batch, 6}, {.seed = 1}),
               dy = ops::random_normal({batch, 4}, {.seed = 2});
  const RowRange own = shards.own_rows(batch);
  ShardedStep step(network, shards, bucket_bytes);
  const auto y =
      step.forward(x.rows(own.begin, own.end), batch, [&](const Variable& rows) { return network(rows); });
  std::vector<Tensor> gradients;
  for (int64_t s = shards.first(); s < shards.last(); ++s)
    gradients.push_back(dy.rows(shards.rows(batch, s).begin, shards.rows(batch, s).end));
  step.backward(y, gradients);
  std::vector<std::vector<float>> found;
  for (const auto& p : network.parameters()) {
    const Tensor& gradient = p.variable->grad();
    found.push_back(gradient.defined() ? gradient.to_vector<float>() : std::vector<float>());
  }
  for (const auto& b : network.buffers()) found.push_back(b.tensor->to_vector<float>());
  return found;
}

constexpr int64_t one_bucket = int64_t{1} << 30;

}  // namespace

TEST_SUITE("processes") {
  TEST_CASE("gradients are those of one process, whatever the buckets, and who has pictures") {
    Collectives& ranks = processes();
    for (const int64_t count : {int64_t{ranks.size()}, twelve})
      for (const int64_t batch : {2, 5, 30})
        for (const int64_t bytes : {int64_t{1}, int64_t{100}, one_bucket}) {
          CAPTURE(count);
          CAPTURE(batch);
          CAPTURE(bytes);
          WatchedNetwork one, together;
          const auto expected = step_of(one, Shards(alone(), count), batch, one_bucket);
          CHECK(step_of(together, Shards(ranks, count), batch, bytes) == expected);
          if (count > 1) CHECK(expected[4] == std::vector<float>(21, 0.0f));  // of `unused`
          // Nobody observes any more.
          for (const auto& p : together.parameters()) CHECK_NOTHROW(p.variable->observe_gradient([] {}));
        }
  }

  TEST_CASE("gradients of several losses are added, without a network") {
    const auto leaf = [](int64_t n) { return Variable(Tensor::full({n}, 2.0f), true); };
    for (Collectives* ranks : {&alone(), &processes()})
      for (const int64_t count : {int64_t{ranks->size()}, twelve}) {
        const Shards shards(*ranks, count);
        const Variable a = leaf(3), b = leaf(2), unused = leaf(4);
        GradientSum gradients({a, b, unused}, shards, 1);
        for (int64_t s = shards.first(); s < shards.last(); ++s) {
          const auto shard = static_cast<float>(s);
          for (const float factor : {shard, 1.0f}) backward(sum(scale(a, factor)));
          backward(sum(scale(b, -shard)));
          gradients.collect(Tensor::full({1}, shard));
        }
        const auto shards_in_all = static_cast<float>(count), total = shards_in_all * (shards_in_all - 1) / 2;
        CHECK(gradients.finish().item() == total);
        CHECK(a.grad().to_vector<float>() == std::vector<float>(3, total + shards_in_all));
        CHECK(b.grad().to_vector<float>() == std::vector<float>(2, -total));
        CHECK(unused.grad().defined() == (count > 1));
        if (count == 1) continue;
        CHECK(unused.grad().to_vector<float>() == std::vector<float>(4, 0.0f));
        CHECK_THROWS_WITH_AS(gradients.collect(), doctest::Contains("gradients of more than"), Error);

        if (ranks->alone()) continue;
        GradientSum during(std::vector<Variable>{a}, Shards(*ranks, ranks->size()));
        during.collect_during_pass();
        backward(sum(a));
        CHECK_THROWS_WITH_AS(backward(sum(a)), doctest::Contains("and then another pass adds to it"), Error);
      }
  }

  TEST_CASE("buckets are on their way while the backward pass goes on, and other sums come between") {
    Collectives& ranks = processes();
    const Shards shards(ranks, 2 * ranks.size());
    const int64_t batch = 4 * shards.count();
    WatchedNetwork one;
    const auto expected = step_of(one, Shards(alone(), shards.count()), batch, one_bucket);
    for (const int64_t bytes : {int64_t{1}, one_bucket}) {
      WatchedNetwork network;
      const int64_t before = sent("gradients");
      std::vector<int64_t> during;  // the pass of each of the two shards
      network.in_pass = [&] {
        during.push_back(sent("gradients") - before);
        const std::vector<Tensor> ones(2, Tensor::full({9}, 1.0f));
        CHECK(shards.sum("in the pass", {ops::copy(ones[0]), ops::copy(ones[1])}).to_vector<float>() ==
              std::vector<float>(9, static_cast<float>(shards.count())));
      };
      CHECK(step_of(network, shards, batch, bytes) == expected);
      REQUIRE(during.size() == 2);
      CHECK(during[0] == 0);
      CHECK((during[1] > 0) == (bytes == 1 && !ranks.alone()));

      // A bucket for each parameter, or one; running statistics are in the last.
      std::vector<int64_t> buckets{0};
      for (const auto& p : network.parameters()) {
        if (bytes == 1 && buckets.back() > 0) buckets.push_back(0);
        buckets.back() += p.variable->value().numel();
      }
      for (const auto& b : network.buffers()) buckets.front() += b.tensor->numel();
      int64_t numbers = 0;
      for (const int64_t n : buckets) numbers += (n + ranks.size() - 1) / ranks.size();
      CHECK(sent("gradients") - before == 2 * (ranks.size() - 1) * 4 * numbers);
    }
  }
}
