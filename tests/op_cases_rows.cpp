// Cases of ops on rows and channels, and matrix products.
#include "tensor/format.h"
#include "tensor/ops.h"
#include "tests/op_case.h"

namespace la {
namespace {

constexpr DType float_types[] = {DType::f32, DType::bf16};

OpCase add_bias_case(const Shape& shape, DType dtype) {
  return {.op = "add_bias",
          .inputs = {normal(shape, dtype), normal({shape[-1]})},
          .run = [](const Tensors& in) -> Tensors { return {ops::add_bias(in[0], in[1])}; },
          .reference = [](const Arrays& in) -> Arrays {
            Array y = in[0];
            for (int64_t i = 0; i < y.numel(); ++i) y[i] = y[i] + in[1][i % y.columns()];
            return {y};
          }};
}

OpCase sum_rows_case(const Shape& shape, DType dtype) {
  return {.op = "sum_rows",
          .inputs = {normal(shape, dtype, 1, 10)},
          .run = [](const Tensors& in) -> Tensors { return {ops::sum_rows(in[0])}; },
          .reference = [](const Arrays& in) -> Arrays { return {reference::sum_rows(in[0])}; }};
}

OpCase mean_case(const Shape& shape) {
  return {.op = "mean",
          .inputs = {normal(shape, DType::f32, 3, 1)},
          .run = [](const Tensors& in) -> Tensors { return {ops::mean(in[0])}; },
          .reference = [](const Arrays& in) -> Arrays { return {reference::mean(in[0])}; }};
}

OpCase scale_channels_case(const Shape& shape, DType dtype) {
  return {.op = "scale_channels",
          .inputs = {normal(shape, dtype), normal({shape[0], shape[3]}, dtype)},
          .run = [](const Tensors& in) -> Tensors { return {ops::scale_channels(in[0], in[1])}; },
          .reference = [](const Arrays& in) -> Arrays { return {reference::scale_channels(in[0], in[1])}; }};
}

OpCase sum_product_spatial_case(const Shape& shape, DType dtype) {
  return {
      .op = "sum_product_spatial",
      .inputs = {normal(shape, dtype), normal(shape, dtype), normal({shape[0], shape[3]}, dtype)},
      .run = [](const Tensors& in) -> Tensors { return {ops::sum_product_spatial(in[0], in[1])}; },
      .reference = [](const Arrays& in) -> Arrays { return {reference::sum_product_spatial(in[0], in[1])}; },
      .gradient = {[](const Arrays& in) { return reference::scale_channels(in[1], in[2]); }, {2}}};
}

OpCase l2_normalize_case(const Input& x) {
  return {.op = "l2_normalize",
          .inputs = {x},
          .run = [](const Tensors& in) -> Tensors {
            const Normalized out = ops::l2_normalize(in[0]);
            return {out.y, out.norm};
          },
          .reference = [](const Arrays& in) { return reference::l2_normalize(in[0]); }};
}

OpCase l2_normalize_backward_case(const Input& x) {
  return {.op = "l2_normalize_backward",
          .inputs = {normal(x.shape), x},
          .run = [](const Tensors& in) -> Tensors {
            return {ops::l2_normalize_backward(in[0], ops::l2_normalize(in[1]))};
          },
          .reference = [](const Arrays& in) -> Arrays {
            return {reference::l2_normalize_backward(in[0], in[1])};
          },
          .gradient = {[](const Arrays& in) { return reference::l2_normalize(in[1])[0]; }, {1}}};
}

struct MatmulSizes {
  int64_t rows, depth, columns;
};

/// With beta, the product is added to a matrix (matmul_into).
OpCase matmul_case(const MatmulSizes& s, DType dtype, const MatmulOptions& o) {
  const Shape a = o.transpose_a ? Shape{s.depth, s.rows} : Shape{s.rows, s.depth};
  const Shape b = o.transpose_b ? Shape{s.columns, s.depth} : Shape{s.depth, s.columns};
  const bool into = o.beta != 0;
  return {
      .op = into ? "matmul_into" : "matmul",
      .options = formatted("transpose={}{} alpha={} beta={}", int{o.transpose_a}, int{o.transpose_b}, o.alpha,
                           o.beta),
      .inputs = {normal(a, dtype), normal(b, dtype), normal({s.rows, s.columns}, dtype)},
      .run = [=](const Tensors& in) -> Tensors {
        if (!into) return {ops::matmul(in[0], in[1], o)};
        ops::matmul_into(in[2], in[0], in[1], o);
        return {in[2]};
      },
      .reference = [=](const Arrays& in) -> Arrays { return {reference::matmul(in[0], in[1], o, in[2])}; },
      .operations = 2.0 * static_cast<double>(s.rows * s.depth * s.columns)};
}

void add_matmul_cases(OpCases& cases) {
  const MatmulSizes sizes[] = {{1, 1, 1}, {1, 17, 5}, {7, 3, 1}, {13, 64, 33}, {65, 129, 16}};
  for (DType dtype : float_types)
    for (const MatmulSizes& s : sizes)
      for (bool ta : {false, true})
        for (bool tb : {false, true}) {
          cases.push_back(matmul_case(s, dtype, {.transpose_a = ta, .transpose_b = tb}));
          cases.push_back(
              matmul_case(s, dtype, {.transpose_a = ta, .transpose_b = tb, .alpha = 0.5f, .beta = -2.0f}));
        }
  for (DType dtype : float_types) {  // the product of a batch with the bank
    cases.push_back(matmul_case({128, 128, 60000}, dtype, {.transpose_b = true}));
    cases.back().only_timed = true;
  }
}

}  // namespace

void add_row_cases(OpCases& cases) {
  for (DType dtype : float_types)
    for (int64_t c : {1, 3, 16, 17, 64}) {
      for (const Shape& shape : {Shape{1, c}, Shape{2003, c}, Shape{2, 3, 5, c}}) {
        cases.push_back(add_bias_case(shape, dtype));
        cases.push_back(sum_rows_case(shape, dtype));
      }
      for (const Shape& shape : {Shape{1, 1, 1, c}, Shape{3, 5, 7, c}}) {
        cases.push_back(scale_channels_case(shape, dtype));
        cases.push_back(sum_product_spatial_case(shape, dtype));
      }
    }
  for (const Shape& shape : {Shape{1}, Shape{5, 7}, Shape{100003}}) cases.push_back(mean_case(shape));
  for (const Shape& shape : {Shape{1, 1}, Shape{1, 17}, Shape{37, 128}, Shape{5, 3}})
    for (const Input& x :
         {normal(shape), normal(shape, DType::f32, 1e8f), normal(shape, DType::f32, 1e-8f)}) {
      cases.push_back(l2_normalize_case(x));
      cases.push_back(l2_normalize_backward_case(x));
    }
  for (const Input& x : {constant({3, 16}, 0), with_nan({4, 7})}) {
    cases.push_back(l2_normalize_case(x));
    cases.push_back(l2_normalize_backward_case(x));
    cases.back().gradient = {};  // where x is zero there is none
  }
  add_matmul_cases(cases);
}

}  // namespace la
