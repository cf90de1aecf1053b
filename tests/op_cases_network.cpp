// Cases of convolution, pooling and batch normalization.
#include <functional>

#include "tensor/format.h"
#include "tensor/ops.h"
#include "tests/op_case.h"

namespace la {
namespace {

constexpr DType float_types[] = {DType::f32, DType::bf16};

// ---- Convolution ------------------------------------------------------------------------------------------

struct Convolution {
  Shape x, weight;
  ConvGeometry geometry;

  Shape y() const {
    const auto extent = [&](int d) {
      return (x[d] + 2 * geometry.padding - geometry.dilation * (weight[d] - 1) - 1) / geometry.stride + 1;
    };
    return {x[0], extent(1), extent(2), weight[0]};
  }
  std::string options() const {
    return formatted("stride={} padding={} dilation={}", geometry.stride, geometry.padding,
                     geometry.dilation);
  }
  double operations() const {
    return 2.0 * static_cast<double>(y().numel() * weight[1] * weight[2] * weight[3]);
  }
};

OpCase conv2d_case(const Convolution& c, DType dtype) {
  const ConvGeometry g = c.geometry;
  return {.op = "conv2d",
          .options = c.options(),
          .inputs = {normal(c.x, dtype), normal(c.weight, dtype)},
          .run = [=](const Tensors& in) -> Tensors { return {ops::conv2d(in[0], in[1], g)}; },
          .reference = [=](const Arrays& in) -> Arrays { return {reference::conv2d(in[0], in[1], g)}; },
          .operations = c.operations()};
}

OpCase conv2d_backward_data_case(const Convolution& c, DType dtype) {
  const ConvGeometry g = c.geometry;
  return {.op = "conv2d_backward_data",
          .options = c.options(),
          .inputs = {normal(c.y(), dtype), normal(c.weight, dtype), normal(c.x, dtype)},
          .run = [=](const Tensors& in) -> Tensors {
            return {ops::conv2d_backward_data(in[0], in[1], in[2].shape(), g)};
          },
          .reference = [=](const Arrays& in) -> Arrays {
            return {reference::conv2d_backward_data(in[0], in[1], in[2].shape, g)};
          },
          .gradient = {[=](const Arrays& in) { return reference::conv2d(in[2], in[1], g); }, {2}},
          .operations = c.operations()};
}

OpCase conv2d_backward_weight_case(const Convolution& c, DType dtype) {
  const ConvGeometry g = c.geometry;
  return {.op = "conv2d_backward_weight",
          .options = c.options(),
          .inputs = {normal(c.y(), dtype), normal(c.x, dtype), normal(c.weight, dtype)},
          .run = [=](const Tensors& in) -> Tensors {
            return {ops::conv2d_backward_weight(in[0], in[1], in[2].shape(), g)};
          },
          .reference = [=](const Arrays& in) -> Arrays {
            return {reference::conv2d_backward_weight(in[0], in[1], in[2].shape, g)};
          },
          .gradient = {[=](const Arrays& in) { return reference::conv2d(in[1], in[2], g); }, {2}},
          .operations = c.operations()};
}

void add_convolution(const Convolution& c, OpCases& cases, bool only_timed = false) {
  for (DType dtype : float_types)
    for (OpCase one : {conv2d_case(c, dtype), conv2d_backward_data_case(c, dtype),
                       conv2d_backward_weight_case(c, dtype)}) {
      one.only_timed = only_timed;
      cases.push_back(one);
    }
}

// ---- Pooling ----------------------------------------------------------------------------------------------

std::string describe(const PoolGeometry& g) {
  return formatted("kernel={} stride={} padding={}{}", g.kernel, g.stride, g.padding,
                   g.ceil_mode ? " ceil_mode" : "");
}

OpCase max_pool2d_case(const Input& x, const PoolGeometry& g) {
  return {.op = "max_pool2d",
          .options = describe(g),
          .inputs = {x},
          .run = [=](const Tensors& in) -> Tensors {
            const MaxPoolResult out = ops::max_pool2d(in[0], g);
            return {out.y, out.argmax};
          },
          .reference = [=](const Arrays& in) { return reference::max_pool2d(in[0], g); }};
}

OpCase avg_pool2d_case(const Input& x, const PoolGeometry& g) {
  return {.op = "avg_pool2d",
          .options = describe(g),
          .inputs = {x},
          .run = [=](const Tensors& in) -> Tensors { return {ops::avg_pool2d(in[0], g)}; },
          .reference = [=](const Arrays& in) -> Arrays { return {reference::avg_pool2d(in[0], g)}; }};
}

OpCase max_pool2d_backward_case(const Input& x, const PoolGeometry& g) {
  return {.op = "max_pool2d_backward",
          .options = describe(g),
          .inputs = {normal(reference::pooled_shape(x.shape, g), x.dtype), x},
          .run = [=](const Tensors& in) -> Tensors {
            return {ops::max_pool2d_backward(in[0], ops::max_pool2d(in[1], g).argmax, in[1].shape(), g)};
          },
          .reference = [=](const Arrays& in) -> Arrays {
            const Array argmax = reference::max_pool2d(in[1], g)[1];
            return {reference::max_pool2d_backward(in[0], argmax, in[1].shape, g)};
          },
          .gradient = {[=](const Arrays& in) { return reference::max_pool2d(in[1], g)[0]; }, {1}}};
}

OpCase avg_pool2d_backward_case(const Input& x, const PoolGeometry& g) {
  return {.op = "avg_pool2d_backward",
          .options = describe(g),
          .inputs = {normal(reference::pooled_shape(x.shape, g), x.dtype), x},
          .run = [=](const Tensors& in) -> Tensors {
            return {ops::avg_pool2d_backward(in[0], in[1].shape(), g)};
          },
          .reference = [=](const Arrays& in) -> Arrays {
            return {reference::avg_pool2d_backward(in[0], in[1].shape, g)};
          },
          .gradient = {[=](const Arrays& in) { return reference::avg_pool2d(in[1], g); }, {1}}};
}

OpCase global_avg_pool_case(const Input& x) {
  return {.op = "global_avg_pool",
          .inputs = {x},
          .run = [](const Tensors& in) -> Tensors { return {ops::global_avg_pool(in[0])}; },
          .reference = [](const Arrays& in) -> Arrays { return {reference::global_avg_pool(in[0])}; }};
}

OpCase global_avg_pool_backward_case(const Input& x) {
  return {.op = "global_avg_pool_backward",
          .inputs = {normal({x.shape[0], x.shape[3]}, x.dtype), x},
          .run = [](const Tensors& in) -> Tensors {
            return {ops::global_avg_pool_backward(in[0], in[1].shape())};
          },
          .reference = [](const Arrays& in) -> Arrays {
            return {reference::global_avg_pool_backward(in[0], in[1].shape)};
          },
          .gradient = {[](const Arrays& in) { return reference::global_avg_pool(in[1]); }, {1}}};
}

// ---- Batch normalization ----------------------------------------------------------------------------------

/// What the three ops share. Inputs: x, weight, bias, running mean, running variance, dy, the residual, and a
/// second gradient.
struct BatchNorm {
  Input x;
  bool residual = false;
  BatchNormOptions options;
  bool more = false;

  std::vector<Input> inputs() const {
    std::vector<Input> in = batch_norm_inputs(x, residual);
    if (more) in.push_back(normal(x.shape, x.dtype));
    return in;
  }
  std::string describe() const {
    return formatted("relu={} momentum={} epsilon={}", options.relu, options.momentum, options.epsilon);
  }
};

BatchNormState state_of(const Tensors& in) { return {in[1], in[2], in[3], in[4]}; }
Tensor residual_of(const Tensors& in) { return in.size() > 6 ? in[6] : Tensor(); }
Array residual_of(const Arrays& in) { return in.size() > 6 ? in[6] : Array(); }

OpCase batch_norm_case(const BatchNorm& b) {
  const BatchNormOptions o = b.options;
  return {.op = "batch_norm",
          .options = b.describe(),
          .inputs = b.inputs(),
          .run = [=](const Tensors& in) -> Tensors {
            const BatchNormResult out = ops::batch_norm(in[0], state_of(in), residual_of(in), o);
            return {out.y, out.mean, out.inverse_std, in[3], in[4]};
          },
          .reference = [=](const Arrays& in) { return reference::batch_norm(in, o); }};
}

/// relu((x - running mean) * inverse_std * weight + bias + residual).
Array frozen_reference(const Arrays& in, const BatchNormOptions& o, bool relu) {
  const Array inverse_std =
      map(in[4], [&](const Bounded& v) { return Bounded(1) / sqrt(v + Bounded(o.epsilon)); });
  return reference::normalized(in[0], in[3], inverse_std, in[1], in[2], residual_of(in), relu);
}

OpCase batch_norm_inference_case(const BatchNorm& b) {
  const BatchNormOptions o = b.options;
  return {.op = "batch_norm_inference",
          .options = b.describe(),
          .inputs = b.inputs(),
          .run = [=](const Tensors& in) -> Tensors {
            return {ops::batch_norm_inference(in[0], state_of(in), residual_of(in), o)};
          },
          .reference = [=](const Arrays& in) -> Arrays { return {frozen_reference(in, o, o.relu)}; }};
}

OpCase batch_norm_backward_case(const BatchNorm& b) {
  const BatchNormOptions o = b.options;
  OpCase c{.op = "batch_norm_backward",
           .options = b.describe(),
           .inputs = b.inputs(),
           .run = [=](const Tensors& in) -> Tensors {
             const BatchNormState state{in[1], in[2], ops::copy(in[3]), ops::copy(in[4])};
             const BatchNormResult forward = ops::batch_norm(in[0], state, residual_of(in), o);
             const BatchNormGradients g =
                 ops::batch_norm_backward(in[5], in[0], forward, state, residual_of(in).defined(), o,
                                          in.size() > 7 ? in[7] : Tensor());
             if (!residual_of(in).defined()) return {g.dx, g.dweight, g.dbias};
             return {g.dx, g.dweight, g.dbias, g.dresidual};
           },
           .reference =
               [=](const Arrays& in) {
                 const Array dy = in.size() > 7 ? map(in[5], in[7], std::plus()).stored(in[5].dtype) : in[5];
                 return reference::batch_norm_backward(dy, in[0], in[1], in[2], residual_of(in), o);
               }};
  if (b.more) return c;
  c.gradient = {[=](const Arrays& in) { return reference::batch_norm(in, o)[0]; }, {0, 1, 2}, 5};
  if (b.residual) c.gradient.inputs.push_back(6);
  return c;
}

OpCase batch_norm_inference_backward_case(const BatchNorm& b) {
  const BatchNormOptions o = b.options;
  OpCase c{.op = "batch_norm_inference_backward",
           .options = b.describe(),
           .inputs = b.inputs(),
           .run = [=](const Tensors& in) -> Tensors {
             const Tensor y = ops::batch_norm_inference(in[0], state_of(in), residual_of(in), o);
             const BatchNormGradients g =
                 ops::batch_norm_inference_backward(in[5], in[0], y, state_of(in), residual_of(in).defined(),
                                                    o, in.size() > 7 ? in[7] : Tensor());
             if (!residual_of(in).defined()) return {g.dx, g.dweight, g.dbias};
             return {g.dx, g.dweight, g.dbias, g.dresidual};
           },
           .reference = [=](const Arrays& in) -> Arrays {
             const Array dy = in.size() > 7 ? map(in[5], in[7], std::plus()).stored(in[5].dtype) : in[5];
             const Array g = o.relu ? map(dy, frozen_reference(in, o, false), pass_positive) : dy;
             return reference::frozen_gradients(g, in, o, residual_of(in).shape.rank() > 0);
           }};
  if (b.more) return c;
  c.gradient = {[=](const Arrays& in) { return frozen_reference(in, o, o.relu); }, {0, 1, 2}, 5};
  if (b.residual) c.gradient.inputs.push_back(6);
  return c;
}

void add_batch_norm(const BatchNorm& b, OpCases& cases, bool only_timed = false) {
  for (OpCase one : {batch_norm_case(b), batch_norm_inference_case(b), batch_norm_backward_case(b),
                     batch_norm_inference_backward_case(b)}) {
    if (b.more && !one.op.ends_with("_backward")) continue;
    one.only_timed = only_timed;
    cases.push_back(one);
  }
}

}  // namespace

void add_convolution_cases(OpCases& cases) {
  const Convolution all[] = {
      {{1, 1, 1, 1}, {1, 1, 1, 1}, {}},
      {{2, 5, 7, 3}, {16, 3, 3, 3}, {.padding = 1}},
      {{2, 9, 8, 16}, {17, 3, 3, 16}, {.stride = 2, .padding = 1}},
      {{1, 7, 7, 17}, {3, 3, 3, 17}, {.padding = 2, .dilation = 2}},
      {{3, 6, 5, 64}, {16, 1, 1, 64}, {}},
      {{2, 8, 9, 16}, {64, 1, 1, 16}, {.stride = 2}},
      {{1, 23, 21, 3}, {16, 7, 7, 3}, {.stride = 2, .padding = 3}},
      {{2, 1, 11, 1}, {16, 1, 5, 1}, {.stride = 1}},
      {{2, 15, 14, 1}, {16, 5, 5, 1}, {.stride = 2, .padding = 2}},
      {{1, 27, 29, 3}, {8, 11, 11, 3}, {.stride = 4, .padding = 2}},
      {{2, 10, 9, 4}, {8, 4, 4, 4}, {.stride = 4}},
      {{2, 1, 9, 3}, {1, 3, 3, 3}, {.stride = 3, .padding = 1}},
      {{1, 4, 4, 1}, {64, 3, 3, 1}, {.stride = 1, .padding = 1}},
      {{2, 12, 12, 64}, {64, 3, 3, 64}, {.padding = 1}},
      {{1, 3, 3, 3}, {5, 3, 3, 3}, {}},
      {{1, 11, 10, 2},
       {4, 3, 2, 2},
       {.stride = 3, .padding = 1, .dilation = 2}},  // rows that no window reaches
      // Channels that fill the tiles of the weight gradient; odd rows, tiles of output channels cut short.
      {{3, 5, 7, 32}, {40, 3, 3, 32}, {.padding = 1}},
      {{2, 9, 9, 32}, {16, 3, 3, 32}, {.stride = 2, .padding = 1}},
      {{1, 11, 14, 40}, {33, 5, 3, 40}, {.stride = 3, .padding = 2, .dilation = 2}},
      {{1, 2, 2, 32}, {32, 3, 3, 32}, {.padding = 3}},  // more padding than picture
      {{19, 16, 18, 8}, {48, 1, 3, 8}, {}},             // several blocks of pictures
      // Winograd's tiles: cut by every border, channels that fill no panel; what has too few
      // outputs for them.
      {{2, 7, 6, 64}, {80, 3, 3, 64}, {.padding = 1}},
      {{1, 5, 6, 80}, {64, 3, 3, 80}, {.padding = 2}},
      {{2, 6, 9, 16}, {48, 3, 3, 16}, {}},
      {{3, 2, 2, 64}, {64, 3, 3, 64}, {.padding = 1}},
      {{0, 8, 8, 64}, {64, 3, 3, 64}, {.padding = 1}},  // no picture
  };
  for (const Convolution& c : all) add_convolution(c, cases);

  const Convolution timed[] = {{{128, 32, 32, 16}, {16, 3, 3, 16}, {.padding = 1}},
                               {{32, 56, 56, 64}, {64, 3, 3, 64}, {.padding = 1}},
                               {{32, 56, 56, 64}, {256, 1, 1, 64}, {}},
                               {{32, 224, 224, 3}, {64, 7, 7, 3}, {.stride = 2, .padding = 3}}};
  for (const Convolution& c : timed) add_convolution(c, cases, true);
}

void add_pooling_cases(OpCases& cases) {
  const PoolGeometry geometries[] = {{},
                                     {.kernel = 3, .stride = 2, .padding = 1},
                                     {.kernel = 3, .stride = 1},
                                     {.kernel = 2, .stride = 3},
                                     {.kernel = 3, .stride = 2, .ceil_mode = true},
                                     {.kernel = 2, .stride = 3, .padding = 1, .ceil_mode = true},
                                     {.kernel = 1, .stride = 1}};
  for (DType dtype : float_types)
    for (const Shape& shape :
         {Shape{1, 3, 3, 1}, Shape{2, 9, 8, 3}, Shape{3, 6, 7, 17}, Shape{1, 12, 11, 64}}) {
      for (const PoolGeometry& g : geometries) {
        const Input x = normal(shape, dtype);
        cases.push_back(max_pool2d_case(x, g));
        cases.push_back(max_pool2d_case(coarse(shape, dtype), g));
        cases.push_back(max_pool2d_case(normal(shape, dtype, 1, -1e4f), g));
        cases.push_back(max_pool2d_case(with_nan(shape, dtype), g));
        cases.push_back(max_pool2d_backward_case(x, g));
        cases.push_back(avg_pool2d_case(x, g));
        cases.push_back(avg_pool2d_backward_case(x, g));
      }
      cases.push_back(global_avg_pool_case(normal(shape, dtype, 1, 5)));
      cases.push_back(global_avg_pool_backward_case(normal(shape, dtype)));
    }
}

void add_batch_norm_cases(OpCases& cases) {
  for (DType dtype : float_types) {
    for (const Shape& shape :
         {Shape{2, 1}, Shape{5, 3}, Shape{2, 3, 5, 16}, Shape{3, 7, 5, 17}, Shape{131, 64}})
      for (bool residual : {false, true})
        for (bool relu : {false, true}) {
          add_batch_norm({normal(shape, dtype), residual, {.relu = relu}}, cases);
          if (residual) add_batch_norm({normal(shape, dtype), true, {.relu = relu}, true}, cases);
          add_batch_norm(
              {normal(shape, dtype, 0.5f, 3), residual, {.momentum = 0.5f, .epsilon = 0.1f, .relu = relu}},
              cases);
        }
    for (const Shape& shape : {Shape{4, 37, 41, 16}, Shape{1031, 65}})  // work for several threads
      add_batch_norm({normal(shape, dtype), true, {.relu = true}}, cases);
    cases.push_back(batch_norm_case({with_nan({7, 13}, dtype), false, {.relu = true}}));
    cases.push_back(batch_norm_inference_case({with_nan({7, 13}, dtype), false, {.relu = true}}));
    add_batch_norm({constant({3, 5, 5, 3}, 1, dtype), false, {}}, cases);  // no variance
    add_batch_norm({normal({64, 56, 56, 64}, dtype), false, {.relu = true}}, cases, true);
    add_batch_norm({normal({64, 56, 56, 64}, dtype), true, {.relu = true}}, cases, true);
  }
}

}  // namespace la
