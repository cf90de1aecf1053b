// The functions by which a device computes, each LA_FUNCTION(name, (parameters)): written once, and included
// in the classes that declare them: Backend, and the backend of each device. No include guard: it is meant to
// be included several times.

// Filling, converting, random numbers.
LA_FUNCTION(fill, (float value, const Tensor& y))  // any dtype
LA_FUNCTION(cast, (const Tensor& x, const Tensor& y))
LA_FUNCTION(random_uniform, (float low, float high, const RandomKey& key, const Tensor& y))
LA_FUNCTION(random_normal,
            (const RandomKey& key, int64_t first, const Tensor& y))  // elements from `first` on
/// `step` may be undefined: then it is 0.
LA_FUNCTION(random_below, (int64_t n, const RandomKey& key, const Tensor& step, const Tensor& y))

// Pointwise. y may be one of the inputs.
LA_FUNCTION(unary, (Unary op, const Tensor& x, const Tensor& y))
LA_FUNCTION(binary, (Binary op, const Tensor& a, const Tensor& b, const Tensor& y))
LA_FUNCTION(scale, (const Tensor& x, float factor, const Tensor& y))
LA_FUNCTION(shift, (const Tensor& x, float offset, const Tensor& y))
LA_FUNCTION(scale_by, (const Tensor& x, const Tensor& factor, const Tensor& y))
LA_FUNCTION(dropout, (const Tensor& x, float p, const RandomKey& key, const Tensor& step, const Tensor& y))
LA_FUNCTION(increment, (const Tensor& counter))

// Rows and channels.
LA_FUNCTION(add_bias, (const Tensor& x, const Tensor& bias, const Tensor& y))
LA_FUNCTION(sum_rows, (const Tensor& x, const Tensor& y))
LA_FUNCTION(mean, (const Tensor& x, const Tensor& y))
LA_FUNCTION(scale_channels, (const Tensor& x, const Tensor& s, const Tensor& y))
LA_FUNCTION(sum_product_spatial, (const Tensor& a, const Tensor& b, const Tensor& y))
LA_FUNCTION(l2_normalize, (const Tensor& x, const Normalized& out))
LA_FUNCTION(l2_normalize_backward, (const Tensor& dy, const Normalized& forward, const Tensor& dx))

// One dimension: x is [outer, n, inner], and y is [outer, inner]; `indices` is i32 [outer, inner].
/// y = factor * the sum over n.
LA_FUNCTION(sum_dimension, (const Tensor& x, float factor, const Tensor& y))
LA_FUNCTION(max_dimension, (const Tensor& x, const Maximum& out))
LA_FUNCTION(broadcast, (const Tensor& x, const Tensor& y))  // x [outer, inner], y [outer, n, inner]
LA_FUNCTION(pick, (const Tensor& x, const Tensor& indices, const Tensor& y))
LA_FUNCTION(pick_backward, (const Tensor& dy, const Tensor& indices, const Tensor& dx))
/// y[r, y_column + c] = x[r, x_column + c] for c = 0 ... columns - 1; matrices of any type.
LA_FUNCTION(copy_columns,
            (const Tensor& x, int64_t x_column, int64_t columns, const Tensor& y, int64_t y_column))
LA_FUNCTION(transpose, (const Tensor& x, const Tensor& y))

// Rows of a matrix. With `logarithm`, of the logarithm of the softmax.
LA_FUNCTION(softmax, (const Tensor& x, bool logarithm, const Tensor& y))
LA_FUNCTION(softmax_backward, (const Tensor& dy, const Tensor& y, bool logarithm, const Tensor& dx))
LA_FUNCTION(layer_norm, (const Tensor& x, const Tensor& weight, const Tensor& bias, float epsilon,
                         const LayerNormResult& out))
LA_FUNCTION(layer_norm_backward, (const Tensor& dy, const Tensor& x, const LayerNormResult& forward,
                                  const Tensor& weight, const LayerNormGradients& out))

// Matrix product.
LA_FUNCTION(matmul, (const Tensor& a, const Tensor& b, const MatmulOptions& options, const Tensor& c))

// Convolution and pooling.
LA_FUNCTION(conv2d, (const Tensor& x, const Tensor& weight, const ConvGeometry& geometry, const Tensor& y))
LA_FUNCTION(conv2d_backward_data,
            (const Tensor& dy, const Tensor& weight, const ConvGeometry& geometry, const Tensor& dx))
LA_FUNCTION(conv2d_backward_weight,
            (const Tensor& dy, const Tensor& x, const ConvGeometry& geometry, const Tensor& dweight))
LA_FUNCTION(max_pool2d, (const Tensor& x, const PoolGeometry& geometry, const MaxPoolResult& out))
LA_FUNCTION(max_pool2d_backward,
            (const Tensor& dy, const Tensor& argmax, const PoolGeometry& geometry, const Tensor& dx))
LA_FUNCTION(avg_pool2d, (const Tensor& x, const PoolGeometry& geometry, const Tensor& y))
LA_FUNCTION(avg_pool2d_backward, (const Tensor& dy, const PoolGeometry& geometry, const Tensor& dx))
LA_FUNCTION(global_avg_pool, (const Tensor& x, const Tensor& y))
LA_FUNCTION(global_avg_pool_backward, (const Tensor& dy, const Tensor& dx))

// Batch normalization.
LA_FUNCTION(batch_norm, (const Tensor& x, const BatchNormState& state, const Tensor& residual,
                         const BatchNormOptions& options, const BatchNormResult& out))
LA_FUNCTION(batch_norm_inference, (const Tensor& x, const BatchNormState& state, const Tensor& residual,
                                   const BatchNormOptions& options, const Tensor& y))
LA_FUNCTION(batch_norm_backward,
            (const Tensor& dy, const Tensor& more, const Tensor& x, const BatchNormResult& forward,
             const BatchNormState& state, const BatchNormOptions& options, const BatchNormGradients& out))

LA_FUNCTION(batch_norm_inference_backward,
            (const Tensor& dy, const Tensor& more, const Tensor& x, const Tensor& y,
             const BatchNormState& state, const BatchNormOptions& options, const BatchNormGradients& out))
LA_FUNCTION(batch_moments, (const Tensor& x, const Tensor& moments))
LA_FUNCTION(combine_moments, (const Tensor& parts, const Tensor& running_mean, const Tensor& running_variance,
                              float momentum, const Tensor& moments))
LA_FUNCTION(add_moments_gradient, (const Tensor& dx, const Tensor& x, const Tensor& weight,
                                   const Tensor& moments, const Tensor& sums, float epsilon))

// Detection.
LA_FUNCTION(sample_regions, (const Tensor& x, const Tensor& boxes, const Tensor& pictures,
                             const RegionGrid& grid, const Tensor& y))
LA_FUNCTION(sample_regions_backward, (const Tensor& dy, const Tensor& boxes, const Tensor& pictures,
                                      const RegionGrid& grid, const Tensor& dx))
LA_FUNCTION(nms, (const Tensor& boxes, const Tensor& scores, const NmsOptions& options, const KeptBoxes& out))
LA_FUNCTION(encode_boxes,
            (const Tensor& anchors, const Tensor& boxes, const BoxCoding& coding, const Tensor& codes))
LA_FUNCTION(decode_boxes,
            (const Tensor& anchors, const Tensor& codes, const BoxCoding& coding, const Tensor& boxes))
LA_FUNCTION(clip_boxes, (const Tensor& boxes, float width, float height, const Tensor& y))
LA_FUNCTION(box_iou, (const Tensor& a, const Tensor& b, float extent, const Tensor& y))
LA_FUNCTION(smooth_l1,
            (const Tensor& x, const Tensor& inside, const Tensor& outside, float sigma, const Tensor& y))
LA_FUNCTION(smooth_l1_backward, (const Tensor& dy, const Tensor& x, const Tensor& inside,
                                 const Tensor& outside, float sigma, const Tensor& dx))

// Tables.
LA_FUNCTION(gather_rows, (const Tensor& table, const Tensor& rows, const Tensor& y))
LA_FUNCTION(scatter_rows, (const Tensor& rows, const Tensor& source, const Tensor& table))
LA_FUNCTION(set_column, (const Tensor& values, int64_t column, const Tensor& matrix))
LA_FUNCTION(ema_update_rows, (const Tensor& rows, const Tensor& source, float keep, const Tensor& table))
LA_FUNCTION(gather_dot, (const Tensor& queries, const Tensor& table, const Tensor& indices, const Tensor& y))
LA_FUNCTION(gather_sum,
            (const Tensor& coefficients, const Tensor& indices, const Tensor& table, const Tensor& y))

// Selection.
LA_FUNCTION(top_k, (const Tensor& scores, const TopK& out))
LA_FUNCTION(nearest_rows,
            (const Tensor& queries, const Tensor& table, const Tensor& include, const TopK& out))
LA_FUNCTION(same_cluster_mask, (const Tensor& labels, const Tensor& own, const Tensor& indices,
                                SharedClusters shared, const Tensor& mask))

// Parts of tables. `always` may be undefined; `chosen` is i32 [R, 2].
LA_FUNCTION(rows_of_part, (const Tensor& rows, int64_t begin, int64_t end, const Tensor& y))
LA_FUNCTION(count_digits,
            (const TopK& part, const Tensor& always, int place, const Tensor& chosen, const Tensor& counts))
LA_FUNCTION(choose_digit, (const Tensor& counts, int place, int64_t k, const Tensor& chosen))
LA_FUNCTION(mark_largest, (const TopK& part, const Tensor& always, const Tensor& chosen, const Tensor& ties,
                           int64_t p, const Tensor& mask))
LA_FUNCTION(keep_marked, (const Tensor& scores, const Tensor& mask, const Tensor& y))

// Losses over rows. The mask may be undefined, and y may be the scores; so is the gradient of
// softmax_cross_entropy.
LA_FUNCTION(log_sums, (const Tensor& scores, const Tensor& mask, float factor, const LogSums& out))
LA_FUNCTION(log_sums_gradient,
            (const Tensor& scores, const Tensor& mask, float factor, const LogSums& sums, const Tensor& y))
LA_FUNCTION(softmax_cross_entropy,
            (const Tensor& scores, const Tensor& target, float factor, const RowLosses& out))
LA_FUNCTION(logistic_loss, (const Tensor& scores, float factor, float offset, const RowLosses& out))

// k-means.
LA_FUNCTION(nearest_centroid, (const Tensor& x, const Tensor& centroids, const Assignment& out))
LA_FUNCTION(sum_by_label, (const Tensor& x, const Tensor& labels, const Tensor& y))
LA_FUNCTION(count_labels, (const Tensor& labels, const Tensor& counts))

// Pictures.
LA_FUNCTION(make_views, (const Tensor& pictures, const Tensor& rows, const Tensor& plans,
                         const ViewFormat& format, const Tensor& views))

// Optimizers.
LA_FUNCTION(gradient_norm, (std::span<const OptimizerSlot> slots, const Tensor& norm))
LA_FUNCTION(sgd_step, (std::span<const OptimizerSlot> slots, const Tensor& learning_rate,
                       const SgdOptions& options, const Clipping& clipping))
LA_FUNCTION(adamw_step, (std::span<const OptimizerSlot> slots, const Tensor& learning_rate,
                         const Tensor& steps, const AdamWOptions& options, const Clipping& clipping))
LA_FUNCTION(lars_step, (std::span<const OptimizerSlot> slots, const Tensor& learning_rate,
                        const LarsOptions& options, const Clipping& clipping))
