// The options and results of ops, shared by ops.h (what callers see) and backend.h (what a
// device implements).
#pragma once

#include <limits>
#include <span>

#include "tensor/tensor.h"

namespace la {

enum class Unary { relu, sigmoid, exp, log, sqrt, tanh, gelu };
enum class Binary {
  add,
  subtract,
  multiply,
  divide,
  relu_backward,
  sigmoid_backward,
  tanh_backward,
  gelu_backward
};

/// c = alpha * op(a) op(b) + beta * c, where op transposes if asked to.
struct MatmulOptions {
  bool transpose_a = false;
  bool transpose_b = false;
  float alpha = 1.0f;
  float beta = 0.0f;
};

/// Geometry of a 2-D convolution; the kernel's extents are the weight's.
struct ConvGeometry {
  int stride = 1;
  int padding = 0;
  int dilation = 1;
};

struct PoolGeometry {
  int kernel = 2;
  int stride = 2;
  int padding = 0;
  /// Whether a last window that begins inside the picture, but reaches beyond its padding, counts: what lies
  /// inside the picture is pooled.
  bool ceil_mode = false;
};

/// What same_cluster_mask says of the labelings in which two rows have the same label: whether there is any,
/// whether it is all of them, or how many there are.
enum class SharedClusters { any, all, count };

/// The largest elements along a dimension, both in the shape without it.
struct Maximum {
  Tensor values;
  Tensor indices;  // i32, where along the dimension they stand
};

struct Normalized {
  Tensor y;     // [R, D], each row of length 1
  Tensor norm;  // [R], the lengths of the rows before
};

struct BatchNormOptions {
  float momentum = 0.1f;  // running <- (1 - momentum) running + momentum batch
  float epsilon = 1e-5f;
  bool relu = false;  // y = max(0, normalized + residual)
};

/// Per-channel parameters and running statistics, all f32 [C].
struct BatchNormState {
  Tensor weight, bias, running_mean, running_variance;
};

struct BatchNormResult {
  Tensor y;
  Tensor mean;         // [C], of the batch
  Tensor inverse_std;  // [C], 1 / sqrt(variance of the batch + epsilon)
};

struct BatchNormGradients {
  Tensor dx, dweight, dbias;
  Tensor dresidual;  // defined only if there was a residual
};

struct LayerNormResult {
  Tensor y;
  Tensor mean;         // f32 [R], of each row
  Tensor inverse_std;  // f32 [R], 1 / sqrt(variance of the row + epsilon)
};

struct LayerNormGradients {
  Tensor dx, dweight, dbias;
};

struct MaxPoolResult {
  Tensor y;
  Tensor argmax;  // u8, shape of y: position of the maximum inside its window, row by row
};

/// In a list of rows of a table that is a part of a larger one: a row of another part.
constexpr int32_t absent_row = -1;

/// The k largest of each row.
struct TopK {
  Tensor values;   // f32 [R, k]
  Tensor indices;  // i32 [R, k]
};

/// Logarithms of sums over each row; -infinity is that of nothing.
struct LogSums {
  Tensor all;     // f32 [R]
  Tensor marked;  // f32 [R]; undefined without marks
};

struct RowLosses {
  Tensor loss;      // f32 [R]
  Tensor gradient;  // f32, shape of the scores: d loss_i / d score_ij
};

struct Assignment {
  Tensor labels;     // i32 [N]
  Tensor distances;  // f32 [N], squared Euclidean distance to the centroid of that label
};

/// The digits by which rows are selected from several parts (count_digits): as many, of 8 bits each, as a number of 32 bits has.
constexpr int digit_places = 4, digit_values = 256;

/// A grid of cells over each region of interest of a feature map: a cell is the mean of bilinear samples. In
/// pixels, whose centers are whole numbers, an axis of a box reaches from begin to end = spatial_scale * the
/// box's coordinates.
struct RegionGrid {
  enum class Samples {
    /// As TensorFlow's crop_and_resize: one sample a cell, that of the first cell at begin, that of the last
    /// at end, the others evenly between them; that of a single cell in the middle. A sample outside of the
    /// picture is 0.
    at_corners,
    /// As roi_align (He et al. 2017): cells divide begin to end evenly, each has `sampling_ratio` samples
    /// evenly inside it along each axis. A sample up to 1 pixel outside of the picture is that of its border,
    /// farther out it is 0.
    in_cells,
  };
  int height = 7, width = 7;   // cells
  float spatial_scale = 1.0f;  // pixels of the feature map in a unit of the boxes
  Samples samples = Samples::at_corners;
  // in_cells alone:
  int sampling_ratio = 0;  // 0: as many as a cell has pixels, rounded up, at most 4,096
  bool aligned = true;     // begin and end are reduced by half a pixel; else a box has at least one pixel
};

struct NmsOptions {
  float iou_threshold = 0.7f;  // what overlaps a better box by more is dropped
  int64_t most = 2000;         // boxes that are kept
  float extent = 0.0f;         // of a box: x2 - x1 + extent; 1 where x2 is the last pixel, 0 where the border
};

/// Boxes that are kept, from the best down.
struct KeptBoxes {
  Tensor indices;  // i32 [min(most, R)], -1 behind the last
  Tensor count;    // i32 [1]
};

/// How a box is coded against an anchor (Girshick et al. 2014).
struct BoxCoding {
  float weights[4] = {1, 1, 1, 1};  // of tx, ty, tw, th: they are multiplied by these; 1 / deviation
  float extent = 0.0f;              // as in NmsOptions
  float most_log_ratio = std::numeric_limits<float>::infinity();  // of tw and th, when they are decoded
};

/// One parameter as an optimizer sees it; the tensors are f32 and of one shape.
struct OptimizerSlot {
  Tensor parameter, gradient;
  Tensor first_moment;   // the velocity of SGD and LARS
  Tensor second_moment;  // of AdamW alone
  bool decays = false;   // whether weight decay applies, and the trust ratio of LARS
};

/// Gradients are multiplied by min(1, max_norm / (norm + 1e-6)), unless `norm` is undefined.
struct Clipping {
  Tensor norm;  // f32 [1], gradient_norm()
  float max_norm = 0.0f;
};

struct SgdOptions {
  float momentum = 0.9f;
  float weight_decay = 0.0f;  // of parameters that decay
  bool nesterov = false;
};

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.999;  // in double precision, for the step takes 1 - beta
  float epsilon = 1e-8f;
  float weight_decay = 0.01f;  // of parameters that decay
};

struct LarsOptions {
  float momentum = 0.9f;
  float weight_decay = 1e-6f;  // of parameters that decay
  float trust_coefficient = 0.001f;
};

}  // namespace la
