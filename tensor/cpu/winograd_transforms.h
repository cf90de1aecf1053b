// The linear maps of Winograd's F(4x4, 3x3). They come from multiplying polynomials by their values at six
// points: 0, +-p, +-q and infinity. With p = 5/8 and q = 3/2, whose powers are exact in f32, sums of 256
// channels have half of the error that they have with the usual 1 and 2.
//
// Each map is given for one dimension, x -> M x, and applied to the columns and then to the rows of a square.
#pragma once

namespace la::winograd {

constexpr int window = 3;                 // extent of the filter
constexpr int tile = 4;                   // extent of a tile of outputs
constexpr int patch = tile + window - 1;  // of the inputs that it depends on; also the number of points
constexpr int frequencies = patch * patch;

constexpr float p = 0.625f, p2 = p * p, p3 = p2 * p;
constexpr float q = 1.5f, q2 = q * q, q3 = q2 * q;
// 1 / product of the differences between a point and the other finite ones
constexpr float at_zero = 1 / (p2 * q2), at_p = 1 / (2 * p2 * (p2 - q2)), at_q = 1 / (2 * q2 * (q2 - p2));

/// The values at p, -p, q and -q of a polynomial from its even and odd parts at p and q.
template <class V>
inline void set_pairs(const V& even_p, const V& odd_p, const V& even_q, const V& odd_q, V (&y)[patch]) {
  y[1] = even_p + odd_p;
  y[2] = even_p - odd_p;
  y[3] = even_q + odd_q;
  y[4] = even_q - odd_q;
}

/// B^T: inputs to points.
struct InputTransform {
  static constexpr int from = patch, to = patch;
  template <class V>
  static void apply(const V (&x)[from], V (&y)[to]) {
    const V even_p = x[4] - q2 * x[2], odd_p = p * (x[3] - q2 * x[1]);
    const V even_q = x[4] - p2 * x[2], odd_q = q * (x[3] - p2 * x[1]);
    y[0] = p2 * q2 * x[0] - (p2 + q2) * x[2] + x[4];
    set_pairs(even_p, odd_p, even_q, odd_q, y);
    y[5] = p2 * q2 * x[1] - (p2 + q2) * x[3] + x[5];
  }
};

/// G: window to points.
struct WindowTransform {
  static constexpr int from = window, to = patch;
  template <class V>
  static void apply(const V (&x)[from], V (&y)[to]) {
    const V even_p = at_p * x[0] + at_p * p2 * x[2], odd_p = at_p * p * x[1];
    const V even_q = at_q * x[0] + at_q * q2 * x[2], odd_q = at_q * q * x[1];
    y[0] = at_zero * x[0];
    set_pairs(even_p, odd_p, even_q, odd_q, y);
    y[5] = x[2];
  }
};

/// A^T: points to outputs.
struct OutputTransform {
  static constexpr int from = patch, to = tile;
  template <class V>
  static void apply(const V (&x)[from], V (&y)[to]) {
    const V sum_p = x[1] + x[2], difference_p = x[1] - x[2];
    const V sum_q = x[3] + x[4], difference_q = x[3] - x[4];
    y[0] = x[0] + sum_p + sum_q;
    y[1] = p * difference_p + q * difference_q;
    y[2] = p2 * sum_p + q2 * sum_q;
    y[3] = p3 * difference_p + q3 * difference_q + x[5];
  }
};

/// A: gradients of outputs to points, the transpose of OutputTransform.
struct OutputGradientTransform {
  static constexpr int from = tile, to = patch;
  template <class V>
  static void apply(const V (&x)[from], V (&y)[to]) {
    const V even_p = x[0] + p2 * x[2], odd_p = p * x[1] + p3 * x[3];
    const V even_q = x[0] + q2 * x[2], odd_q = q * x[1] + q3 * x[3];
    y[0] = x[0];
    set_pairs(even_p, odd_p, even_q, odd_q, y);
    y[5] = x[3];
  }
};

/// G^T: points to the gradient of the window, the transpose of WindowTransform.
struct WindowGradientTransform {
  static constexpr int from = patch, to = window;
  template <class V>
  static void apply(const V (&x)[from], V (&y)[to]) {
    const V sum_p = at_p * (x[1] + x[2]), difference_p = at_p * (x[1] - x[2]);
    const V sum_q = at_q * (x[3] + x[4]), difference_q = at_q * (x[3] - x[4]);
    y[0] = at_zero * x[0] + sum_p + sum_q;
    y[1] = p * difference_p + q * difference_q;
    y[2] = p2 * sum_p + q2 * sum_q + x[5];
  }
};

/// M x M^T for a square x of which load(row, column) gives the elements; takes those of the result to
/// store(row, column, y).
template <class Map, class V, class Load, class Store>
inline void transform_square(Load load, Store store) {
  V half[Map::from][Map::to];  // [column of x][row of y]
#pragma GCC unroll 8
  for (int column = 0; column < Map::from; ++column) {
    V line[Map::from];
#pragma GCC unroll 8
    for (int row = 0; row < Map::from; ++row) line[row] = load(row, column);
    Map::apply(line, half[column]);
  }
#pragma GCC unroll 8
  for (int row = 0; row < Map::to; ++row) {
    V line[Map::from], y[Map::to];
#pragma GCC unroll 8
    for (int column = 0; column < Map::from; ++column) line[column] = half[column][row];
    Map::apply(line, y);
#pragma GCC unroll 8
    for (int column = 0; column < Map::to; ++column) store(row, column, y[column]);
  }
}

}  // namespace la::winograd
