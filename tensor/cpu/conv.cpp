// Convolutions on the CPU: 3x3 windows at stride 1 by Winograd's algorithm, other weight gradients by a
// kernel of our own where it is the faster one, the rest by oneDNN. For that, pictures stay NHWC; weights,
// which are small, are copied from OHWI into the layout that the kernel prefers. One set of primitives is
// made for each shape and kept.
#include <map>
#include <memory>
#include <tuple>

#include "tensor/cpu/conv_weight.h"
#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/dnnl.h"
#include "tensor/cpu/winograd.h"

namespace la {
namespace {

using dnnl::algorithm;
using dnnl::memory;
using dnnl::prop_kind;
using tag = dnnl::memory::format_tag;

/// All that distinguishes one convolution from another.
struct ConvShape {
  int64_t n, h, w, in, oh, ow, out, kh, kw;
  int stride, padding, dilation;
  DType dtype;
  auto operator<=>(const ConvShape&) const = default;

  ConvShape(const Shape& x, const Shape& y, const Shape& weight, const ConvGeometry& g, DType type)
      : n(x[0]),
        h(x[1]),
        w(x[2]),
        in(x[3]),
        oh(y[1]),
        ow(y[2]),
        out(y[3]),
        kh(weight[1]),
        kw(weight[2]),
        stride(g.stride),
        padding(g.padding),
        dilation(g.dilation),
        dtype(type) {}

  memory::dims strides() const { return {stride, stride}; }
  memory::dims dilations() const { return {dilation - 1, dilation - 1}; }
  memory::dims padding_before() const { return {padding, padding}; }
  /// What makes the output's extent exact, where the last window does not reach the border.
  memory::dims padding_after() const {
    return {(oh - 1) * stride + dilation * (kh - 1) + 1 - h - padding,
            (ow - 1) * stride + dilation * (kw - 1) + 1 - w - padding};
  }
  memory::desc x() const { return onednn::desc({n, in, h, w}, dtype, tag::nhwc); }
  memory::desc y() const { return onednn::desc({n, out, oh, ow}, dtype, tag::nhwc); }
  memory::desc weight(DType type) const { return onednn::desc({out, in, kh, kw}, type, tag::ohwi); }
  memory::desc any_weight(DType type) const { return onednn::desc({out, in, kh, kw}, type, tag::any); }
};

/// One of the three passes of a convolution.
template <class Primitive>
struct Pass {
  typename Primitive::primitive_desc desc;
  Primitive primitive;
  explicit Pass(const typename Primitive::primitive_desc& d) : desc(d), primitive(d) {}
};

using Forward = Pass<dnnl::convolution_forward>;
using BackwardData = Pass<dnnl::convolution_backward_data>;
using BackwardWeight = Pass<dnnl::convolution_backward_weights>;

dnnl::convolution_forward::primitive_desc forward_desc(const ConvShape& s) {
  return {{prop_kind::forward_training, algorithm::convolution_direct, s.x(), s.any_weight(s.dtype), s.y(),
           s.strides(), s.dilations(), s.padding_before(), s.padding_after()},
          onednn::attributes(),
          onednn::engine()};
}

std::unique_ptr<Forward> make_pass(const ConvShape& s, Forward*) {
  return std::make_unique<Forward>(forward_desc(s));
}

std::unique_ptr<BackwardData> make_pass(const ConvShape& s, BackwardData*) {
  return std::make_unique<BackwardData>(dnnl::convolution_backward_data::primitive_desc(
      {algorithm::convolution_direct, s.x(), s.any_weight(s.dtype), s.y(), s.strides(), s.dilations(),
       s.padding_before(), s.padding_after()},
      onednn::attributes(), onednn::engine(), forward_desc(s)));
}

std::unique_ptr<BackwardWeight> make_pass(const ConvShape& s, BackwardWeight*) {
  return std::make_unique<BackwardWeight>(dnnl::convolution_backward_weights::primitive_desc(
      {algorithm::convolution_direct, s.x(), s.any_weight(DType::f32), s.y(), s.strides(), s.dilations(),
       s.padding_before(), s.padding_after()},
      onednn::attributes(), onednn::engine(), forward_desc(s)));
}

/// The pass for a shape, made at its first use. Not for several threads at once: ops run on one.
template <class P>
P& pass_for(const ConvShape& shape) {
  static std::map<ConvShape, std::unique_ptr<P>> passes;
  auto& pass = passes[shape];
  if (!pass) pass = make_pass(shape, static_cast<P*>(nullptr));
  return *pass;
}

Tensor converted(CpuBackend& cpu, const Tensor& x, DType dtype) {
  const Tensor y(x.shape(), dtype);
  cpu.cast(x, y);
  return y;
}

}  // namespace

// Where oneDNN cannot multiply numbers of a type (onednn::arithmetic_type), it gets copies of
// one that it can.

void CpuBackend::conv2d(const Tensor& x, const Tensor& weight, const ConvGeometry& geometry,
                        const Tensor& y) {
  const DType type = onednn::arithmetic_type(x.dtype());
  if (suits_winograd(ConvPass::forward, y.shape(), weight.shape(), geometry, type))
    return winograd_conv2d(x, weight, geometry, y);
  if (type != x.dtype()) {
    const Tensor sums(y.shape(), type);
    conv2d(converted(*this, x, type), converted(*this, weight, type), geometry, sums);
    return cast(sums, y);
  }
  onednn::guarded("a convolution", [&] {
    const ConvShape shape(x.shape(), y.shape(), weight.shape(), geometry, x.dtype());
    Forward& pass = pass_for<Forward>(shape);
    Tensor storage;
    onednn::run(pass.primitive, pass.desc.scratchpad_desc(),
                {{DNNL_ARG_SRC, onednn::wrap(shape.x(), x)},
                 {DNNL_ARG_WEIGHTS,
                  onednn::reordered(weight, shape.weight(weight.dtype()), pass.desc.weights_desc(), storage)},
                 {DNNL_ARG_DST, onednn::wrap(shape.y(), y)}});
  });
}

void CpuBackend::conv2d_backward_data(const Tensor& dy, const Tensor& weight, const ConvGeometry& geometry,
                                      const Tensor& dx) {
  const DType type = onednn::arithmetic_type(dy.dtype());
  if (suits_winograd(ConvPass::data_gradient, dx.shape(), weight.shape(), geometry, type))
    return winograd_conv2d_backward_data(dy, weight, geometry, dx);
  if (type != dy.dtype()) {
    const Tensor sums(dx.shape(), type);
    conv2d_backward_data(converted(*this, dy, type), converted(*this, weight, type), geometry, sums);
    return cast(sums, dx);
  }
  onednn::guarded("a convolution's data gradient", [&] {
    const ConvShape shape(dx.shape(), dy.shape(), weight.shape(), geometry, dy.dtype());
    BackwardData& pass = pass_for<BackwardData>(shape);
    Tensor storage;
    onednn::run(pass.primitive, pass.desc.scratchpad_desc(),
                {{DNNL_ARG_DIFF_DST, onednn::wrap(shape.y(), dy)},
                 {DNNL_ARG_WEIGHTS,
                  onednn::reordered(weight, shape.weight(weight.dtype()), pass.desc.weights_desc(), storage)},
                 {DNNL_ARG_DIFF_SRC, onednn::wrap(shape.x(), dx)}});
  });
}

void CpuBackend::conv2d_backward_weight(const Tensor& dy, const Tensor& x, const ConvGeometry& geometry,
                                        const Tensor& dweight) {
  const DType type = onednn::arithmetic_type(x.dtype());
  if (suits_winograd(ConvPass::weight_gradient, dy.shape(), dweight.shape(), geometry, type))
    return winograd_conv2d_backward_weight(dy, x, geometry, dweight);
  if (has_fast_weight_gradient(x.shape(), dweight.shape(), type))
    return fast_weight_gradient(dy, x, geometry, dweight);
  if (type != x.dtype())
    return conv2d_backward_weight(converted(*this, dy, type), converted(*this, x, type), geometry, dweight);
  onednn::guarded("a convolution's weight gradient", [&] {
    const ConvShape shape(x.shape(), dy.shape(), dweight.shape(), geometry, dy.dtype());
    BackwardWeight& pass = pass_for<BackwardWeight>(shape);
    const memory::desc ours = shape.weight(DType::f32), theirs = pass.desc.diff_weights_desc();
    const bool direct = ours == theirs;
    const Tensor result = direct ? dweight : Tensor({static_cast<int64_t>(theirs.get_size())}, DType::u8);
    onednn::run(pass.primitive, pass.desc.scratchpad_desc(),
                {{DNNL_ARG_SRC, onednn::wrap(shape.x(), x)},
                 {DNNL_ARG_DIFF_DST, onednn::wrap(shape.y(), dy)},
                 {DNNL_ARG_DIFF_WEIGHTS, onednn::wrap(theirs, result)}});
    if (!direct) onednn::reorder(theirs, result, ours, dweight);
  });
}

}  // namespace la
