// The vocabulary of tensor operations. Every op checks shapes and types once for all devices (a mismatch is
// an Error that names the op, the shapes and what was expected), allocates its result and calls the
// device's Backend.
//
// Notation: R rows, N rows of a table (the memory bank), D columns; images are [N, H, W, C], convolution
// weights [O, KH, KW, I]. "float" stands for f32 or bf16; indices and labels are i32.
#pragma once

#include "tensor/image/view.h"
#include "tensor/op_types.h"
#include "tensor/random.h"

namespace la::ops {

// ---- Filling, copying, converting -------------------------------------------------------------------------

void fill(const Tensor& x, float value);
Tensor copy(const Tensor& x);
/// destination <- source; same shape, dtype and device.
void copy_into(const Tensor& destination, const Tensor& source);
/// float -> float; x itself if it has that type already.
Tensor cast(const Tensor& x, DType dtype);

// ---- Random numbers (tensor/random.h) ---------------------------------------------------------------------

/// f32, uniform in [low, high).
Tensor random_uniform(const Shape& shape, float low, float high, const RandomKey& key, Device device = {});
/// f32, mean 0, standard deviation 1.
Tensor random_normal(const Shape& shape, const RandomKey& key, Device device = {});
/// Elements first, first + 1, ... of a larger one: x, f32.
void random_normal_into(const Tensor& x, const RandomKey& key, int64_t first);
/// i32, uniform in {0, ..., n - 1}.
Tensor random_below(const Shape& shape, int64_t n, const RandomKey& key, Device device = {});
/// The same for the key whose index is greater by `step`, i64 of one element, on whose device the result is:
/// in work that is repeated, new numbers for each step.
Tensor random_below(const Shape& shape, int64_t n, const RandomKey& key, const Tensor& step);

// ---- Pointwise (float) ------------------------------------------------------------------------------------

Tensor relu(const Tensor& x);
Tensor sigmoid(const Tensor& x);
Tensor exp(const Tensor& x);
/// The natural logarithm.
Tensor log(const Tensor& x);
Tensor sqrt(const Tensor& x);
Tensor tanh(const Tensor& x);
/// x P(X <= x), X of the standard normal distribution (Hendrycks, Gimpel 2016): the exact form, by the error
/// function.
Tensor gelu(const Tensor& x);
/// dy where y > 0, else 0.
Tensor relu_backward(const Tensor& dy, const Tensor& y);
/// dy * y * (1 - y).
Tensor sigmoid_backward(const Tensor& dy, const Tensor& y);
/// dy * (1 - y * y).
Tensor tanh_backward(const Tensor& dy, const Tensor& y);
/// dy * the derivative at x.
Tensor gelu_backward(const Tensor& dy, const Tensor& x);
Tensor add(const Tensor& a, const Tensor& b);
Tensor subtract(const Tensor& a, const Tensor& b);
Tensor multiply(const Tensor& a, const Tensor& b);
Tensor divide(const Tensor& a, const Tensor& b);
/// a <- a + b.
void add_in_place(const Tensor& a, const Tensor& b);
Tensor scale(const Tensor& x, float factor);
/// x + offset.
Tensor shift(const Tensor& x, float offset);
/// x * factor, where factor is an f32 tensor of one element on the same device.
Tensor scale_by(const Tensor& x, const Tensor& factor);
/// Zero with probability p, else x / (1 - p); the backward pass is the same call on dy. `step`, if defined,
/// is added to the key's index: i64 of one element, on the device of x, read when the op runs.
Tensor dropout(const Tensor& x, float p, const RandomKey& key, const Tensor& step = {});
/// counter <- counter + 1: i64 of one element.
void increment(const Tensor& counter);

// ---- Rows and channels ------------------------------------------------------------------------------------

/// x [..., C] + bias [C] (f32).
Tensor add_bias(const Tensor& x, const Tensor& bias);
/// Sum over all but the last dimension: [..., C] -> f32 [C]. The gradient of add_bias.
Tensor sum_rows(const Tensor& x);
/// Mean of all elements of an f32 tensor, as an f32 tensor of shape [1].
Tensor mean(const Tensor& x);
/// x [N, H, W, C] * s [N, C].
Tensor scale_channels(const Tensor& x, const Tensor& s);
/// Sum over H and W of a * b: [N, H, W, C] -> [N, C]. The gradient of scale_channels with respect to s.
Tensor sum_product_spatial(const Tensor& a, const Tensor& b);
/// Rows of length 1: x [R, D] f32. A row of zeros stays zero.
Normalized l2_normalize(const Tensor& x);
/// dx = (dy - (dy . y) y) / norm, row by row.
Tensor l2_normalize_backward(const Tensor& dy, const Normalized& normalized);

/// Over the last dimension of x [..., C] (float): exp(x_j) / sum_k exp(x_k).
Tensor softmax(const Tensor& x);
Tensor softmax_backward(const Tensor& dy, const Tensor& y);
/// x_j - log sum_k exp(x_k).
Tensor log_softmax(const Tensor& x);
Tensor log_softmax_backward(const Tensor& dy, const Tensor& y);
/// Layer normalization (Ba, Kiros, Hinton 2016) over the last dimension of x [..., C] (float):
/// (x - mean) / sqrt(variance + epsilon) * weight + bias, with the biased variance; weight, bias f32 [C].
LayerNormResult layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, float epsilon = 1e-5f);
LayerNormGradients layer_norm_backward(const Tensor& dy, const Tensor& x, const LayerNormResult& forward,
                                       const Tensor& weight);

// ---- One dimension ----------------------------------------------------------------------------------------

// A dimension is a number from 0 to rank - 1, or from -rank to -1, counted from the last. "Without" it, the
// shape of a vector is [1]. Sums are f32, and rounded once to the type of x.

/// Sum of all elements of a float tensor, f32 [1].
Tensor sum(const Tensor& x);
/// Over a dimension of x (float), which the result is without.
Tensor sum(const Tensor& x, int dimension);
/// The dimension must not be empty.
Tensor mean(const Tensor& x, int dimension);
/// The same; of equal elements, the first is taken. A NaN is larger than all numbers.
Maximum max(const Tensor& x, int dimension);
/// x (float) n times along a new dimension, which has that number in the result. The gradient of sum.
Tensor broadcast(const Tensor& x, int dimension, int64_t n);
/// One element of x (float) for each place without the dimension: y[...] = x[..., indices[...], ...], where
/// the indices are i32.
Tensor pick(const Tensor& x, int dimension, const Tensor& indices);
/// dy at the indices, else 0.
Tensor pick_backward(const Tensor& dy, int dimension, const Tensor& indices, const Shape& x_shape);
/// Tensors of one type, whose shapes differ in that dimension alone, one behind the other.
Tensor concatenate(std::span<const Tensor> parts, int dimension);
/// The elements begin to end (exclusive) along the dimension, copied; any type.
Tensor slice(const Tensor& x, int dimension, int64_t begin, int64_t end);
/// [R, C] -> [C, R] (float).
Tensor transpose(const Tensor& x);

// ---- Matrix products (f32, or bf16 with f32 accumulation) -------------------------------------------------

/// op(a) op(b): [R, K] x [K, C] -> [R, C].
Tensor matmul(const Tensor& a, const Tensor& b, const MatmulOptions& options = {});
/// c <- alpha op(a) op(b) + beta c.
void matmul_into(const Tensor& c, const Tensor& a, const Tensor& b, const MatmulOptions& options = {});

// ---- Convolution and pooling (float) ----------------------------------------------------------------------

/// x [N, H, W, I], weight [O, KH, KW, I] of the same dtype -> [N, OH, OW, O],
/// OH = (H + 2 padding - dilation (KH - 1) - 1) / stride + 1.
Tensor conv2d(const Tensor& x, const Tensor& weight, const ConvGeometry& geometry);
Tensor conv2d_backward_data(const Tensor& dy, const Tensor& weight, const Shape& x_shape,
                            const ConvGeometry& geometry);
/// The weight's gradient, always f32 [O, KH, KW, I]; with bf16 operands, a device may round its sums, which
/// are f32, to bf16.
Tensor conv2d_backward_weight(const Tensor& dy, const Tensor& x, const Shape& weight_shape,
                              const ConvGeometry& geometry);

MaxPoolResult max_pool2d(const Tensor& x, const PoolGeometry& geometry);
Tensor max_pool2d_backward(const Tensor& dy, const Tensor& argmax, const Shape& x_shape,
                           const PoolGeometry& geometry);
/// Mean of each window; positions outside the picture are not counted.
Tensor avg_pool2d(const Tensor& x, const PoolGeometry& geometry);
Tensor avg_pool2d_backward(const Tensor& dy, const Shape& x_shape, const PoolGeometry& geometry);
/// Mean over H and W: [N, H, W, C] -> [N, C].
Tensor global_avg_pool(const Tensor& x);
Tensor global_avg_pool_backward(const Tensor& dy, const Shape& x_shape);

// ---- Batch normalization (Ioffe, Szegedy 2015), fused with a residual sum and ReLU ------------------------

/// Normalizes each of the C columns of x [..., C] (float) with the statistics of the batch, and updates the
/// running ones (variance unbiased, as PyTorch). `residual` (shape and dtype of x) may be undefined.
BatchNormResult batch_norm(const Tensor& x, const BatchNormState& state, const Tensor& residual,
                           const BatchNormOptions& options);
/// The same with the running statistics.
Tensor batch_norm_inference(const Tensor& x, const BatchNormState& state, const Tensor& residual,
                            const BatchNormOptions& options);
/// Of the result's gradient dy, or, where `more` is defined, dy + more.
BatchNormGradients batch_norm_backward(const Tensor& dy, const Tensor& x, const BatchNormResult& forward,
                                       const BatchNormState& state, bool has_residual,
                                       const BatchNormOptions& options, const Tensor& more = {});

/// Of batch_norm_inference, where the statistics are constants: y is its result. In one pass over memory.
BatchNormGradients batch_norm_inference_backward(const Tensor& dy, const Tensor& x, const Tensor& y,
                                                 const BatchNormState& state, bool has_residual,
                                                 const BatchNormOptions& options, const Tensor& more = {});

// Batch norm of rows that are cut into parts, such as those of several processes. Moments are f32 [2 C + 1]: the mean
// of each of C columns, then its variance (biased), then the number of rows, which is exact up to 2^24.

/// Of the columns of x [..., C] (float), which has a row at least.
Tensor batch_moments(const Tensor& x);
/// Of all rows, from the moments of their parts, f32 [parts, 2 C + 1], which are combined in their order (Chan, Golub,
/// LeVeque 1979). As batch_norm, it updates running statistics, f32 [C], for which there must be two rows.
Tensor combine_moments(const Tensor& parts, const Tensor& running_mean, const Tensor& running_variance,
                       float momentum);
/// dx, from batch_norm_inference_backward, for which mean and variance are constants, gets the rest of batch norm's
/// gradient: dx <- dx - weight inverse_std (dbias + xhat dweight) / rows, with xhat = (x - mean) inverse_std. `moments`
/// are those of all rows; `sums`, f32 [2 C], are dweight and then dbias, summed over all rows.
void add_moments_gradient(const Tensor& dx, const Tensor& x, const Tensor& weight, const Tensor& moments,
                          const Tensor& sums, float epsilon);

// ---- Tables: gather, scatter, the memory bank -------------------------------------------------------------

// A table may be a part of a larger one. Rows of other parts are called absent_row in the lists that these
// functions take: they are gathered as zeros, scattered nowhere, have a score of -infinity and add nothing.

/// rows i32 of a table, of which rows begin to end (exclusive) are a part: their numbers in the part, or
/// absent_row.
Tensor rows_of_part(const Tensor& rows, int64_t begin, int64_t end);
/// table [N, D] (f32 or i32), rows i32 [R] -> [R, D]; a 1-D table [N] -> [R].
Tensor gather_rows(const Tensor& table, const Tensor& rows);
/// The same for numbers on the host, wherever the table is.
Tensor gather_rows(const Tensor& table, const std::vector<int32_t>& rows);
/// table[rows[i]] <- source[i]; the rows are distinct.
void scatter_rows(const Tensor& table, const Tensor& rows, const Tensor& source);
/// matrix[i][column] <- values[i]: i32 [R, C] and [R].
void set_column(const Tensor& matrix, int64_t column, const Tensor& values);
/// table[rows[i]] <- normalize(keep * table[rows[i]] + (1 - keep) * source[i]); the rows are distinct.
void ema_update_rows(const Tensor& table, const Tensor& rows, const Tensor& source, float keep);
/// y_c = the sum of the rows of x [R, D] (f32) with the label c, in their order: i32 [R] -> [m, D]. The
/// gradient of gather_rows.
Tensor sum_by_label(const Tensor& x, const Tensor& labels, int64_t m);
/// scores_ij = queries_i . table[indices_ij]: [R, D], [N, D], [R, K] -> [R, K].
Tensor gather_dot(const Tensor& queries, const Tensor& table, const Tensor& indices);
/// y_i = sum_j coefficients_ij * table[indices_ij]: [R, K], [R, K], [N, D] -> [R, D]. Ascending
/// indices are fastest.
Tensor gather_sum(const Tensor& coefficients, const Tensor& indices, const Tensor& table);

// ---- Selection --------------------------------------------------------------------------------------------

/// The k largest of each row of f32 scores [R, N], from the largest down; of equal scores the lower index
/// comes first. A NaN is an Error.
TopK top_k(const Tensor& scores, int64_t k);
/// The k rows of table [N, D] with the largest inner product with each query [R, D], exactly, in ascending
/// order of index; ties as in top_k. `include` (i32 [R], may be undefined) names one row of the table for
/// each query that belongs to the result in any case, or absent_row: where it is not among the k nearest it
/// takes the place of the farthest.
TopK nearest_rows(const Tensor& queries, const Tensor& table, int64_t k, const Tensor& include = {});
/// mask u8 [R, K]: 1 where, in at least one of the H labelings (labels i32 [N, H]), row indices_ij of the
/// table has the label own_i (i32 [R, H]); or in all of them; or in how many (of at most 255).
Tensor same_cluster_mask(const Tensor& labels, const Tensor& own, const Tensor& indices,
                         SharedClusters shared = SharedClusters::any);

// The k largest of rows whose scores lie in several parts, f32 [R, K] each, by a radix select: of the scores as
// whole numbers of the same order, the k-th largest is found digit by digit, 8 bits at a time from the highest
// on. For place 0, 1, 2, 3: count_digits of each part, the sum of the counts, choose_digit; then
// count_digits once more, for the ties. tensor/sharded_selection.h does that.

/// counts <- counts + how many of the scores that have the digits chosen so far have each digit at that place, i32
/// [R, 256]; at place 4, how many equal the k-th largest, i32 [R, 1]. The score of row always_i (i32 [R], may be
/// undefined; or absent_row), where indices_ij is that, counts as larger than any other. A NaN may be anywhere.
void count_digits(const Tensor& counts, const TopK& part, const Tensor& always, int place,
                  const Tensor& chosen);
/// Adds a digit to `chosen`, i32 [R, 2]: the digits so far, and how many are left to be taken among those that
/// have them. Place 0 begins it.
void choose_digit(const Tensor& counts, int place, int64_t k, const Tensor& chosen);
/// mask u8 [R, K]: which scores of part p are among the k largest; of equal ones, those in parts before this one
/// and before in their row. ties: i32 [P, R], how many each part has.
Tensor mark_largest(const TopK& part, const Tensor& always, const Tensor& chosen, const Tensor& ties,
                    int64_t p);
/// scores [R, K] where mask u8 [R, K] is not 0, else -infinity.
Tensor keep_marked(const Tensor& scores, const Tensor& mask);

// ---- Losses over rows of scores (f32) ---------------------------------------------------------------------

/// log sum_j exp(factor s_ij), and log sum_j mask_ij exp(factor s_ij) for a mask u8 of 0 and 1, or of other
/// whole weights, which may be undefined. A score of -infinity counts for nothing.
LogSums log_sums(const Tensor& scores, const Tensor& mask, float factor);
/// The derivative of all - marked: factor (exp(factor s_ij - all_i) - mask_ij exp(factor s_ij - marked_i)), where
/// the sums may be over more columns than are here. Without a mask, that of `all`, and it overwrites `scores`.
Tensor log_sums_gradient(const Tensor& scores, const Tensor& mask, float factor, const LogSums& sums);
/// loss_i = log sum_j exp(factor s_ij) - factor s_{i, target_i}. The gradient overwrites `scores`.
RowLosses softmax_cross_entropy(const Tensor& scores, const Tensor& target, float factor);
/// Logistic regression of column 0 against all others, with logits factor * s_ij + offset:
/// loss_i = -log sigmoid(l_i0) - sum_{j > 0} log(1 - sigmoid(l_ij)). A score of -infinity counts for nothing.
RowLosses logistic_loss(const Tensor& scores, float factor, float offset);

// ---- Detection: boxes are f32 rows x1, y1, x2, y2 ---------------------------------------------------------

/// Cells of region r of x [N, H, W, C] (float): boxes [R, 4], pictures i32 [R] (which of the N) ->
/// [R, height, width, C].
Tensor sample_regions(const Tensor& x, const Tensor& boxes, const Tensor& pictures, const RegionGrid& grid);
/// With respect to x. Each pixel sums over the regions that touch it in their order.
Tensor sample_regions_backward(const Tensor& dy, const Tensor& boxes, const Tensor& pictures,
                               const Shape& x_shape, const RegionGrid& grid);
/// Greedy non-maximum suppression of boxes [R, 4] with scores f32 [R]: from the best down, of equal scores
/// from the lower index, a box is kept unless it overlaps one that is kept already by more than
/// iou_threshold. A NaN among the scores is an Error.
KeptBoxes nms(const Tensor& boxes, const Tensor& scores, const NmsOptions& options = {});
/// tx = (the box's center - the anchor's) / the anchor's width, ty alike; tw = log(the box's width / the
/// anchor's), th alike: anchors [R, 4], boxes [R, 4] -> [R, 4].
Tensor encode_boxes(const Tensor& anchors, const Tensor& boxes, const BoxCoding& coding = {});
/// The boxes of these codes: anchors [R, 4], codes [R, 4 k], k for each anchor -> [R, 4 k].
Tensor decode_boxes(const Tensor& anchors, const Tensor& codes, const BoxCoding& coding = {});
/// Coordinates of boxes [R, 4 k] into [0, width] and [0, height].
Tensor clip_boxes(const Tensor& boxes, float width, float height);
/// Intersection over union of all pairs: [A, 4], [B, 4] -> [A, B]; of two without an area, 0.
Tensor box_iou(const Tensor& a, const Tensor& b, float extent = 0.0f);
/// outside * f(inside * x), f(d) = (sigma d)^2 / 2 where |d| < 1 / sigma^2, else |d| - 1 / (2 sigma^2): f32,
/// of one shape. `inside` and `outside` may be undefined: then they are 1.
Tensor smooth_l1(const Tensor& x, const Tensor& inside, const Tensor& outside, float sigma);
Tensor smooth_l1_backward(const Tensor& dy, const Tensor& x, const Tensor& inside, const Tensor& outside,
                          float sigma);

// ---- k-means ----------------------------------------------------------------------------------------------

/// The nearest of m centroids [m, D] to each row of x [N, D], in Euclidean distance; of equal ones
/// the lowest label.
Assignment nearest_centroid(const Tensor& x, const Tensor& centroids);
/// How many of the labels i32 [N] each of {0, ..., m - 1} is: i32 [m].
Tensor count_labels(const Tensor& labels, int64_t m);

// ---- Pictures ---------------------------------------------------------------------------------------------

/// View i is what row i of `plans`, the bytes of a ViewPlan, makes of picture rows_i (make_view): pictures u8
/// [N, H, W, C] with C = 1 or 3, rows i32 [B], plans u8 [B, sizeof(ViewPlan)] -> f32 [B, S, S, C].
Tensor make_views(const Tensor& pictures, const Tensor& rows, const Tensor& plans, const ViewFormat& format);

// ---- Optimizers -------------------------------------------------------------------------------------------

// One step of all parameters, in a few launches. What changes from step to step is on the device:
// learning_rate is f32 [1]. With g the gradient of a parameter p, after clipping, and w the weight decay, 0
// where p does not decay.

/// The length of the vector of all gradients, f32 [1]; the slots, one at least, need a gradient alone.
Tensor gradient_norm(std::span<const OptimizerSlot> slots);
/// velocity <- momentum * velocity + g + w p;  p <- p - learning_rate * velocity, or, after Nesterov,
/// p - learning_rate * (g + w p + momentum * velocity).
void sgd_step(std::span<const OptimizerSlot> slots, const Tensor& learning_rate, const SgdOptions& options,
              const Clipping& clipping = {});
/// Loshchilov, Hutter 2019. With t the number of steps, this one included (i64 [1]):
/// m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;
/// p <- (1 - learning_rate w) p - learning_rate m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon).
void adamw_step(std::span<const OptimizerSlot> slots, const Tensor& learning_rate, const Tensor& steps,
                const AdamWOptions& options, const Clipping& clipping = {});
/// You, Gitman, Ginsburg 2017, as self-supervised learning uses it:
/// velocity <- momentum * velocity + ratio (g + w p);  p <- p - learning_rate * velocity,
/// where ratio = trust_coefficient |p| / |g + w p|, and 1 where p does not decay or one of them is 0.
void lars_step(std::span<const OptimizerSlot> slots, const Tensor& learning_rate, const LarsOptions& options,
               const Clipping& clipping = {});

}  // namespace la::ops
