// Backend: everything that a device must be able to do, and the only thing that a new device implements. The
// ops (ops.h) say what each function computes; by the time a Backend is called, shapes and types have been
// checked and the outputs (the last parameters) allocated, with undefined contents unless said otherwise.
#pragma once

#include <memory>
#include <string>

#include "tensor/allocator.h"
#include "tensor/op_types.h"
#include "tensor/random.h"
#include "tensor/repeated_work.h"
#include "tensor/uploader.h"
#include "tensor/view.h"

namespace la {

class Backend {
 public:
  virtual ~Backend() = default;

  /// What the device is, for people.
  virtual std::string name() const = 0;
  /// Bytes of memory that it has.
  virtual size_t memory_size() const = 0;
  virtual bool multiplies_bf16() const = 0;

  // Memory.
  virtual CachingAllocator& allocator() = 0;
  virtual void copy_from_host(void* destination, const void* source, size_t bytes) = 0;
  virtual void copy_to_host(void* destination, const void* source, size_t bytes) = 0;  // waits for the device
  virtual void copy(void* destination, const void* source, size_t bytes) = 0;          // within the device
  virtual void synchronize() = 0;
  virtual std::unique_ptr<Uploader> make_uploader() = 0;
  /// Calls `work` and records what it enqueues, without running it; null where the device cannot.
  virtual std::unique_ptr<Recording> record(const std::function<void()>& work) = 0;

  // Filling, converting, random numbers.
  virtual void fill(float value, const Tensor& y) = 0;  // any dtype
  virtual void cast(const Tensor& x, const Tensor& y) = 0;
  virtual void random_uniform(float low, float high, const RandomKey& key, const Tensor& y) = 0;
  virtual void random_normal(const RandomKey& key, const Tensor& y) = 0;
  /// `step` may be undefined: then it is 0.
  virtual void random_below(int64_t n, const RandomKey& key, const Tensor& step, const Tensor& y) = 0;

  // Pointwise. y may be one of the inputs.
  virtual void unary(Unary op, const Tensor& x, const Tensor& y) = 0;
  virtual void binary(Binary op, const Tensor& a, const Tensor& b, const Tensor& y) = 0;
  virtual void scale(const Tensor& x, float factor, const Tensor& y) = 0;
  virtual void scale_by(const Tensor& x, const Tensor& factor, const Tensor& y) = 0;
  virtual void dropout(const Tensor& x, float p, const RandomKey& key, const Tensor& step,
                       const Tensor& y) = 0;
  virtual void increment(const Tensor& counter) = 0;

  // Rows and channels.
  virtual void add_bias(const Tensor& x, const Tensor& bias, const Tensor& y) = 0;
  virtual void sum_rows(const Tensor& x, const Tensor& y) = 0;
  virtual void mean(const Tensor& x, const Tensor& y) = 0;
  virtual void scale_channels(const Tensor& x, const Tensor& s, const Tensor& y) = 0;
  virtual void sum_product_spatial(const Tensor& a, const Tensor& b, const Tensor& y) = 0;
  virtual void l2_normalize(const Tensor& x, const Normalized& out) = 0;
  virtual void l2_normalize_backward(const Tensor& dy, const Normalized& forward, const Tensor& dx) = 0;

  // Matrix product.
  virtual void matmul(const Tensor& a, const Tensor& b, const MatmulOptions& options, const Tensor& c) = 0;

  // Convolution and pooling.
  virtual void conv2d(const Tensor& x, const Tensor& weight, const ConvGeometry& geometry,
                      const Tensor& y) = 0;
  virtual void conv2d_backward_data(const Tensor& dy, const Tensor& weight, const ConvGeometry& geometry,
                                    const Tensor& dx) = 0;
  virtual void conv2d_backward_weight(const Tensor& dy, const Tensor& x, const ConvGeometry& geometry,
                                      const Tensor& dweight) = 0;
  virtual void max_pool2d(const Tensor& x, const PoolGeometry& geometry, const MaxPoolResult& out) = 0;
  virtual void max_pool2d_backward(const Tensor& dy, const Tensor& winner, const PoolGeometry& geometry,
                                   const Tensor& dx) = 0;
  virtual void avg_pool2d(const Tensor& x, const PoolGeometry& geometry, const Tensor& y) = 0;
  virtual void avg_pool2d_backward(const Tensor& dy, const PoolGeometry& geometry, const Tensor& dx) = 0;
  virtual void global_avg_pool(const Tensor& x, const Tensor& y) = 0;
  virtual void global_avg_pool_backward(const Tensor& dy, const Tensor& dx) = 0;

  // Batch normalization.
  virtual void batch_norm(const Tensor& x, const BatchNormState& state, const Tensor& residual,
                          const BatchNormOptions& options, const BatchNormResult& out) = 0;
  virtual void batch_norm_inference(const Tensor& x, const BatchNormState& state, const Tensor& residual,
                                    const BatchNormOptions& options, const Tensor& y) = 0;
  virtual void batch_norm_backward(const Tensor& dy, const Tensor& more, const Tensor& x,
                                   const BatchNormResult& forward, const BatchNormState& state,
                                   const BatchNormOptions& options, const BatchNormGradients& out) = 0;

  // Tables.
  virtual void gather_rows(const Tensor& table, const Tensor& rows, const Tensor& y) = 0;
  virtual void scatter_rows(const Tensor& rows, const Tensor& source, const Tensor& table) = 0;
  virtual void set_column(const Tensor& values, int64_t column, const Tensor& matrix) = 0;
  virtual void blend_normalized_rows(const Tensor& rows, const Tensor& source, float keep,
                                     const Tensor& table) = 0;
  virtual void gather_dot(const Tensor& queries, const Tensor& table, const Tensor& indices,
                          const Tensor& y) = 0;
  virtual void gather_sum(const Tensor& coefficients, const Tensor& indices, const Tensor& table,
                          const Tensor& y) = 0;

  // Selection.
  virtual void top_k(const Tensor& scores, const TopK& out) = 0;
  virtual void nearest_rows(const Tensor& queries, const Tensor& table, const Tensor& include,
                            const TopK& out) = 0;
  virtual void mark_columns(const Tensor& columns, const Tensor& mask) = 0;
  virtual void share_label(const Tensor& labels, const Tensor& own, const Tensor& indices,
                           const Tensor& mask) = 0;

  // Losses over rows. The gradient of softmax_cross_entropy is the array of the scores.
  virtual void softmax_ratio_loss(const Tensor& scores, const Tensor& mask, float factor,
                                  const RowLosses& out) = 0;
  virtual void softmax_cross_entropy(const Tensor& scores, const Tensor& target, float factor,
                                     const RowLosses& out) = 0;
  virtual void logistic_loss(const Tensor& scores, float factor, float offset, const RowLosses& out) = 0;

  // k-means.
  virtual void nearest_centroid(const Tensor& x, const Tensor& centroids, const Assignment& out) = 0;
  virtual void mean_by_label(const Tensor& x, const Tensor& labels, const ClusterMeans& out) = 0;

  // Pictures.
  virtual void make_views(const Tensor& pictures, const Tensor& rows, const Tensor& plans,
                          const ViewFormat& format, const Tensor& views) = 0;

  // Optimizer.
  virtual void sgd_step(std::span<const SgdSlot> slots, const Tensor& learning_rate, float momentum) = 0;
};

/// The backend of a device; an Error if this build or this machine does not have it.
Backend& backend(Device device);

/// A new CUDA backend; an Error with the reason if there can be none.
std::unique_ptr<Backend> make_cuda_backend();

}  // namespace la
