// The CPU backend: oneDNN for convolutions and matrix products, loops of our own for everything else.
// Its functions are grouped by theme: memory, elementwise, rows, matmul, conv, pool, norm, table, select,
// losses, cluster.
#pragma once

#include "tensor/backend.h"

namespace la {

class CpuBackend final : public Backend {
 public:
  CpuBackend();

  std::string name() const override { return "CPU"; }
  size_t memory_size() const override;
  bool multiplies_bf16() const override;

  CachingAllocator& allocator() override { return allocator_; }
  void copy_from_host(void* destination, const void* source, size_t bytes) override;
  void copy_to_host(void* destination, const void* source, size_t bytes) override;
  void copy(void* destination, const void* source, size_t bytes) override;
  void synchronize() override {}
  std::unique_ptr<Uploader> make_uploader() override;
  std::unique_ptr<Recording> record(const std::function<void()>&) override { return nullptr; }

  void fill(float value, const Tensor& y) override;
  void cast(const Tensor& x, const Tensor& y) override;
  void random_uniform(float low, float high, const RandomKey& key, const Tensor& y) override;
  void random_normal(const RandomKey& key, const Tensor& y) override;
  void random_below(int64_t n, const RandomKey& key, const Tensor& step, const Tensor& y) override;

  void unary(Unary op, const Tensor& x, const Tensor& y) override;
  void binary(Binary op, const Tensor& a, const Tensor& b, const Tensor& y) override;
  void scale(const Tensor& x, float factor, const Tensor& y) override;
  void scale_by(const Tensor& x, const Tensor& factor, const Tensor& y) override;
  void dropout(const Tensor& x, float p, const RandomKey& key, const Tensor& step, const Tensor& y) override;
  void increment(const Tensor& counter) override;

  void add_bias(const Tensor& x, const Tensor& bias, const Tensor& y) override;
  void sum_rows(const Tensor& x, const Tensor& y) override;
  void mean(const Tensor& x, const Tensor& y) override;
  void scale_channels(const Tensor& x, const Tensor& s, const Tensor& y) override;
  void sum_product_spatial(const Tensor& a, const Tensor& b, const Tensor& y) override;
  void l2_normalize(const Tensor& x, const Normalized& out) override;
  void l2_normalize_backward(const Tensor& dy, const Normalized& forward, const Tensor& dx) override;

  void matmul(const Tensor& a, const Tensor& b, const MatmulOptions& options, const Tensor& c) override;

  void conv2d(const Tensor& x, const Tensor& weight, const ConvGeometry& geometry, const Tensor& y) override;
  void conv2d_backward_data(const Tensor& dy, const Tensor& weight, const ConvGeometry& geometry,
                            const Tensor& dx) override;
  void conv2d_backward_weight(const Tensor& dy, const Tensor& x, const ConvGeometry& geometry,
                              const Tensor& dweight) override;
  void max_pool2d(const Tensor& x, const PoolGeometry& geometry, const MaxPoolResult& out) override;
  void max_pool2d_backward(const Tensor& dy, const Tensor& winner, const PoolGeometry& geometry,
                           const Tensor& dx) override;
  void avg_pool2d(const Tensor& x, const PoolGeometry& geometry, const Tensor& y) override;
  void avg_pool2d_backward(const Tensor& dy, const PoolGeometry& geometry, const Tensor& dx) override;
  void global_avg_pool(const Tensor& x, const Tensor& y) override;
  void global_avg_pool_backward(const Tensor& dy, const Tensor& dx) override;

  void batch_norm(const Tensor& x, const BatchNormState& state, const Tensor& residual,
                  const BatchNormOptions& options, const BatchNormResult& out) override;
  void batch_norm_inference(const Tensor& x, const BatchNormState& state, const Tensor& residual,
                            const BatchNormOptions& options, const Tensor& y) override;
  void batch_norm_backward(const Tensor& dy, const Tensor& more, const Tensor& x,
                           const BatchNormResult& forward, const BatchNormState& state,
                           const BatchNormOptions& options, const BatchNormGradients& out) override;

  void gather_rows(const Tensor& table, const Tensor& rows, const Tensor& y) override;
  void scatter_rows(const Tensor& rows, const Tensor& source, const Tensor& table) override;
  void set_column(const Tensor& values, int64_t column, const Tensor& matrix) override;
  void blend_normalized_rows(const Tensor& rows, const Tensor& source, float keep,
                             const Tensor& table) override;
  void gather_dot(const Tensor& queries, const Tensor& table, const Tensor& indices,
                  const Tensor& y) override;
  void gather_sum(const Tensor& coefficients, const Tensor& indices, const Tensor& table,
                  const Tensor& y) override;

  void top_k(const Tensor& scores, const TopK& out) override;
  void nearest_rows(const Tensor& queries, const Tensor& table, const Tensor& include,
                    const TopK& out) override;
  void mark_columns(const Tensor& columns, const Tensor& mask) override;
  void share_label(const Tensor& labels, const Tensor& own, const Tensor& indices,
                   const Tensor& mask) override;

  void softmax_ratio_loss(const Tensor& scores, const Tensor& mask, float factor,
                          const RowLosses& out) override;
  void softmax_cross_entropy(const Tensor& scores, const Tensor& target, float factor,
                             const RowLosses& out) override;
  void logistic_loss(const Tensor& scores, float factor, float offset, const RowLosses& out) override;

  void nearest_centroid(const Tensor& x, const Tensor& centroids, const Assignment& out) override;
  void mean_by_label(const Tensor& x, const Tensor& labels, const ClusterMeans& out) override;

  void make_views(const Tensor& pictures, const Tensor& rows, const Tensor& plans, const ViewFormat& format,
                  const Tensor& views) override;

  void sgd_step(std::span<const SgdSlot> slots, const Tensor& learning_rate, float momentum) override;

 private:
  CachingAllocator allocator_;
};

}  // namespace la
