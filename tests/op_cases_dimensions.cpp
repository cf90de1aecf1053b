// Cases of the ops on one dimension, of softmax and of layer normalization.
#include "tensor/format.h"
#include "tensor/ops.h"
#include "tests/op_case.h"

namespace la {
namespace {

constexpr DType float_types[] = {DType::f32, DType::bf16};

Shape without(const Shape& shape, int dimension) {
  Shape result;
  for (int d = 0; d < shape.rank(); ++d)
    if (d != (dimension + shape.rank()) % shape.rank()) result.append(shape[d]);
  if (result.rank() == 0) result.append(1);
  return result;
}

std::string of(int dimension) { return formatted("dimension={}", dimension); }

OpCase sum_case(const Input& x, int dimension) {
  return {.op = "sum",
          .options = of(dimension),
          .inputs = {x},
          .run = [=](const Tensors& in) -> Tensors { return {ops::sum(in[0], dimension)}; },
          .reference = [=](const Arrays& in) -> Arrays { return {reference::sum(in[0], dimension)}; }};
}

OpCase sum_all_case(const Input& x) {
  return {.op = "sum",
          .inputs = {x},
          .run = [](const Tensors& in) -> Tensors { return {ops::sum(in[0])}; },
          .reference = [](const Arrays& in) -> Arrays {
            Array column({in[0].numel(), 1});
            column.values = in[0].values;
            return {reference::sum_rows(column)};
          }};
}

OpCase mean_case(const Input& x, int dimension) {
  return {.op = "mean",
          .options = of(dimension),
          .inputs = {x},
          .run = [=](const Tensors& in) -> Tensors { return {ops::mean(in[0], dimension)}; },
          .reference = [=](const Arrays& in) -> Arrays { return {reference::mean(in[0], dimension)}; }};
}

OpCase max_case(const Input& x, int dimension) {
  return {.op = "max",
          .options = of(dimension),
          .inputs = {x},
          .run = [=](const Tensors& in) -> Tensors {
            const Maximum out = ops::max(in[0], dimension);
            return {out.values, out.indices};
          },
          .reference = [=](const Arrays& in) { return reference::max(in[0], dimension); }};
}

/// As the gradient of the sum over a dimension of x.
OpCase broadcast_case(const Shape& x, DType dtype, int dimension) {
  const int64_t n = x[dimension];
  const Shape rest = x.rank() == 1 ? Shape{} : without(x, dimension);
  return {
      .op = "broadcast",
      .options = of(dimension) + formatted(" n={}", n),
      .inputs = {normal(rest, dtype), normal(x, dtype)},
      .run = [=](const Tensors& in) -> Tensors { return {ops::broadcast(in[0], dimension, n)}; },
      .reference = [=](const Arrays& in) -> Arrays { return {reference::broadcast(in[0], dimension, n)}; },
      .gradient = {[=](const Arrays& in) { return reference::sum(in[1], dimension); }, {1}}};
}

OpCase pick_case(const Shape& x, DType dtype, int dimension) {
  return {
      .op = "pick",
      .options = of(dimension),
      .inputs = {normal(x, dtype), below(without(x, dimension), x[dimension])},
      .run = [=](const Tensors& in) -> Tensors { return {ops::pick(in[0], dimension, in[1])}; },
      .reference = [=](const Arrays& in) -> Arrays { return {reference::pick(in[0], dimension, in[1])}; }};
}

OpCase pick_backward_case(const Shape& x, DType dtype, int dimension) {
  const Shape rest = without(x, dimension);
  return {
      .op = "pick_backward",
      .options = of(dimension),
      .inputs = {normal(rest, dtype), below(rest, x[dimension]), normal(x, dtype)},
      .run = [=](const Tensors& in) -> Tensors { return {ops::pick_backward(in[0], dimension, in[1], x)}; },
      .reference = [=](const Arrays& in) -> Arrays {
        return {reference::pick_backward(in[0], dimension, in[1], x)};
      },
      .gradient = {[=](const Arrays& in) { return reference::pick(in[2], dimension, in[1]); }, {2}}};
}

OpCase concatenate_case(const std::vector<Shape>& shapes, DType dtype, int dimension) {
  OpCase c{.op = "concatenate", .options = of(dimension), .inputs = {}};
  for (const Shape& shape : shapes) c.inputs.push_back(below(shape, 100, dtype));
  c.run = [=](const Tensors& in) -> Tensors { return {ops::concatenate(in, dimension)}; };
  c.reference = [=](const Arrays& in) -> Arrays { return {reference::concatenate(in, dimension)}; };
  return c;
}

OpCase slice_case(const Shape& x, DType dtype, int dimension, int64_t begin, int64_t end) {
  return {.op = "slice",
          .options = of(dimension) + formatted(" begin={} end={}", begin, end),
          .inputs = {below(x, 100, dtype)},
          .run = [=](const Tensors& in) -> Tensors { return {ops::slice(in[0], dimension, begin, end)}; },
          .reference = [=](const Arrays& in) -> Arrays {
            return {reference::slice(in[0], dimension, begin, end)};
          }};
}

OpCase transpose_case(const Shape& x, DType dtype) {
  return {.op = "transpose",
          .inputs = {normal(x, dtype)},
          .run = [](const Tensors& in) -> Tensors { return {ops::transpose(in[0])}; },
          .reference = [](const Arrays& in) -> Arrays { return {reference::transpose(in[0])}; }};
}

// ---- Rows -------------------------------------------------------------------------------------------------

/// A function of the rows of an array; its gradient takes that of the result, and the result.
using OfRows = Array (*)(const Array&);
using Backward = Array (*)(const Array& dy, const Array& y);

OpCase softmax_case(const char* op, const Input& x, Tensor (*run)(const Tensor&), OfRows formula) {
  return {.op = op,
          .inputs = {x},
          .run = [=](const Tensors& in) -> Tensors { return {run(in[0])}; },
          .reference = [=](const Arrays& in) -> Arrays { return {formula(in[0])}; }};
}

OpCase softmax_backward_case(const char* op, const Input& x, Tensor (*run)(const Tensor&, const Tensor&),
                             Tensor (*forward)(const Tensor&), Backward formula, OfRows function) {
  return {.op = op,
          .inputs = {normal(x.shape, x.dtype), x},
          .run = [=](const Tensors& in) -> Tensors { return {run(in[0], forward(in[1]))}; },
          .reference = [=](const Arrays& in) -> Arrays {
            return {formula(in[0], function(in[1]).stored(in[1].dtype))};
          },
          .gradient = {[=](const Arrays& in) { return function(in[1]); }, {1}}};
}

constexpr float epsilon = 1e-5f;

OpCase layer_norm_case(const Input& x) {
  const Shape columns{x.shape[-1]};
  return {.op = "layer_norm",
          .inputs = {x, normal(columns), normal(columns)},
          .run = [](const Tensors& in) -> Tensors {
            const LayerNormResult out = ops::layer_norm(in[0], in[1], in[2], epsilon);
            return {out.y, out.mean, out.inverse_std};
          },
          .reference = [](const Arrays& in) { return reference::layer_norm(in[0], in[1], in[2], epsilon); }};
}

OpCase layer_norm_backward_case(const Input& x) {
  const Shape columns{x.shape[-1]};
  return {
      .op = "layer_norm_backward",
      .inputs = {normal(x.shape, x.dtype), x, normal(columns), normal(columns)},
      .run = [](const Tensors& in) -> Tensors {
        const LayerNormResult forward = ops::layer_norm(in[1], in[2], in[3], epsilon);
        const LayerNormGradients out = ops::layer_norm_backward(in[0], in[1], forward, in[2]);
        return {out.dx, out.dweight, out.dbias};
      },
      .reference =
          [](const Arrays& in) { return reference::layer_norm_backward(in[0], in[1], in[2], epsilon); },
      .gradient = {[](const Arrays& in) { return reference::layer_norm(in[1], in[2], in[3], epsilon)[0]; },
                   {1, 2, 3}}};
}

void add_cases_of_rows(const Input& x, OpCases& cases) {
  cases.push_back(softmax_case("softmax", x, ops::softmax, reference::softmax));
  cases.push_back(softmax_case("log_softmax", x, ops::log_softmax, reference::log_softmax));
  cases.push_back(softmax_backward_case("softmax_backward", x, ops::softmax_backward, ops::softmax,
                                        reference::softmax_backward, reference::softmax));
  cases.push_back(softmax_backward_case("log_softmax_backward", x, ops::log_softmax_backward,
                                        ops::log_softmax, reference::log_softmax_backward,
                                        reference::log_softmax));
  cases.push_back(layer_norm_case(x));
  cases.push_back(layer_norm_backward_case(x));
}

/// Every dimension of a shape, counted from the front and from the back by turns.
void add_cases_of_dimensions(const Shape& shape, DType dtype, OpCases& cases) {
  for (int d = 0; d < shape.rank(); ++d) {
    const int dimension = d % 2 == 0 ? d : d - shape.rank();
    cases.push_back(sum_case(normal(shape, dtype, 1, 10), dimension));
    cases.push_back(mean_case(normal(shape, dtype, 1, 10), dimension));
    cases.push_back(max_case(normal(shape, dtype), dimension));
    cases.push_back(max_case(coarse(shape, dtype), dimension));
    cases.push_back(max_case(with_nan(shape, dtype), dimension));
    cases.push_back(broadcast_case(shape, dtype, dimension));
    cases.push_back(pick_case(shape, dtype, dimension));
    cases.push_back(pick_backward_case(shape, dtype, dimension));
  }
}

}  // namespace

void add_dimension_cases(OpCases& cases) {
  for (DType dtype : float_types) {
    for (const Shape& shape : {Shape{1}, Shape{7}, Shape{5, 3}, Shape{40, 64}, Shape{3, 8, 16},
                               Shape{2, 3, 1, 5}, Shape{2, 3, 2, 2, 3, 2}, Shape{3, 2056}, Shape{2, 2051}})
      add_cases_of_dimensions(shape, dtype, cases);
    cases.push_back(sum_case(with_nan({4, 5}, dtype), 1));
    for (const Shape& empty : {Shape{0, 3}, Shape{3, 0}})
      for (int d : {0, 1}) cases.push_back(sum_case(normal(empty, dtype), d));
    for (const Shape& shape : {Shape{1}, Shape{5, 7}, Shape{2, 3, 4, 5}, Shape{10007}, Shape{0}})
      cases.push_back(sum_all_case(normal(shape, dtype, 1, 1)));
    for (const Shape& shape : {Shape{1, 1}, Shape{3, 70}, Shape{64, 32}, Shape{33, 31}, Shape{0, 5}})
      cases.push_back(transpose_case(shape, dtype));
    for (const Shape& shape :
         {Shape{1, 1}, Shape{9}, Shape{3, 2, 5}, Shape{37, 64}, Shape{2, 2051}, Shape{2, 2056}})
      for (const Input& x : {normal(shape, dtype), normal(shape, dtype, 10, 3)}) add_cases_of_rows(x, cases);
    for (const char* op : {"softmax", "log_softmax"}) {
      const bool log = op == std::string("log_softmax");
      cases.push_back(softmax_case(op, with_nan({3, 7}, dtype), log ? ops::log_softmax : ops::softmax,
                                   log ? reference::log_softmax : reference::softmax));
    }
    cases.push_back(layer_norm_case(constant({3, 8}, 2, dtype)));
    cases.push_back(layer_norm_case(with_nan({3, 7}, dtype)));
  }
  for (DType dtype : {DType::f32, DType::bf16, DType::i32, DType::i64, DType::u8}) {
    cases.push_back(concatenate_case({{3}}, dtype, 0));
    cases.push_back(concatenate_case({{3}, {5}, {0}, {1}}, dtype, -1));
    cases.push_back(concatenate_case({{2, 3, 4}, {2, 1, 4}}, dtype, 1));
    cases.push_back(concatenate_case({{2, 3, 16}, {2, 3, 32}}, dtype, 2));
    cases.push_back(concatenate_case({{2, 3, 2}, {4, 3, 2}}, dtype, 0));
    cases.push_back(slice_case({9}, dtype, 0, 2, 7));
    cases.push_back(slice_case({4, 3, 16}, dtype, 1, 1, 3));
    cases.push_back(slice_case({4, 3, 48}, dtype, -1, 16, 48));
    cases.push_back(slice_case({4, 3, 5}, dtype, 2, 3, 4));
    cases.push_back(slice_case({4, 3, 5}, dtype, 0, 2, 2));
  }
}

}  // namespace la
