// An op case says, for one op with one choice of shapes and options, what its inputs are, how it is called
// and what it should give. That is enough to compare it on every device with a reference, to check margins
// around its outputs, to check a gradient against finite differences, and to time it. To test a new op, add a
// case to one of the op_cases_*.cpp files, and its reference to reference.h unless it is a formula.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tensor/random.h"
#include "tensor/tensor.h"
#include "tests/reference.h"

namespace la {

using Tensors = std::vector<Tensor>;

/// One input: element i of it is element(i, random) rounded to the type.
struct Input {
  Shape shape;
  DType dtype = DType::f32;
  std::function<double(int64_t i, RandomGenerator& random)> element;
};
/// Normally distributed with that standard deviation around that mean.
Input normal(Shape shape, DType dtype = DType::f32, float deviation = 1, float mean = 0);
/// Multiples of 1/8 in [-1, 1]: many equal values, zeros of both signs, and exact sums of products.
Input coarse(Shape shape, DType dtype = DType::f32);
/// The same, with a NaN here and there, which must show in every result that depends on it.
Input with_nan(Shape shape, DType dtype = DType::f32);
Input uniform(Shape shape, float low, float high, DType dtype = DType::f32);
/// Integers below n.
Input below(Shape shape, int64_t n, DType dtype = DType::i32);
/// `count` different integers below n, i32, not in order.
Input distinct(int64_t count, int64_t n);
Input constant(Shape shape, double value, DType dtype = DType::f32);
/// Those of batch norm: x, weight, bias, running mean, running variance, dy, and the residual.
std::vector<Input> batch_norm_inputs(const Input& x, bool residual);

/// How outputs of an op are the gradients of another function.
struct Gradient {
  /// The function, of all inputs of the case.
  std::function<Array(const Arrays&)> function;
  /// For each output o of the case, the input with respect to which it is the gradient; -1:
  /// it is no gradient.
  std::vector<int> inputs;
  /// The input w in d(w . function) / d(input); -1: all ones.
  int weights = 0;
};

struct OpCase {
  std::string op;            // its name in tensor/ops.h
  std::string options = {};  // what is not seen in the shapes and types of the inputs
  std::vector<Input> inputs;
  std::function<Tensors(const Tensors&)> run = {};  // calls the op; what it writes in place is an output too
  std::function<Arrays(const Arrays&)> reference = {};  // what `run` should give, with bounds of the error
  Gradient gradient = {};                               // for backward ops; checked where all inputs are f32
  double operations = 0;                                // floating-point operations of one run, for timing
  bool only_timed = false;                              // too large for the reference

  /// "conv2d stride=2 f32[2, 5, 5, 3] ...".
  std::string name() const;
};

using OpCases = std::vector<OpCase>;

void add_pointwise_cases(OpCases& cases);
void add_row_cases(OpCases& cases);
void add_dimension_cases(OpCases& cases);
void add_convolution_cases(OpCases& cases);
void add_pooling_cases(OpCases& cases);
void add_batch_norm_cases(OpCases& cases);
void add_moment_cases(OpCases& cases);
void add_table_cases(OpCases& cases);
void add_loss_cases(OpCases& cases);
void add_optimizer_cases(OpCases& cases);
void add_image_cases(OpCases& cases);
void add_detection_cases(OpCases& cases);
void add_part_cases(OpCases& cases);
OpCases all_op_cases();

/// The devices of this build and machine; LA_TEST_DEVICE=cpu or cuda in the environment leaves one of them.
std::vector<Device> available_devices();

/// Runs the case on a device with two and with three threads, the second time with inputs that are aligned to
/// their type only. Returns an empty string, or what is wrong: an output of another shape or type or beyond
/// its bound, a byte written outside of an output, or an input changed.
std::string check_on(const OpCase& c, Device device);
/// Checks the gradients of a case on a device against finite differences of the reference, in
/// double precision.
std::string check_gradient_on(const OpCase& c, Device device);

/// Seconds of one run, the median of `runs`, and the bytes of its inputs and outputs.
struct Timing {
  double seconds = 0;
  double bytes = 0;
};
Timing time_on(const OpCase& c, Device device, int runs);

}  // namespace la
