// Batch norm over the whole batch of several processes, against that of one process with the batch. The cases are run by
// as many processes as the tests are started with.
#include <doctest/doctest.h>

#include <cmath>
#include <map>

#include "autograd/functions.h"
#include "la/trainer.h"
#include "layers/layers.h"
#include "tensor/ops.h"
#include "tests/processes.h"
#include "tests/reference.h"
#include "tests/tiny_training.h"

using namespace la;

namespace {

Shards one_each() { return {processes(), processes().size()}; }

/// Unequal numbers of rows for the ranks, one among them.
RowRange own_rows() {
  constexpr int64_t sizes[] = {5, 1, 8, 3};
  RowRange rows;
  for (int r = 0; r <= processes().rank(); ++r) rows = {rows.end, rows.end + sizes[r % 4]};
  return rows;
}
int64_t rows_of_all() {
  const Tensor end = Tensor::from(std::vector<int32_t>{static_cast<int32_t>(own_rows().end)}, {1});
  processes().all_reduce("rows of all", end, Reduction::max);
  return end.to_vector<int32_t>()[0];
}

Tensor normal(const Shape& shape, uint64_t seed, float deviation = 1, float mean = 0,
              DType dtype = DType::f32) {
  const Tensor x = ops::random_normal(shape, {.seed = seed});
  return ops::cast(ops::shift(ops::scale(x, deviation), mean), dtype);
}

Array array_of(const Tensor& x) {
  Array array(x.shape(), x.dtype());
  const auto values = ops::cast(x, DType::f32).to_vector<float>();
  for (size_t i = 0; i < values.size(); ++i) array.values[i] = values[i];
  return array;
}

/// By how many times the bounds, of elements from `first` on, the two differ at most.
double excess(const Tensor& a, const Tensor& b, const Array& bounds, int64_t first = 0) {
  const Array of_a = array_of(a), of_b = array_of(b), stored = bounds.stored(a.dtype());
  REQUIRE(of_a.numel() == of_b.numel());
  double largest = 0;
  for (int64_t i = 0; i < of_a.numel(); ++i) {
    const double difference = std::abs(of_a[i].value - of_b[i].value);
    if (difference > 0) largest = std::max(largest, difference / stored[first + i].error);
    if (!(difference <= HUGE_VAL)) largest = HUGE_VAL;
  }
  return largest;
}

struct Case {
  Shape shape;  // of the whole batch
  DType dtype;
  bool residual, relu, used_twice;
  float mean;
};

/// A batch norm, its input's and parameters' gradients, and its statistics.
struct Outcome {
  Tensor y, running_mean, running_variance, dx, dweight, dbias, dresidual;
};

/// All of them of rows of the batch: the statistics are those of what `normalize` does.
template <class Normalize>
Outcome outcome_of(const Case& c, const RowRange& rows, Normalize normalize) {
  const Shape channels{c.shape[-1]};
  const auto leaf = [&](uint64_t seed, float deviation, float mean) {
    return Variable(ops::copy(normal(c.shape, seed, deviation, mean, c.dtype).rows(rows.begin, rows.end)),
                    true);
  };
  const Variable x = leaf(1, 1, c.mean), residual = c.residual ? leaf(2, 1, 0) : Variable();
  const Variable weight(normal(channels, 3), true), bias(normal(channels, 4), true);
  const BatchNormState state{weight.value(), bias.value(), normal(channels, 5),
                             ops::exp(normal(channels, 6))};
  const Variable y =
      normalize(x, weight, bias, state, residual, BatchNormOptions{.momentum = 0.3f, .relu = c.relu});
  backward(c.used_twice ? y + y : y, normal(c.shape, 7, 1, 0, c.dtype).rows(rows.begin, rows.end));
  return {y.value(),
          state.running_mean,
          state.running_variance,
          x.grad(),
          weight.grad(),
          bias.grad(),
          c.residual ? residual.grad() : Tensor()};
}

void check_case(const Case& c) {
  CAPTURE(c.shape.numel());
  CAPTURE(c.dtype == DType::bf16);
  CAPTURE(c.residual);
  CAPTURE(c.relu);
  CAPTURE(c.used_twice);
  CAPTURE(c.mean);
  const RowRange rows = own_rows();
  const Outcome own = outcome_of(
      c, rows, [](auto&&... arguments) { return synchronized_batch_norm(arguments..., one_each()); });
  const Outcome whole =
      outcome_of(c, {0, c.shape[0]}, [](auto&&... arguments) { return batch_norm(arguments...); });

  const Shape channels{c.shape[-1]};
  const BatchNormOptions options{.momentum = 0.3f, .relu = c.relu};
  const Array residual = c.residual ? array_of(normal(c.shape, 2, 1, 0, c.dtype)) : Array();
  Array dy = array_of(normal(c.shape, 7, 1, 0, c.dtype));
  if (c.used_twice)
    for (Bounded& value : dy.values) value.value *= 2;
  Arrays in{array_of(normal(c.shape, 1, 1, c.mean, c.dtype)),
            array_of(normal(channels, 3)),
            array_of(normal(channels, 4)),
            array_of(normal(channels, 5)),
            array_of(ops::exp(normal(channels, 6))),
            dy};
  if (c.residual) in.push_back(residual);
  const Arrays forward = reference::batch_norm(in, options),
               gradients = reference::batch_norm_backward(dy, in[0], in[1], in[2], residual, options, true);

  // Each of the two is within the bound of the same number.
  const int64_t first = rows.begin * (c.shape.numel() / c.shape[0]);
  const auto own_of = [&](const Tensor& x) { return x.rows(rows.begin, rows.end); };
  CHECK(excess(own.y, own_of(whole.y), forward[0], first) <= 2);
  CHECK(excess(own.running_mean, whole.running_mean, forward[3]) <= 2);
  CHECK(excess(own.running_variance, whole.running_variance, forward[4]) <= 2);
  CHECK(excess(own.dx, own_of(whole.dx), gradients[0], first) <= 2);
  // Sums over the rows of each process, whose sum the optimizer gets.
  CHECK(excess(one_each().sum("dweight", {ops::copy(own.dweight)}), whole.dweight, gradients[1]) <= 2);
  CHECK(excess(one_each().sum("dbias", {ops::copy(own.dbias)}), whole.dbias, gradients[2]) <= 2);
  if (c.residual) CHECK(excess(own.dresidual, own_of(whole.dresidual), gradients[3], first) <= 2);
}

/// Squares of four kinds.
PictureArray squares(int64_t n) {
  constexpr int64_t side = 12;
  std::vector<uint8_t> pixels;
  std::vector<int32_t> labels;
  for (int64_t i = 0; i < n; ++i) {
    RandomGenerator random({.seed = static_cast<uint64_t>(i)});
    for (int64_t p = 0; p < side * side; ++p)
      pixels.push_back(static_cast<uint8_t>(i % 4 * 50 + (p % side / 3 + p / side / 3) % 2 * 40 +
                                            static_cast<int64_t>(random.below(60))));
    labels.push_back(static_cast<int32_t>(i % 4));
  }
  return {Tensor::from(pixels, {n, side, side, 1}), labels};
}

Config tiny_config(bool sync) {
  Config config = tiny_training();
  config.network.name = "resnet8-wide";
  config.network.head = HeadKind::linear_bn;
  config.optimizer.batch = 26;
  config.run.sync_batch_norm = sync;
  return config;
}

std::unique_ptr<Trainer> trainer_of(Config config, const Dataset& data, const Shards& shards) {
  choose_defaults(config, data.size());
  return std::make_unique<Trainer>(config, data, augmentation_for(config, data), Device::cpu(), shards);
}

/// Parameters and running statistics.
std::vector<std::vector<float>> numbers_of(Module& network) {
  std::vector<std::vector<float>> numbers;
  for (const auto& p : network.parameters()) numbers.push_back(p.variable->value().to_vector<float>());
  for (const auto& b : network.buffers()) numbers.push_back(b.tensor->to_vector<float>());
  return numbers;
}

/// The root of the mean square over all tensors of their differences' lengths, as parts of their own.
double distance(const std::vector<std::vector<float>>& a, const std::vector<std::vector<float>>& b) {
  double sum = 0;
  for (size_t t = 0; t < a.size(); ++t) {
    double squares = 0, of_length = 0;
    for (size_t i = 0; i < a[t].size(); ++i) {
      squares += std::pow(static_cast<double>(a[t][i]) - b[t][i], 2);
      of_length += std::pow(static_cast<double>(b[t][i]), 2);
    }
    sum += squares / of_length;
  }
  return std::sqrt(sum / static_cast<double>(a.size()));
}

}  // namespace

TEST_SUITE("processes") {
  TEST_CASE("synchronized batch norm of parts is batch norm of the whole") {
    const int64_t n = rows_of_all();
    for (const DType dtype : {DType::f32, DType::bf16})
      for (const Shape& shape : {Shape{n, 3}, Shape{n, 64}, Shape{n, 3, 5, 17}, Shape{n, 6, 6, 16}})
        for (const bool residual : {false, true})
          for (const bool relu : {false, true}) {
            for (const float mean : {0.0f, 20.0f}) check_case({shape, dtype, residual, relu, false, mean});
            check_case({shape, dtype, residual, relu, true, 1});
          }
  }

  TEST_CASE("a layer is synchronized in training alone, and not where its statistics are frozen") {
    const RowRange rows = own_rows();
    const Tensor x = normal({rows_of_all(), 7}, 1, 1, 2);
    BatchNorm2d layer(7), plain(7);
    layer.initialize(0);
    plain.initialize(0);
    layer.synchronize_statistics(one_each());
    const auto sent = [] { return processes().bytes_sent(); };
    const auto before = sent();
    layer.set_training(false);
    layer(Variable(x));
    layer.set_training(true);
    layer.freeze_statistics();
    layer(Variable(x));
    CHECK(sent() == before);
    layer.freeze_statistics(false);
    layer(Variable(x.rows(rows.begin, rows.end)));
    CHECK((sent() == before) == processes().alone());
    plain(Variable(x));
    const std::vector<Module::Buffer> found = layer.buffers(), expected = plain.buffers();
    for (size_t b = 0; b < found.size(); ++b) {
      const auto values = found[b].tensor->to_vector<float>();
      for (size_t i = 0; i < values.size(); ++i)
        CHECK(values[i] == doctest::Approx(expected[b].tensor->to_vector<float>()[i]).epsilon(1e-5));
    }
  }

  // The results of each of eight layers, and their gradients, are rounded up to 16 times in another way: 256 roundings.
  // A network whose weights are changed by as many before the first step is as far from the other, or farther: by 1e-4 of
  // its numbers after one step. Later, where a ReLU lets a gradient through in one of them alone, both lead further away.
  TEST_CASE("several processes that synchronize batch norm train the network of one") {
    const PictureArray data = squares(60);
    constexpr float roundings = 256 * 0x1p-24f;
    for (const bool supervised : {false, true})
      for (const int64_t steps : {1, 4}) {
        const auto trained = [&](bool sync, const Shards& shards, float change = 0) {
          Config config = tiny_config(sync);
          config.optimizer.supervised = supervised;
          config.optimizer.schedule.base = 0.01f;
          if (supervised) config.network.dim = 4;
          const auto trainer = trainer_of(config, data, shards);
          for (const auto& p : trainer->network().parameters())
            for (int64_t i = 0; i < p.variable->value().numel(); ++i)
              p.variable->value().data<float>()[i] *= i % 2 == 0 ? 1 + change : 1 - change;
          if (!supervised) trainer->fill_bank();
          train(*trainer, steps);
          return numbers_of(trainer->network());
        };
        const auto whole = trained(false, {}), synchronized = trained(true, one_each());
        const double tolerance = distance(trained(false, {}, roundings), whole),
                     without = distance(trained(false, one_each()), whole);
        CAPTURE(supervised);
        CAPTURE(steps);
        CAPTURE(tolerance);
        CHECK(distance(synchronized, whole) <= tolerance);
        if (steps == 1) CHECK(tolerance < 2e-4);
        if (processes().alone())
          CHECK(synchronized == whole);
        else
          CHECK(without > 10 * tolerance);
      }
  }

  TEST_CASE("the bytes that synchronized batch norm sends are those of the formulas in docs/cluster.md") {
    const int64_t ranks = processes().size();
    const PictureArray data = squares(60);
    const auto trainer = trainer_of(tiny_config(true), data, one_each());
    std::map<std::string, int64_t> before = processes().bytes_sent();
    trainer->begin_epoch();
    StepReport step;
    trainer->train_step(step);
    int64_t layers = 0, channels = 0, longest = 0;
    for (const auto& b : trainer->network().buffers()) {
      if (!b.name.ends_with("running_mean")) continue;
      const int64_t sums = 2 * b.tensor->numel();
      ++layers;
      channels += b.tensor->numel();
      longest += (sums + ranks - 1) / ranks;
    }
    const auto of_step = [&](const char* what) {
      const auto found = processes().bytes_sent().find(what);
      return found == processes().bytes_sent().end() ? 0 : found->second - before[what];
    };
    CHECK(layers > 5);
    CHECK(of_step("batch statistics") == (ranks - 1) * 4 * (2 * channels + layers));
    const int64_t exchanged = of_step("gradients of batch statistics");
    CHECK(std::abs(exchanged - 2 * (ranks - 1) * 4 * longest) <= layers * (ranks - 1) * 4);
    if (ranks == 2 || ranks == 4) CHECK(exchanged == 2 * (ranks - 1) * 8 * channels / ranks);
  }

  TEST_CASE("synchronized batch norm needs a shard for each process, with pictures") {
    const Shards many(processes(), 3 * processes().size());
    Config config = tiny_config(true);
    CHECK_NOTHROW(validate(config, one_each()));
    CHECK_THROWS_WITH_AS(validate(config, many), doctest::Contains("`sync_batch_norm` needs one shard"),
                         Error);
    config.optimizer.batch = 2 * processes().size() - 1;
    if (!processes().alone())
      CHECK_THROWS_WITH_AS(validate(config, one_each()), doctest::Contains("less than two for each of"),
                           Error);
    config.run.sync_batch_norm = false;
    CHECK_NOTHROW(validate(config, many));
    CHECK_NOTHROW(validate(config, one_each()));
    const Variable x(normal({4, 2}, 1)), parameter(normal({2}, 2));
    const BatchNormState state{parameter.value(), parameter.value(), normal({2}, 3), normal({2}, 4)};
    CHECK_THROWS_WITH_AS(synchronized_batch_norm(x, parameter, parameter, state, {}, {}, many),
                         doctest::Contains("expected one each"), Error);
  }
}
