#include "tests/op_case.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <limits>

#include "tensor/backend.h"
#include "tensor/format.h"
#include "tensor/ops.h"
#include "tests/with_threads.h"

namespace la {
namespace {

bool is_float(DType dtype) { return dtype == DType::f32 || dtype == DType::bf16; }

/// Calls f(T{}) with the C++ type of any dtype.
template <class F>
decltype(auto) dispatch(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f(float{});
    case DType::bf16:
      return f(bf16{});
    case DType::i32:
      return f(int32_t{});
    case DType::i64:
      return f(int64_t{});
    case DType::u8:
      return f(uint8_t{});
  }
  fail("unknown dtype");
}

template <class T>
double to_double(T x) {
  return static_cast<double>(x);
}
double to_double(bf16 x) { return static_cast<float>(x); }

/// The value itself where it is a number of that type, else the nearest.
double round_to(DType dtype, double x) {
  if (dtype == DType::bf16) return static_cast<float>(bf16(static_cast<float>(x)));
  return dtype == DType::f32 ? static_cast<float>(x) : x;
}

Tensor to_tensor(const Array& x, Device device) {
  return dispatch(x.dtype, [&]<class T>(T) {
    std::vector<T> values;
    for (const Bounded& value : x.values)
      if constexpr (std::is_same_v<T, bf16>)
        values.push_back(bf16(static_cast<float>(value.value)));
      else
        values.push_back(static_cast<T>(value.value));
    return Tensor::from(values, x.shape, device);
  });
}

std::vector<double> to_doubles(const Tensor& x) {
  return dispatch(x.dtype(), [&]<class T>(T) {
    std::vector<double> values;
    for (T value : x.to_vector<T>()) values.push_back(to_double(value));
    return values;
  });
}

/// A copy that starts one element behind an aligned address.
Tensor misaligned(const Tensor& x) {
  const Tensor one_more({x.numel() + 1}, x.dtype(), x.device());
  const Tensor view = one_more.rows(1, x.numel() + 1).reshape(x.shape());
  ops::copy_into(view, x);
  return view;
}

std::vector<uint8_t> bytes_at(const void* address, size_t count, Device device) {
  std::vector<uint8_t> bytes(count);
  backend(device).copy_to_host(bytes.data(), address, count);
  return bytes;
}

bool margins_are_intact(const Tensor& x) {
  const auto* begin = static_cast<const uint8_t*>(x.raw());
  for (const uint8_t* margin : {begin - GuardedTensors::margin, begin + x.bytes()})
    for (uint8_t byte : bytes_at(margin, GuardedTensors::margin, x.device()))
      if (byte != 0xff) return false;
  return true;
}

Arrays make_inputs(const OpCase& c) {
  Arrays arrays;
  for (const Input& input : c.inputs) {
    RandomGenerator random({.seed = 1, .index = arrays.size()});
    Array x(input.shape, input.dtype);
    for (int64_t i = 0; i < x.numel(); ++i) x[i] = round_to(x.dtype, input.element(i, random));
    arrays.push_back(x);
  }
  return arrays;
}

Tensors upload(const Arrays& arrays, Device device) {
  Tensors tensors;
  for (const Array& x : arrays) tensors.push_back(to_tensor(x, device));
  return tensors;
}

bool same(double got, double expected, double tolerance) {
  if (std::isnan(expected)) return std::isnan(got);
  return got == expected || std::abs(got - expected) <= tolerance;
}

/// What is wrong with one output: the worst element, measured in tolerances.
std::string compare(const Tensor& got, const Array& expected) {
  if (got.shape() != expected.shape || got.dtype() != expected.dtype)
    return formatted("is {} {}, expected {} {}", got.dtype(), got.shape(), expected.dtype, expected.shape);
  constexpr double underflow = 0x1p-126;  // below, a device may flush to zero
  const Array stored = expected.stored(expected.dtype);
  const std::vector<double> values = to_doubles(got);
  std::string worst;
  double worst_excess = 0;
  for (int64_t i = 0; i < stored.numel(); ++i) {
    const double value = values[static_cast<size_t>(i)], error = stored[i].error + underflow;
    if (same(value, stored[i].value, is_float(expected.dtype) ? error : 0)) continue;
    const double excess = std::abs(value - stored[i].value) / error;
    if (!worst.empty() && !(excess > worst_excess)) continue;
    worst_excess = excess;
    worst = formatted("element {} is {}, expected {} +- {}", i, value, stored[i].value, error);
  }
  return worst;
}

std::string check_outputs(const Tensors& outputs, const Arrays& expected) {
  if (outputs.size() != expected.size())
    return formatted("{} outputs, expected {}", outputs.size(), expected.size());
  for (size_t o = 0; o < outputs.size(); ++o)
    if (const std::string problem = compare(outputs[o], expected[o]); !problem.empty())
      return formatted("output {} {}", o, problem);
  return "";
}

bool is_one_of(const Tensor& x, const Tensors& tensors) {
  return std::any_of(tensors.begin(), tensors.end(), [&](const Tensor& t) { return t.raw() == x.raw(); });
}

/// Inputs that are no outputs must be as they were.
std::string check_inputs(const Tensors& inputs, const Arrays& before, const Tensors& outputs) {
  for (size_t i = 0; i < inputs.size(); ++i)
    if (!is_one_of(inputs[i], outputs))
      if (const std::vector<double> now = to_doubles(inputs[i]);
          !std::equal(now.begin(), now.end(), before[i].values.begin(),
                      [](double x, const Bounded& y) { return same(x, y.value, 0); }))
        return formatted("input {} was changed", i);
  return "";
}

std::string check_margins(const Tensors& tensors, const char* what) {
  for (size_t t = 0; t < tensors.size(); ++t)
    if (!margins_are_intact(tensors[t])) return formatted("bytes around {} {} were overwritten", what, t);
  return "";
}

std::string check_run(const OpCase& c, Device device, const Arrays& arrays, const Arrays& expected,
                      bool aligned) {
  const GuardedTensors guard;
  Tensors inputs = upload(arrays, device);
  if (!aligned) std::transform(inputs.begin(), inputs.end(), inputs.begin(), misaligned);
  const Tensors outputs = c.run(inputs);
  std::string problem = check_outputs(outputs, expected);
  if (problem.empty()) problem = check_inputs(inputs, arrays, outputs);
  if (problem.empty() && aligned) problem = check_margins(inputs, "input");
  if (problem.empty() && aligned) problem = check_margins(outputs, "output");
  return problem;
}

/// w . y, summed in double precision, with the sum of the terms' sizes.
struct Projection {
  double value = 0, size = 0;
};
Projection project(const Array& y, const Array* weights) {
  Projection p;
  for (int64_t i = 0; i < y.numel(); ++i) {
    const double term = (weights ? (*weights)[i].value : 1.0) * y[i].value;
    p.value += term;
    p.size += std::abs(term);
  }
  return p;
}

/// The derivative of w . function along `direction` in one input by central differences, D(h) extrapolated
/// with D(h / 2), and a bound of its error.
Bounded directional_derivative(const OpCase& c, const Arrays& arrays, size_t input,
                               const std::vector<double>& direction) {
  const Array* weights = c.gradient.weights < 0 ? nullptr : &arrays[static_cast<size_t>(c.gradient.weights)];
  double size = 0;
  const auto difference = [&](double h) {
    const auto moved = [&](double step) {
      Arrays at = arrays;
      for (int64_t i = 0; i < at[input].numel(); ++i)
        at[input][i].value += step * direction[static_cast<size_t>(i)];
      const Projection p = project(c.gradient.function(at), weights);
      size = std::max(size, p.size);
      return p.value;
    };
    return (moved(h) - moved(-h)) / (2 * h);
  };
  double length = 0;
  for (const Bounded& x : arrays[input].values) length = std::max(length, std::abs(x.value));
  const double h = 1e-6 * (length > 0 ? length : 1);
  const double wide = difference(h), narrow = difference(h / 2);
  // Rounding in double precision: each term of the projection is known to a few hundred units.
  return {(4 * narrow - wide) / 3, std::abs(wide - narrow) + 256 * 0x1p-53 * size / h};
}

}  // namespace

Input normal(Shape shape, DType dtype, float deviation, float mean) {
  return {shape, dtype, [=](int64_t, RandomGenerator& random) { return mean + deviation * random.normal(); }};
}
Input with_nan(Shape shape, DType dtype) {
  return {shape, dtype, [](int64_t i, RandomGenerator& random) {
            const double x = random.normal();
            return i % 11 == 3 ? std::numeric_limits<double>::quiet_NaN() : x;
          }};
}
Input coarse(Shape shape, DType dtype) {
  return {shape, dtype, [](int64_t i, RandomGenerator& random) {
            const double x = (static_cast<double>(random.below(17)) - 8) / 8;
            return x == 0 && i % 2 == 0 ? -0.0 : x;
          }};
}
Input uniform(Shape shape, float low, float high, DType dtype) {
  return {shape, dtype, [=](int64_t, RandomGenerator& random) { return random.uniform(low, high); }};
}
Input below(Shape shape, int64_t n, DType dtype) {
  return {shape, dtype,
          [n](int64_t, RandomGenerator& random) { return random.below(static_cast<uint32_t>(n)); }};
}
Input distinct(int64_t count, int64_t n) {
  check(count <= n, "{} different integers below {}", count, n);
  return {{count}, DType::i32, [=](int64_t i, RandomGenerator&) { return n - 1 - i * (n / count); }};
}
Input constant(Shape shape, double value, DType dtype) {
  return {shape, dtype, [value](int64_t, RandomGenerator&) { return value; }};
}

std::vector<Input> batch_norm_inputs(const Input& x, bool residual) {
  const Shape channels{x.shape[-1]};
  std::vector<Input> in{x,
                        normal(channels),
                        normal(channels),
                        normal(channels),
                        uniform(channels, 0.1f, 4),
                        normal(x.shape, x.dtype)};
  if (residual) in.push_back(normal(x.shape, x.dtype));
  return in;
}

std::string OpCase::name() const {
  std::string text = op + (options.empty() ? "" : " " + options);
  for (const Input& input : inputs) text += formatted(" {}{}", input.dtype, input.shape);
  return text;
}

OpCases all_op_cases() {
  OpCases cases;
  for (const auto add :
       {add_pointwise_cases, add_row_cases, add_dimension_cases, add_convolution_cases, add_pooling_cases,
        add_batch_norm_cases, add_moment_cases, add_table_cases, add_loss_cases, add_optimizer_cases,
        add_image_cases, add_detection_cases, add_part_cases})
    add(cases);
  return cases;
}

std::vector<Device> available_devices() {
  const char* only = std::getenv("LA_TEST_DEVICE");
  std::vector<Device> devices;
  if (only == nullptr || only == std::string("cpu")) devices.push_back(Device::cpu());
  if (only == nullptr ? cuda_problem().empty() : only == std::string("cuda"))
    devices.push_back(Device::cuda());
  return devices;
}

std::string check_on(const OpCase& c, Device device) {
  const Arrays arrays = make_inputs(c), expected = c.reference(arrays);
  for (const auto& [threads, aligned] : {std::pair(2, true), std::pair(3, false)}) {
    const WithThreads scope(threads);
    const std::string problem = check_run(c, device, arrays, expected, aligned);
    if (!problem.empty())
      return formatted("{} on {}, {} threads, {}: {}", c.name(), device, threads,
                       aligned ? "aligned" : "misaligned", problem);
  }
  return "";
}

std::string check_gradient_on(const OpCase& c, Device device) {
  const Arrays arrays = make_inputs(c), expected = c.reference(arrays);
  const Tensors outputs = c.run(upload(arrays, device));
  for (size_t o = 0; o < outputs.size(); ++o) {
    if (c.gradient.inputs.at(o) < 0) continue;
    const std::vector<double> gradient = to_doubles(outputs[o]);
    RandomGenerator random({.seed = 2, .index = o});
    std::vector<double> direction;
    for (size_t i = 0; i < gradient.size(); ++i) direction.push_back(random.below(2) == 0 ? -1 : 1);
    const auto input = static_cast<size_t>(c.gradient.inputs[o]);
    const Bounded slope = directional_derivative(c, arrays, input, direction);
    double got = 0, tolerance = slope.error;
    const Array stored = expected[o].stored(expected[o].dtype);
    for (size_t i = 0; i < gradient.size(); ++i) {
      got += gradient[i] * direction[i];
      tolerance += stored.values[i].error;
    }
    if (!same(got, slope.value, tolerance))
      return formatted("{} on {}: output {} gives a slope of {}, finite differences {} +- {}", c.name(),
                       device, o, got, slope.value, tolerance);
  }
  return "";
}

Timing time_on(const OpCase& c, Device device, int runs) {
  using Clock = std::chrono::steady_clock;
  const Tensors inputs = upload(make_inputs(c), device);
  Timing timing;
  const Tensors outputs = c.run(inputs);
  for (const Tensor& x : inputs) timing.bytes += static_cast<double>(x.bytes());
  for (const Tensor& x : outputs) timing.bytes += static_cast<double>(x.bytes());
  std::vector<double> seconds;
  for (int r = 0; r < runs; ++r) {
    backend(device).synchronize();
    const auto start = Clock::now();
    c.run(inputs);
    backend(device).synchronize();
    seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  std::nth_element(seconds.begin(), seconds.begin() + runs / 2, seconds.end());
  timing.seconds = seconds[static_cast<size_t>(runs / 2)];
  return timing;
}

}  // namespace la
