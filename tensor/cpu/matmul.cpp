// Matrix products on the CPU by oneDNN.
#include <map>
#include <memory>

#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/dnnl.h"

namespace la {
namespace {

void matmul_f32(const Tensor& a, const Tensor& b, const MatmulOptions& options, const Tensor& c) {
  const int64_t rows = c.size(0), columns = c.size(1), inner = options.transpose_a ? a.size(0) : a.size(1);
  const auto status = dnnl_sgemm(options.transpose_a ? 'T' : 'N', options.transpose_b ? 'T' : 'N', rows,
                                 columns, inner, options.alpha, a.data<float>(), a.size(1), b.data<float>(),
                                 b.size(1), options.beta, c.data<float>(), columns);
  check(status == dnnl_success, "oneDNN refused a matrix product of {} and {}", a.shape(), b.shape());
}

/// bf16 operands, sums in f32, result rounded to bf16.
void matmul_bf16(const Tensor& a, const Tensor& b, const MatmulOptions& options, const Tensor& c) {
  using dnnl::memory;
  const auto layout = [](const Tensor& x, bool transpose) {
    const auto tag = transpose ? memory::format_tag::ba : memory::format_tag::ab;
    return transpose ? onednn::desc({x.size(1), x.size(0)}, DType::bf16, tag)
                     : onednn::desc({x.size(0), x.size(1)}, DType::bf16, tag);
  };
  const memory::desc left = layout(a, options.transpose_a), right = layout(b, options.transpose_b),
                     out = layout(c, false);

  struct Product {
    dnnl::matmul::primitive_desc desc;
    dnnl::matmul primitive;
  };
  using Key = std::tuple<int64_t, int64_t, int64_t, bool, bool, float, float>;
  static std::map<Key, std::unique_ptr<Product>> products;  // ops run on one thread
  auto& product = products[{c.size(0), c.size(1), left.dims()[1], options.transpose_a, options.transpose_b,
                            options.alpha, options.beta}];
  if (!product) {
    dnnl::primitive_attr attr = onednn::attributes();
    if (options.alpha != 1.0f) attr.set_output_scales(0, {options.alpha});
    if (options.beta != 0.0f) {
      dnnl::post_ops sum;
      sum.append_sum(options.beta);
      attr.set_post_ops(sum);
    }
    const dnnl::matmul::primitive_desc desc({left, right, out}, attr, onednn::engine());
    product = std::make_unique<Product>(Product{desc, dnnl::matmul(desc)});
  }
  onednn::run(product->primitive, product->desc.scratchpad_desc(),
              {{DNNL_ARG_SRC, onednn::wrap(left, a)},
               {DNNL_ARG_WEIGHTS, onednn::wrap(right, b)},
               {DNNL_ARG_DST, onednn::wrap(out, c)}});
}

}  // namespace

bool CpuBackend::multiplies_bf16() const { return onednn::arithmetic_type(DType::bf16) == DType::bf16; }

void CpuBackend::matmul(const Tensor& a, const Tensor& b, const MatmulOptions& options, const Tensor& c) {
  if (a.dtype() == DType::f32) return matmul_f32(a, b, options, c);
  if (multiplies_bf16()) return onednn::guarded("a matrix product", [&] { matmul_bf16(a, b, options, c); });
  const Tensor wide_a(a.shape()), wide_b(b.shape()), sums(c.shape());
  cast(a, wide_a);
  cast(b, wide_b);
  if (options.beta != 0.0f) cast(c, sums);
  matmul_f32(wide_a, wide_b, options, sums);
  cast(sums, c);
}

}  // namespace la
