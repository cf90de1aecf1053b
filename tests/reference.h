// What the ops should compute, as plain loops in double precision that also bound the error of f32
// (tests/bounded.h). One function for each op that is more than a pointwise formula; shapes are those
// of tensor/ops.h.
#pragma once

#include <vector>

#include "tensor/op_types.h"
#include "tensor/random.h"
#include "tests/bounded.h"

namespace la {

/// A row-major array of bounded numbers in host memory, with the type in which an op stores it.
struct Array {
  Shape shape;
  std::vector<Bounded> values;
  DType dtype = DType::f32;

  Array() = default;
  explicit Array(Shape s, DType d = DType::f32)
      : shape(s), values(static_cast<size_t>(shape.numel())), dtype(d) {}

  int64_t size(int dimension) const { return shape[dimension]; }
  int64_t numel() const { return shape.numel(); }
  /// The elements as rows of the last dimension.
  int64_t columns() const { return shape[-1]; }
  int64_t rows() const { return columns() == 0 ? 0 : numel() / columns(); }

  Bounded& operator[](int64_t i) { return values[static_cast<size_t>(i)]; }
  const Bounded& operator[](int64_t i) const { return values[static_cast<size_t>(i)]; }
  Bounded& at(int64_t row, int64_t column) { return (*this)[row * columns() + column]; }
  const Bounded& at(int64_t row, int64_t column) const { return (*this)[row * columns() + column]; }
  Bounded& at(int64_t n, int64_t h, int64_t w, int64_t c) { return (*this)[offset(n, h, w, c)]; }
  const Bounded& at(int64_t n, int64_t h, int64_t w, int64_t c) const { return (*this)[offset(n, h, w, c)]; }
  /// An integer element.
  int64_t index(int64_t i) const { return static_cast<int64_t>((*this)[i].value); }

  /// With the error of storing it in that type.
  Array stored(DType as) const;

 private:
  int64_t offset(int64_t n, int64_t h, int64_t w, int64_t c) const {
    return ((n * shape[1] + h) * shape[2] + w) * shape[3] + c;
  }
};

using Arrays = std::vector<Array>;

/// f of every element.
template <class F>
Array map(const Array& x, F f) {
  Array y(x.shape, x.dtype);
  for (int64_t i = 0; i < x.numel(); ++i) y[i] = f(x[i]);
  return y;
}
template <class F>
Array map(const Array& a, const Array& b, F f) {
  Array y(a.shape, a.dtype);
  for (int64_t i = 0; i < a.numel(); ++i) y[i] = f(a[i], b[i]);
  return y;
}

namespace reference {

Bounded sigmoid(const Bounded& x);
Bounded tanh(const Bounded& x);
Bounded gelu(const Bounded& x);
Bounded gelu_slope(const Bounded& x);

// Random numbers: element i of the sequence `key`, as tensor/random.h defines it.
struct PhiloxBlock {
  uint32_t word[4];
};
/// Philox 4x32-10 as in the article: counter and key in words, least significant first.
PhiloxBlock philox4x32_10(PhiloxBlock counter, uint32_t key_low, uint32_t key_high);
uint32_t random_bits(const RandomKey& key, int64_t i);
Bounded random_uniform(const RandomKey& key, int64_t i);  // in [0, 1)
Bounded random_normal(const RandomKey& key, int64_t i);

// Rows and channels.
Array sum_rows(const Array& x);
Array mean(const Array& x);
Array scale_channels(const Array& x, const Array& s);
Array sum_product_spatial(const Array& a, const Array& b);
Arrays l2_normalize(const Array& x);  // y, norm
Array l2_normalize_backward(const Array& dy, const Array& x);
Array matmul(const Array& a, const Array& b, const MatmulOptions& options, const Array& c);

// One dimension.
Array sum(const Array& x, int dimension);
Array mean(const Array& x, int dimension);
Arrays max(const Array& x, int dimension);  // values, indices
Array broadcast(const Array& x, int dimension, int64_t n);
Array pick(const Array& x, int dimension, const Array& indices);
Array pick_backward(const Array& dy, int dimension, const Array& indices, const Shape& x_shape);
Array concatenate(const Arrays& parts, int dimension);
Array slice(const Array& x, int dimension, int64_t begin, int64_t end);
Array transpose(const Array& x);
// Rows.
Array softmax(const Array& x);
Array softmax_backward(const Array& dy, const Array& y);
Array log_softmax(const Array& x);
Array log_softmax_backward(const Array& dy, const Array& y);
Arrays layer_norm(const Array& x, const Array& weight, const Array& bias,
                  float epsilon);  // y, mean, inverse_std
Arrays layer_norm_backward(const Array& dy, const Array& x, const Array& weight, float epsilon);

// Convolution and pooling.
Array conv2d(const Array& x, const Array& weight, const ConvGeometry& g);
Array conv2d_backward_data(const Array& dy, const Array& weight, const Shape& x_shape, const ConvGeometry& g);
Array conv2d_backward_weight(const Array& dy, const Array& x, const Shape& weight_shape,
                             const ConvGeometry& g);
Shape pooled_shape(const Shape& x, const PoolGeometry& g);
Arrays max_pool2d(const Array& x, const PoolGeometry& g);  // y, argmax
Array max_pool2d_backward(const Array& dy, const Array& argmax, const Shape& x_shape, const PoolGeometry& g);
Array avg_pool2d(const Array& x, const PoolGeometry& g);
Array avg_pool2d_backward(const Array& dy, const Shape& x_shape, const PoolGeometry& g);
Array global_avg_pool(const Array& x);
Array global_avg_pool_backward(const Array& dy, const Shape& x_shape);

// Batch normalization. An empty residual has no shape.
struct BatchStatistics {
  Array mean, variance, inverse_std;
};
BatchStatistics batch_statistics(const Array& x, const BatchNormOptions& options);
/// relu((x - mean) * inverse_std * weight + bias + residual).
Array normalized(const Array& x, const Array& mean, const Array& inverse_std, const Array& weight,
                 const Array& bias, const Array& residual, bool relu);
/// y, mean and inverse standard deviation of the batch, running mean and variance; in: x, weight, bias, running mean and
/// variance, dy, the residual if there is one.
Arrays batch_norm(const Arrays& in, const BatchNormOptions& options);
/// dx, dweight, dbias, dresidual. `in_two_steps`: weight * inverse_std * g is stored in dx before the rest is added.
Arrays batch_norm_backward(const Array& dy, const Array& x, const Array& weight, const Array& bias,
                           const Array& residual, const BatchNormOptions& options, bool in_two_steps = false);
/// Of each column, mean and variance, then the number of rows.
Array batch_moments(const Array& x);
/// The same from those of parts, [parts, 2 C + 1].
Array combine_moments(const Array& parts);

/// With the statistics constant, of g, the gradient past ReLU; in: x, weight, bias, running mean, variance ...
Arrays frozen_gradients(const Array& g, const Arrays& in, const BatchNormOptions& options, bool has_residual);

// Detection.
Array sample_regions(const Array& x, const Array& boxes, const Array& pictures, const RegionGrid& grid);
Array sample_regions_backward(const Array& dy, const Array& boxes, const Array& pictures,
                              const Shape& x_shape, const RegionGrid& grid);
Arrays nms(const Array& boxes, const Array& scores, const NmsOptions& options);  // indices, count
Array encode_boxes(const Array& anchors, const Array& boxes, const BoxCoding& coding);
Array decode_boxes(const Array& anchors, const Array& codes, const BoxCoding& coding);
Array box_iou(const Array& a, const Array& b, float extent);
Bounded smooth_l1(const Bounded& d, float sigma);
Bounded smooth_l1_slope(const Bounded& d, float sigma);

// Tables and selection.
Array gather_rows(const Array& table, const Array& rows);
Array gather_dot(const Array& queries, const Array& table, const Array& indices);
Array gather_sum(const Array& coefficients, const Array& indices, const Array& table);
Arrays top_k(const Array& scores, int64_t k);  // from the largest down
Arrays nearest_rows(const Array& queries, const Array& table, int64_t k,
                    const Array& include);  // ascending indices
Array same_cluster_mask(const Array& labels, const Array& own, const Array& indices, SharedClusters shared);

// Losses over rows of scores: loss, gradient.
Arrays log_sums(const Array& scores, const Array& mask, float factor);
Arrays softmax_cross_entropy(const Array& scores, const Array& target, float factor);
Arrays logistic_loss(const Array& scores, float factor, float offset);

// k-means.
Arrays nearest_centroid(const Array& x, const Array& centroids);  // labels, distances
Array sum_by_label(const Array& x, const Array& labels, int64_t m);

}  // namespace reference
}  // namespace la
