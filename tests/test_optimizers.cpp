// The optimizers over several steps: against plain loops in double precision and against PyTorch, restored,
// and recorded.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <memory>

#include "autograd/adamw.h"
#include "autograd/functions.h"
#include "autograd/lars.h"
#include "autograd/sgd.h"
#include "tensor/captured_step.h"
#include "tensor/format.h"
#include "tensor/io/safetensors.h"
#include "tensor/ops.h"
#include "tests/op_case.h"
#include "tests/plain_loops.h"

using namespace la;

namespace {

struct Parameter {
  Variable* variable;
  bool decays;
};

/// Two parameters, of which the first decays, and gradients for some steps.
struct Problem {
  static constexpr int steps = 8;
  Variable weight, bias;
  std::vector<Tensor> gradients[2];  // of each parameter, for each step

  explicit Problem(Device device)
      : weight(ops::random_normal({7, 300}, {.seed = 1}, device), true),
        bias(ops::random_normal({13}, {.seed = 2}, device), true) {
    for (uint64_t step = 0; step < steps; ++step)
      for (uint64_t p = 0; p < 2; ++p)
        gradients[p].push_back(
            ops::random_normal(parameter(p).shape(), {.seed = 3 + p, .index = step}, device));
  }
  Variable& parameter(size_t p) { return p == 0 ? weight : bias; }
  std::vector<Parameter> parameters() { return {{&weight, true}, {&bias, false}}; }

  /// Leaves these gradients in the parameters.
  void run_backward(const Tensor& of_weight, const Tensor& of_bias) {
    backward(sum(weight * Variable(of_weight)) + sum(bias * Variable(of_bias)));
  }
  void step(Optimizer& optimizer, int step) {
    run_backward(gradients[0][static_cast<size_t>(step)], gradients[1][static_cast<size_t>(step)]);
    optimizer.set_learning_rate(rate(step));
    optimizer.step();
  }
  static float rate(int step) { return 0.1f / static_cast<float>(1 + step); }
  std::vector<std::vector<float>> values() const {
    return {weight.value().to_vector<float>(), bias.value().to_vector<float>()};
  }
};

using MakeOptimizer = std::function<std::unique_ptr<Optimizer>(Problem&)>;

/// One step of a parameter in double precision; m and v begin as zeros, and t with 1.
struct PlainState {
  std::vector<double> p, m, v;
};
using PlainStep =
    std::function<void(PlainState&, const std::vector<double>& g, bool decays, double rate, int t)>;

struct Case {
  const char* name;
  float max_norm;  // 0: gradients are not clipped
  MakeOptimizer make;
  PlainStep plain;
};

template <class T, class Options>
MakeOptimizer maker(const Options& options) {
  return [options](Problem& problem) { return std::make_unique<T>(problem.parameters(), options); };
}

PlainStep plain_sgd(double momentum, double decay, bool nesterov) {
  return [=](PlainState& s, const std::vector<double>& g, bool decays, double rate, int) {
    for (size_t i = 0; i < g.size(); ++i) {
      const double force = g[i] + (decays ? decay : 0) * s.p[i];
      s.m[i] = momentum * s.m[i] + force;
      s.p[i] -= rate * (nesterov ? force + momentum * s.m[i] : s.m[i]);
    }
  };
}

PlainStep plain_adamw(double beta1, double beta2, double epsilon, double decay) {
  return [=](PlainState& s, const std::vector<double>& g, bool decays, double rate, int t) {
    for (size_t i = 0; i < g.size(); ++i) {
      s.m[i] = beta1 * s.m[i] + (1 - beta1) * g[i];
      s.v[i] = beta2 * s.v[i] + (1 - beta2) * g[i] * g[i];
      const double m = s.m[i] / (1 - std::pow(beta1, t)), v = s.v[i] / (1 - std::pow(beta2, t));
      s.p[i] -= rate * (decays ? decay : 0) * s.p[i] + rate * m / (std::sqrt(v) + epsilon);
    }
  };
}

PlainStep plain_lars(double momentum, double decay, double trust) {
  return [=](PlainState& s, std::vector<double> g, bool decays, double rate, int) {
    double parameters = 0, forces = 0;
    for (size_t i = 0; i < g.size(); ++i) {
      g[i] += (decays ? decay : 0) * s.p[i];
      parameters += s.p[i] * s.p[i];
      forces += g[i] * g[i];
    }
    const double ratio = decays ? trust * std::sqrt(parameters / forces) : 1;
    for (size_t i = 0; i < g.size(); ++i) {
      s.m[i] = momentum * s.m[i] + ratio * g[i];
      s.p[i] -= rate * s.m[i];
    }
  };
}

const Case all_cases[] = {
    {"sgd", 0, maker<Sgd>(SgdOptions{.momentum = 0.9f, .weight_decay = 0.01f}), plain_sgd(0.9, 0.01, false)},
    {"sgd, Nesterov's", 0, maker<Sgd>(SgdOptions{.momentum = 0.9f, .weight_decay = 0.01f, .nesterov = true}),
     plain_sgd(0.9, 0.01, true)},
    {"sgd, clipped", 5, maker<Sgd>(SgdOptions{.momentum = 0.9f}), plain_sgd(0.9, 0, false)},
    {"adamw", 0, maker<AdamW>(AdamWOptions{.weight_decay = 0.1f}), plain_adamw(0.9, 0.999, 1e-8, 0.1)},
    {"adamw, clipped", 5, maker<AdamW>(AdamWOptions{.beta1 = 0.8, .beta2 = 0.99, .epsilon = 1e-6f}),
     plain_adamw(0.8, 0.99, 1e-6, 0.01)},
    {"lars", 0, maker<Lars>(LarsOptions{.weight_decay = 0.1f, .trust_coefficient = 0.02f}),
     plain_lars(0.9, 0.1, 0.02)},
    {"lars, clipped", 5, maker<Lars>(LarsOptions{.weight_decay = 0.1f}), plain_lars(0.9, 0.1, 0.001)},
};

std::unique_ptr<Optimizer> make(const Case& c, Problem& problem) {
  std::unique_ptr<Optimizer> optimizer = c.make(problem);
  if (c.max_norm > 0) optimizer->clip_gradients(c.max_norm);
  return optimizer;
}

std::vector<double> to_doubles(const Tensor& x) {
  const std::vector<float> values = x.to_vector<float>();
  return {values.begin(), values.end()};
}

void check_against_plain_loop(const Case& c, Device device) {
  Problem problem(device);
  PlainState states[2];
  for (size_t p = 0; p < 2; ++p) {
    states[p].p = to_doubles(problem.parameter(p).value());
    states[p].m = states[p].v = std::vector<double>(states[p].p.size());
  }
  const std::unique_ptr<Optimizer> optimizer = make(c, problem);
  for (int step = 0; step < Problem::steps; ++step) {
    std::vector<double> gradients[2];
    double squares = 0;
    for (size_t p = 0; p < 2; ++p) {
      gradients[p] = to_doubles(problem.gradients[p][static_cast<size_t>(step)]);
      for (double g : gradients[p]) squares += g * g;
    }
    if (c.max_norm > 0)
      for (auto& gradient : gradients)
        for (double& g : gradient) g *= std::min(1.0, c.max_norm / (std::sqrt(squares) + 1e-6));
    for (size_t p = 0; p < 2; ++p) {
      const double rate = Problem::rate(step);
      c.plain(states[p], gradients[p], p == 0, rate, step + 1);
    }
    problem.step(*optimizer, step);
    if (c.max_norm > 0)
      CHECK(optimizer->gradient_norm().item() == doctest::Approx(std::sqrt(squares)).epsilon(1e-5));
  }
  // Parameters are at most 5 in size, what a step adds to them less than that; each step rounds a few dozen
  // times, the options are f32 instead of double, and each is used in each step.
  const double tolerance = 5 * 32 * Problem::steps * 0x1p-24;
  for (size_t p = 0; p < 2; ++p) {
    const std::vector<double> got = to_doubles(problem.parameter(p).value());
    double worst = 0;
    for (size_t i = 0; i < got.size(); ++i) {
      const double difference = std::abs(got[i] - states[p].p[i]);
      if (!(difference <= worst)) worst = difference;
    }
    CHECK(worst <= tolerance);
  }
}

}  // namespace

TEST_SUITE_BEGIN("devices");

TEST_CASE("optimizers agree with plain loops over several steps") {
  for (Device device : available_devices())
    for (const Case& c : all_cases) {
      CAPTURE(c.name);
      check_against_plain_loop(c, device);
    }
}

TEST_CASE("an optimizer whose state is restored goes on to the same bytes") {
  for (Device device : available_devices())
    for (const Case& c : all_cases) {
      CAPTURE(c.name);
      Problem undisturbed(device), restored(device);
      const auto first = make(c, undisturbed), before = make(c, restored);
      for (int step = 0; step < Problem::steps; ++step) undisturbed.step(*first, step);
      constexpr int stop = 3;
      for (int step = 0; step < stop; ++step) restored.step(*before, step);
      const auto after = make(c, restored);
      for (size_t s = 0; s < before->state().size(); ++s) {
        const Optimizer::State &from = before->state()[s], &to = after->state()[s];
        CHECK(to.name == from.name);
        for (size_t i = 0; i < from.tensors.size(); ++i) ops::copy_into(to.tensors[i], from.tensors[i]);
      }
      for (int step = stop; step < Problem::steps; ++step) restored.step(*after, step);
      CHECK(restored.values() == undisturbed.values());
    }
}

TEST_CASE("a recorded step of an optimizer gives the same bytes as one that is not") {
  for (Device device : available_devices())
    for (const Case& c : all_cases) {
      CAPTURE(c.name);
      const auto run = [&](bool record) {
        Problem problem(device);
        const auto optimizer = make(c, problem);
        const Tensor of_weight = ops::copy(problem.gradients[0][0]),
                     of_bias = ops::copy(problem.gradients[1][0]);
        CapturedStep work(device, record);
        for (int step = 0; step < Problem::steps; ++step) {
          ops::copy_into(of_weight, problem.gradients[0][static_cast<size_t>(step)]);
          ops::copy_into(of_bias, problem.gradients[1][static_cast<size_t>(step)]);
          optimizer->set_learning_rate(Problem::rate(step));
          work.run([&] {
            problem.run_backward(of_weight, of_bias);
            optimizer->step();
          });
        }
        return problem.values();
      };
      CHECK(run(true) == run(false));
    }
}

TEST_CASE("optimizers agree with PyTorch") {
  const SafetensorsFile file = read_safetensors("tests/fixtures/optimizers.safetensors");
  const auto compare = [&](const std::string& name, Device device, const auto& make_optimizer) {
    CAPTURE(name);
    Problem problem(device);
    problem.weight = Variable(ops::copy(file.at("weight").to(device)), true);
    problem.bias = Variable(ops::copy(file.at("bias").to(device)), true);
    const std::unique_ptr<Optimizer> optimizer = make_optimizer(problem);
    optimizer->set_learning_rate(0.05f);
    for (int64_t step = 0; step < file.at("gradients.weight").size(0); ++step) {
      const auto gradient = [&](const char* of, const Variable& parameter) {
        return file.at(formatted("gradients.{}", of))
            .rows(step, step + 1)
            .reshape(parameter.shape())
            .to(device);
      };
      problem.run_backward(gradient("weight", problem.weight), gradient("bias", problem.bias));
      optimizer->step();
    }
    for (const auto& [of, parameter] : {std::pair("weight", &problem.weight), {"bias", &problem.bias}}) {
      const std::string key = formatted("{}.{}", name, of);
      const std::vector<double> got = to_doubles(parameter->value()), expected = to_doubles(file.at(key));
      double largest = 0, worst = 0;
      for (size_t i = 0; i < got.size(); ++i) {
        largest = std::max(largest, std::abs(expected[i]));
        worst = std::max(worst, std::abs(got[i] - expected[i]));
      }
      // As of the other fixtures (tests/test_fixtures.cpp).
      CHECK(worst <= std::max(8 * std::stod(file.metadata.at("error." + key)), 4 * 0x1p-24 * largest));
    }
  };
  for (Device device : available_devices()) {
    const SgdOptions nesterov{.momentum = 0.9f, .weight_decay = 0.01f, .nesterov = true};
    compare("sgd_nesterov", device, maker<Sgd>(nesterov));
    compare("adamw", device, maker<AdamW>(AdamWOptions{.weight_decay = 0.1f}));
    compare("adamw_clipped", device, [](Problem& problem) {
      auto optimizer = std::make_unique<AdamW>(problem.parameters(), AdamWOptions{.weight_decay = 0.1f});
      optimizer->clip_gradients(2.0f);
      return optimizer;
    });
  }
}

TEST_SUITE_END();

TEST_CASE("a parameter without a gradient stays as it is") {
  for (const Case& c : all_cases) {
    Problem problem({});
    const auto optimizer = make(c, problem);
    optimizer->set_learning_rate(0.1f);
    const auto before = problem.values();
    backward(sum(problem.weight * Variable(problem.gradients[0][0])));
    optimizer->step();
    CHECK(problem.values()[1] == before[1]);
    CHECK(problem.values()[0] != before[0]);
    CHECK_FALSE(problem.weight.grad().defined());
  }
}

TEST_CASE("steps of optimizers are the same for any number of threads") {
  for (const Case& c : all_cases)
    check_any_threads([&] {
      Problem problem({});
      problem.weight = Variable(ops::random_normal({300, 400}, {.seed = 1}), true);
      const auto optimizer = make(c, problem);
      problem.run_backward(ops::random_normal({300, 400}, {.seed = 2}), problem.gradients[1][0]);
      optimizer->set_learning_rate(0.1f);
      optimizer->step();
      return problem.values();
    });
}

TEST_CASE("optimizers refuse what they cannot use") {
  Problem problem({});
  CHECK_THROWS_WITH_AS(Sgd(std::vector<Parameter>{}, {}), doctest::Contains("no parameter"), Error);
  CHECK_THROWS_WITH_AS(AdamW(problem.parameters(), {}).clip_gradients(0), doctest::Contains("norm of 0"),
                       Error);
}
