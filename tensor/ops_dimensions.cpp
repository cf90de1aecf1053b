// The ops on one dimension, and the normalizations of rows: checks, outputs, calls. The backends see three
// dimensions, [outer, n, inner], of which an op takes the one in the middle.
#include "tensor/backend.h"
#include "tensor/ops.h"
#include "tensor/ops_checks.h"

namespace la::ops {
namespace {

/// The number of a dimension among `rank`, of which negative ones count from the last.
int dimension_of(const char* op, int dimension, int rank, const Shape& shape) {
  check(-rank <= dimension && dimension < rank,
        "{}: dimension {} with a tensor of shape {}, expected {} to {}", op, dimension, shape, -rank,
        rank - 1);
  return dimension < 0 ? dimension + rank : dimension;
}

/// A shape as an op on one of its dimensions sees it.
struct Around {
  int64_t outer = 1, n = 1, inner = 1;
  Shape without;

  Around(const char* op, const Shape& shape, int dimension) {
    const int at = dimension_of(op, dimension, shape.rank(), shape);
    for (int d = 0; d < shape.rank(); ++d) {
      (d < at ? outer : d == at ? n : inner) *= shape[d];
      if (d != at) without.append(shape[d]);
    }
    if (without.rank() == 0) without.append(1);
  }
  Shape whole() const { return {outer, n, inner}; }
  Shape rest() const { return {outer, inner}; }
};

/// The shape with another extent, or one more, at a dimension.
Shape with_extent(const Shape& shape, int at, int64_t extent, bool insert) {
  Shape result;
  for (int d = 0; d < shape.rank(); ++d) {
    if (d == at) result.append(extent);
    if (d != at || insert) result.append(shape[d]);
  }
  if (at == shape.rank()) result.append(extent);
  return result;
}

/// factor * the sum over a dimension.
Tensor scaled_sum(const Tensor& x, const Around& around, float factor) {
  if (around.outer == 1) {  // the columns of a matrix: few sums, of which each is shared out
    const Tensor sums = sum_rows(x.reshape({around.n, around.inner}));
    return cast(factor == 1.0f ? sums : scale(sums, factor), x.dtype()).reshape(around.without);
  }
  const Tensor y(around.without, x.dtype(), x.device());
  backend(x.device()).sum_dimension(x.reshape(around.whole()), factor, y.reshape(around.rest()));
  return y;
}

/// Indices into a dimension of `shape`, one for each place without it.
Around around_indices(const char* op, const Shape& shape, int dimension, const Tensor& indices,
                      const Tensor& operand) {
  const Around around(op, shape, dimension);
  check_dtype(op, "the indices", indices, DType::i32);
  check_shape(op, "the indices", indices, around.without);
  check_same_device(op, operand, indices);
  return around;
}

/// The rows of x [..., C].
Tensor as_rows(const Tensor& x) {
  return x.reshape({x.numel() / std::max<int64_t>(x.size(-1), 1), x.size(-1)});
}

void check_rows(const char* op, const Tensor& x) {
  check_float(op, "x", x);
  check(x.rank() >= 1, "{}: x is a scalar, expected [..., C]", op);
}

Tensor softmax_of(const char* op, const Tensor& x, bool logarithm) {
  check_rows(op, x);
  const Tensor y(x.shape(), x.dtype(), x.device());
  backend(x.device()).softmax(as_rows(x), logarithm, as_rows(y));
  return y;
}

Tensor softmax_gradient(const char* op, const Tensor& dy, const Tensor& y, bool logarithm) {
  check_rows(op, dy);
  check_alike(op, dy, y);
  const Tensor dx(y.shape(), y.dtype(), y.device());
  backend(y.device()).softmax_backward(as_rows(dy), as_rows(y), logarithm, as_rows(dx));
  return dx;
}

}  // namespace

Tensor sum(const Tensor& x) {
  check_float("sum", "x", x);
  return sum_rows(x.reshape({x.numel(), 1}));
}

Tensor sum(const Tensor& x, int dimension) {
  check_float("sum", "x", x);
  return scaled_sum(x, Around("sum", x.shape(), dimension), 1.0f);
}

Tensor mean(const Tensor& x, int dimension) {
  check_float("mean", "x", x);
  const Around around("mean", x.shape(), dimension);
  check(around.n > 0, "mean: dimension {} of a tensor of shape {} has no elements", dimension, x.shape());
  return scaled_sum(x, around, 1.0f / static_cast<float>(around.n));
}

Maximum max(const Tensor& x, int dimension) {
  check_float("max", "x", x);
  const Around around("max", x.shape(), dimension);
  check(around.n > 0 && around.n <= INT32_MAX,
        "max: dimension {} of a tensor of shape {}, expected an extent of 1 to 2^31 - 1", dimension,
        x.shape());
  const Maximum out{Tensor(around.without, x.dtype(), x.device()),
                    Tensor(around.without, DType::i32, x.device())};
  backend(x.device())
      .max_dimension(x.reshape(around.whole()),
                     {out.values.reshape(around.rest()), out.indices.reshape(around.rest())});
  return out;
}

Tensor broadcast(const Tensor& x, int dimension, int64_t n) {
  check_float("broadcast", "x", x);
  check(n >= 0, "broadcast: {} times, expected a number from 0 on", n);
  const int at = dimension_of("broadcast", dimension, x.rank() + 1, x.shape());
  const Tensor y(with_extent(x.shape(), at, n, true), x.dtype(), x.device());
  const Around around("broadcast", y.shape(), at);
  backend(x.device()).broadcast(x.reshape(around.rest()), y.reshape(around.whole()));
  return y;
}

Tensor pick(const Tensor& x, int dimension, const Tensor& indices) {
  check_float("pick", "x", x);
  const Around around = around_indices("pick", x.shape(), dimension, indices, x);
  const Tensor y(around.without, x.dtype(), x.device());
  backend(x.device())
      .pick(x.reshape(around.whole()), indices.reshape(around.rest()), y.reshape(around.rest()));
  return y;
}

Tensor pick_backward(const Tensor& dy, int dimension, const Tensor& indices, const Shape& x_shape) {
  check_float("pick_backward", "dy", dy);
  const Around around = around_indices("pick_backward", x_shape, dimension, indices, dy);
  check_shape("pick_backward", "dy", dy, around.without);
  const Tensor dx(x_shape, dy.dtype(), dy.device());
  backend(dy.device())
      .pick_backward(dy.reshape(around.rest()), indices.reshape(around.rest()), dx.reshape(around.whole()));
  return dx;
}

Tensor concatenate(std::span<const Tensor> parts, int dimension) {
  constexpr const char* op = "concatenate";
  check(!parts.empty(), "{}: there are no tensors", op);
  const Tensor& first = parts.front();
  const int at = dimension_of(op, dimension, first.rank(), first.shape());
  int64_t extent = 0;
  for (const Tensor& part : parts) {
    check_dtype(op, "a tensor", part, first.dtype());
    check_same_device(op, first, part);
    check(part.rank() == first.rank() &&
              with_extent(part.shape(), at, 0, false) == with_extent(first.shape(), at, 0, false),
          "{}: along dimension {}, tensors of shapes {} and {}, expected equal other extents", op, dimension,
          first.shape(), part.shape());
    extent += part.size(at);
  }
  const Tensor y(with_extent(first.shape(), at, extent, false), first.dtype(), first.device());
  const Around whole(op, y.shape(), at);
  const Tensor rows = y.reshape({whole.outer, whole.n * whole.inner});
  int64_t column = 0;
  for (const Tensor& part : parts) {
    const int64_t columns = part.size(at) * whole.inner;
    backend(y.device()).copy_columns(part.reshape({whole.outer, columns}), 0, columns, rows, column);
    column += columns;
  }
  return y;
}

Tensor slice(const Tensor& x, int dimension, int64_t begin, int64_t end) {
  check(x.defined(), "slice: x is undefined");
  const int at = dimension_of("slice", dimension, x.rank(), x.shape());
  check(0 <= begin && begin <= end && end <= x.size(at),
        "slice: elements {} to {} along dimension {} of a tensor of shape {}", begin, end, dimension,
        x.shape());
  const Tensor y(with_extent(x.shape(), at, end - begin, false), x.dtype(), x.device());
  const Around around("slice", x.shape(), at);
  const int64_t columns = (end - begin) * around.inner;
  backend(x.device())
      .copy_columns(x.reshape({around.outer, around.n * around.inner}), begin * around.inner, columns,
                    y.reshape({around.outer, columns}), 0);
  return y;
}

Tensor transpose(const Tensor& x) {
  check_float("transpose", "x", x);
  check_rank("transpose", "x", x, 2);
  const Tensor y({x.size(1), x.size(0)}, x.dtype(), x.device());
  backend(x.device()).transpose(x, y);
  return y;
}

Tensor softmax(const Tensor& x) { return softmax_of("softmax", x, false); }
Tensor log_softmax(const Tensor& x) { return softmax_of("log_softmax", x, true); }
Tensor softmax_backward(const Tensor& dy, const Tensor& y) {
  return softmax_gradient("softmax_backward", dy, y, false);
}
Tensor log_softmax_backward(const Tensor& dy, const Tensor& y) {
  return softmax_gradient("log_softmax_backward", dy, y, true);
}

LayerNormResult layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, float epsilon) {
  check_rows("layer_norm", x);
  check(x.size(-1) > 0, "layer_norm: x has shape {} and no columns", x.shape());
  check_channels("layer_norm", "the weight", weight, x.size(-1));
  check_channels("layer_norm", "the bias", bias, x.size(-1));
  check_same_device("layer_norm", x, weight);
  check_same_device("layer_norm", x, bias);
  const Tensor rows = as_rows(x);
  const LayerNormResult out{Tensor(x.shape(), x.dtype(), x.device()),
                            Tensor({rows.size(0)}, DType::f32, x.device()),
                            Tensor({rows.size(0)}, DType::f32, x.device())};
  backend(x.device()).layer_norm(rows, weight, bias, epsilon, {as_rows(out.y), out.mean, out.inverse_std});
  return out;
}

LayerNormGradients layer_norm_backward(const Tensor& dy, const Tensor& x, const LayerNormResult& forward,
                                       const Tensor& weight) {
  check_rows("layer_norm_backward", x);
  check_alike("layer_norm_backward", dy, x);
  check_channels("layer_norm_backward", "the weight", weight, x.size(-1));
  check_same_device("layer_norm_backward", x, weight);
  const LayerNormGradients out{Tensor(x.shape(), x.dtype(), x.device()),
                               Tensor(weight.shape(), DType::f32, x.device()),
                               Tensor(weight.shape(), DType::f32, x.device())};
  backend(x.device())
      .layer_norm_backward(as_rows(dy), as_rows(x), forward, weight,
                           {as_rows(out.dx), out.dweight, out.dbias});
  return out;
}

}  // namespace la::ops
