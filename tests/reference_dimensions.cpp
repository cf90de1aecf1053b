// Reference loops of the ops on one dimension and on rows. Elements are found by their coordinates.
#include "tests/reference.h"

namespace la::reference {
namespace {

using Coordinates = std::vector<int64_t>;

Coordinates coordinates_of(const Shape& shape, int64_t i) {
  Coordinates at(static_cast<size_t>(shape.rank()));
  for (int d = shape.rank() - 1; d >= 0; --d) {
    at[static_cast<size_t>(d)] = i % shape[d];
    i /= shape[d];
  }
  return at;
}

int64_t offset_of(const Shape& shape, const Coordinates& at) {
  int64_t offset = 0;
  for (int d = 0; d < shape.rank(); ++d) offset = offset * shape[d] + at[static_cast<size_t>(d)];
  return offset;
}

size_t counted(int dimension, const Shape& shape) {
  return static_cast<size_t>(dimension < 0 ? dimension + shape.rank() : dimension);
}

Shape without(const Shape& shape, size_t dimension) {
  Shape result;
  for (int d = 0; d < shape.rank(); ++d)
    if (static_cast<size_t>(d) != dimension) result.append(shape[d]);
  if (result.rank() == 0) result.append(1);
  return result;
}

/// Calls f(i, place without the dimension, coordinate along it) for each element i of that shape.
template <class F>
void for_each_element(const Shape& shape, int dimension, F f) {
  const size_t d = counted(dimension, shape);
  const Shape rest = without(shape, d);
  for (int64_t i = 0; i < shape.numel(); ++i) {
    Coordinates at = coordinates_of(shape, i);
    const int64_t along = at[d];
    if (shape.rank() > 1)
      at.erase(at.begin() + static_cast<std::ptrdiff_t>(d));
    else
      at[0] = 0;
    f(i, offset_of(rest, at), along);
  }
}

}  // namespace

Array sum(const Array& x, int dimension) {
  Array y(without(x.shape, counted(dimension, x.shape)), x.dtype);
  std::vector<Sum> sums(y.values.size());
  for_each_element(x.shape, dimension,
                   [&](int64_t i, int64_t rest, int64_t) { sums[static_cast<size_t>(rest)].add(x[i]); });
  for (int64_t i = 0; i < y.numel(); ++i) y[i] = sums[static_cast<size_t>(i)].total();
  return y;
}

Array mean(const Array& x, int dimension) {
  const Bounded count(static_cast<double>(x.shape[static_cast<int>(counted(dimension, x.shape))]));
  return map(sum(x, dimension), [=](const Bounded& total) { return total / count; });
}

Arrays max(const Array& x, int dimension) {
  Array values(without(x.shape, counted(dimension, x.shape)), x.dtype), indices(values.shape, DType::i32);
  for (Bounded& index : indices.values) index = -1;
  for_each_element(x.shape, dimension, [&](int64_t i, int64_t rest, int64_t along) {
    const double best = values[rest].value, next = x[i].value;
    if (indices[rest].value >= 0 && !(next > best) && !(std::isnan(next) && !std::isnan(best))) return;
    values[rest] = x[i];
    indices[rest] = static_cast<double>(along);
  });
  return {values, indices};
}

Array broadcast(const Array& x, int dimension, int64_t n) {
  Shape shape;
  const int at = dimension < 0 ? dimension + x.shape.rank() + 1 : dimension;
  for (int d = 0; d <= x.shape.rank(); ++d) shape.append(d < at ? x.shape[d] : d == at ? n : x.shape[d - 1]);
  Array y(shape, x.dtype);
  for_each_element(shape, at, [&](int64_t i, int64_t rest, int64_t) { y[i] = x[rest]; });
  return y;
}

Array pick(const Array& x, int dimension, const Array& indices) {
  Array y(indices.shape, x.dtype);
  for_each_element(x.shape, dimension, [&](int64_t i, int64_t rest, int64_t along) {
    if (along == indices.index(rest)) y[rest] = x[i];
  });
  return y;
}

Array pick_backward(const Array& dy, int dimension, const Array& indices, const Shape& x_shape) {
  Array dx(x_shape, dy.dtype);
  for_each_element(x_shape, dimension, [&](int64_t i, int64_t rest, int64_t along) {
    if (along == indices.index(rest)) dx[i] = dy[rest];
  });
  return dx;
}

Array concatenate(const Arrays& parts, int dimension) {
  const size_t at = counted(dimension, parts[0].shape);
  Shape shape;
  for (size_t d = 0; d < static_cast<size_t>(parts[0].shape.rank()); ++d) {
    int64_t extent = 0;
    for (const Array& part : parts) extent += part.shape[static_cast<int>(d)];
    shape.append(d == at ? extent : parts[0].shape[static_cast<int>(d)]);
  }
  Array y(shape, parts[0].dtype);
  int64_t begin = 0;
  for (const Array& part : parts) {
    for (int64_t i = 0; i < part.numel(); ++i) {
      Coordinates place = coordinates_of(part.shape, i);
      place[at] += begin;
      y[offset_of(shape, place)] = part[i];
    }
    begin += part.shape[static_cast<int>(at)];
  }
  return y;
}

Array slice(const Array& x, int dimension, int64_t begin, int64_t end) {
  const size_t at = counted(dimension, x.shape);
  Shape shape;
  for (size_t d = 0; d < static_cast<size_t>(x.shape.rank()); ++d)
    shape.append(d == at ? end - begin : x.shape[static_cast<int>(d)]);
  Array y(shape, x.dtype);
  for (int64_t i = 0; i < y.numel(); ++i) {
    Coordinates place = coordinates_of(shape, i);
    place[at] += begin;
    y[i] = x[offset_of(x.shape, place)];
  }
  return y;
}

Array transpose(const Array& x) {
  Array y({x.size(1), x.size(0)}, x.dtype);
  for (int64_t r = 0; r < x.size(0); ++r)
    for (int64_t c = 0; c < x.size(1); ++c) y.at(c, r) = x.at(r, c);
  return y;
}

Array softmax_backward(const Array& dy, const Array& y) {
  Array dx(y.shape, y.dtype);
  for (int64_t r = 0; r < y.rows(); ++r) {
    Sum along;
    for (int64_t c = 0; c < y.columns(); ++c) along.add(dy.at(r, c) * y.at(r, c));
    for (int64_t c = 0; c < y.columns(); ++c) dx.at(r, c) = y.at(r, c) * (dy.at(r, c) - along.total());
  }
  return dx;
}

Array log_softmax_backward(const Array& dy, const Array& y) {
  Array dx(y.shape, y.dtype);
  for (int64_t r = 0; r < y.rows(); ++r) {
    Sum total;
    for (int64_t c = 0; c < y.columns(); ++c) total.add(dy.at(r, c));
    for (int64_t c = 0; c < y.columns(); ++c) dx.at(r, c) = dy.at(r, c) - exp(y.at(r, c)) * total.total();
  }
  return dx;
}

Arrays layer_norm(const Array& x, const Array& weight, const Array& bias, float epsilon) {
  Array y(x.shape, x.dtype), mean({x.rows()}), inverse_std({x.rows()});
  const Bounded count(static_cast<double>(x.columns()));
  for (int64_t r = 0; r < x.rows(); ++r) {
    Sum sum, squares;
    for (int64_t c = 0; c < x.columns(); ++c) sum.add(x.at(r, c));
    mean[r] = sum.total() / count;
    for (int64_t c = 0; c < x.columns(); ++c) {
      const Bounded deviation = x.at(r, c) - mean[r];
      squares.add(deviation * deviation);
    }
    inverse_std[r] = Bounded(1) / sqrt(squares.total() / count + Bounded(epsilon));
    for (int64_t c = 0; c < x.columns(); ++c)
      y.at(r, c) = (x.at(r, c) - mean[r]) * inverse_std[r] * weight[c] + bias[c];
  }
  return {y, mean, inverse_std};
}

Arrays layer_norm_backward(const Array& dy, const Array& x, const Array& weight, float epsilon) {
  const Arrays forward = layer_norm(x, weight, Array(weight.shape), epsilon);
  const Array mean = forward[1].stored(DType::f32), inverse_std = forward[2].stored(DType::f32);
  const Bounded count(static_cast<double>(x.columns()));
  Array dx(x.shape, x.dtype), dweight(weight.shape), dbias(weight.shape);
  std::vector<Sum> weights(weight.values.size()), biases(weight.values.size());
  for (int64_t r = 0; r < x.rows(); ++r) {
    Array normalized({x.columns()}), g({x.columns()});
    Sum level, along;
    for (int64_t c = 0; c < x.columns(); ++c) {
      normalized[c] = (x.at(r, c) - mean[r]) * inverse_std[r];
      g[c] = dy.at(r, c) * weight[c];
      level.add(g[c]);
      along.add(g[c] * normalized[c]);
      weights[static_cast<size_t>(c)].add(dy.at(r, c) * normalized[c]);
      biases[static_cast<size_t>(c)].add(dy.at(r, c));
    }
    for (int64_t c = 0; c < x.columns(); ++c)
      dx.at(r, c) = inverse_std[r] * (g[c] - level.total() / count - normalized[c] * (along.total() / count));
  }
  for (int64_t c = 0; c < weight.numel(); ++c) {
    dweight[c] = weights[static_cast<size_t>(c)].total();
    dbias[c] = biases[static_cast<size_t>(c)].total();
  }
  return {dx, dweight, dbias};
}

}  // namespace la::reference
