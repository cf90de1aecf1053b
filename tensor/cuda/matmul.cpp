// Matrix products by cuBLASLt, which stores matrices column by column. Read that way, our row-major [R, C] is
// its transpose, so that c = op(a) op(b) is asked for as c^T = op(b)^T op(a)^T: same memory, operands
// swapped.
#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <bit>
#include <map>
#include <memory>
#include <tuple>

#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/library.h"

namespace la {
namespace {

template <class F>
F* load(const char* name) {
  return cuda::cublaslt_library().symbol<F>(name);
}

struct Functions {
#define LA_CUBLASLT_FUNCTION(name) \
  decltype(cublasLt##name)* name = load<decltype(cublasLt##name)>("cublasLt" #name)
  LA_CUBLASLT_FUNCTION(Create);
  LA_CUBLASLT_FUNCTION(GetStatusString);
  LA_CUBLASLT_FUNCTION(MatmulDescCreate);
  LA_CUBLASLT_FUNCTION(MatmulDescDestroy);
  LA_CUBLASLT_FUNCTION(MatmulDescSetAttribute);
  LA_CUBLASLT_FUNCTION(MatrixLayoutCreate);
  LA_CUBLASLT_FUNCTION(MatrixLayoutDestroy);
  LA_CUBLASLT_FUNCTION(MatmulPreferenceCreate);
  LA_CUBLASLT_FUNCTION(MatmulPreferenceDestroy);
  LA_CUBLASLT_FUNCTION(MatmulPreferenceSetAttribute);
  LA_CUBLASLT_FUNCTION(MatmulAlgoGetHeuristic);
  LA_CUBLASLT_FUNCTION(Matmul);
#undef LA_CUBLASLT_FUNCTION
};

const Functions& functions() {
  static const Functions all;
  return all;
}

void check_cublas(cublasStatus_t status, std::string_view what) {
  check(status == CUBLAS_STATUS_SUCCESS, "cuBLASLt: {}: {}", what, functions().GetStatusString(status));
}

cublasLtHandle_t handle() {
  static const cublasLtHandle_t only = [] {
    cublasLtHandle_t result = nullptr;
    check_cublas(functions().Create(&result), "starting");
    return result;
  }();
  return only;
}

// Descriptors of cuBLASLt that destroy themselves.
struct Destroy {
  void operator()(cublasLtMatmulDesc_t d) const { functions().MatmulDescDestroy(d); }
  void operator()(cublasLtMatrixLayout_t d) const { functions().MatrixLayoutDestroy(d); }
  void operator()(cublasLtMatmulPreference_t d) const { functions().MatmulPreferenceDestroy(d); }
};
template <class Handle>
using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Destroy>;

Owned<cublasLtMatrixLayout_t> make_layout(const Tensor& x) {
  cublasLtMatrixLayout_t layout = nullptr;
  const auto rows = static_cast<uint64_t>(x.size(1)), columns = static_cast<uint64_t>(x.size(0));
  check_cublas(functions().MatrixLayoutCreate(&layout, x.dtype() == DType::f32 ? CUDA_R_32F : CUDA_R_16BF,
                                              rows, columns, x.size(1)),
               "describing a matrix");
  return Owned<cublasLtMatrixLayout_t>(layout);
}

/// Sums are f32 in either type; with f32 operands, tensor cores (TF32) only where they are allowed.
Owned<cublasLtMatmulDesc_t> make_operation(DType dtype, const MatmulOptions& options) {
  const bool tf32 = dtype == DType::f32 && cuda::permissions().tf32;
  cublasLtMatmulDesc_t operation = nullptr;
  check_cublas(functions().MatmulDescCreate(
                   &operation, tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F),
               "describing a product");
  Owned<cublasLtMatmulDesc_t> result(operation);
  const auto set = [&](cublasLtMatmulDescAttributes_t name, bool transpose) {
    const auto value = static_cast<int32_t>(transpose ? CUBLAS_OP_T : CUBLAS_OP_N);
    check_cublas(functions().MatmulDescSetAttribute(operation, name, &value, sizeof value),
                 "describing a product");
  };
  set(CUBLASLT_MATMUL_DESC_TRANSA, options.transpose_b);
  set(CUBLASLT_MATMUL_DESC_TRANSB, options.transpose_a);
  return result;
}

/// The largest power of two up to 256 that divides the address.
uint32_t alignment_of(const Tensor& x) {
  constexpr int most = 8;
  return 1u << std::min(most, std::countr_zero(reinterpret_cast<uintptr_t>(x.raw())));
}

Owned<cublasLtMatmulPreference_t> make_preference(const Tensor& a, const Tensor& b, const Tensor& c) {
  cublasLtMatmulPreference_t preference = nullptr;
  check_cublas(functions().MatmulPreferenceCreate(&preference), "describing a preference");
  Owned<cublasLtMatmulPreference_t> result(preference);
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t name, auto value) {
    check_cublas(functions().MatmulPreferenceSetAttribute(preference, name, &value, sizeof value),
                 "describing a preference");
  };
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{1} << 25);
  // Sums that are computed in parts are put together in f32.
  set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(b));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(a));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(c));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(c));
  return result;
}

/// A product of matrices of given shapes, types and alignments.
struct Product {
  Owned<cublasLtMatmulDesc_t> operation;
  Owned<cublasLtMatrixLayout_t> a, b, c;
  cublasLtMatmulHeuristicResult_t algorithm{};
  bool is_supported = false;

  Product(const Tensor& left, const Tensor& right, const MatmulOptions& options, const Tensor& result)
      : operation(make_operation(left.dtype(), options)),
        a(make_layout(left)),
        b(make_layout(right)),
        c(make_layout(result)) {
    int found = 0;
    const cublasStatus_t status =
        functions().MatmulAlgoGetHeuristic(handle(), operation.get(), b.get(), a.get(), c.get(), c.get(),
                                           make_preference(left, right, result).get(), 1, &algorithm, &found);
    if (status != CUBLAS_STATUS_NOT_SUPPORTED) check_cublas(status, "choosing an algorithm");
    is_supported = status == CUBLAS_STATUS_SUCCESS && found > 0 && algorithm.state == CUBLAS_STATUS_SUCCESS;
  }
};

const Product& product_for(const Tensor& a, const Tensor& b, const MatmulOptions& options, const Tensor& c) {
  using Key = std::tuple<DType, int64_t, int64_t, int64_t, bool, bool, std::array<uint32_t, 3>, bool>;
  // Ops run on one thread. Never destroyed: cuBLASLt may be gone at the end of the program.
  static auto& products = *new std::map<Key, std::unique_ptr<Product>>;
  auto& product = products[{a.dtype(),
                            c.size(0),
                            c.size(1),
                            a.size(options.transpose_a ? 0 : 1),
                            options.transpose_a,
                            options.transpose_b,
                            {alignment_of(a), alignment_of(b), alignment_of(c)},
                            cuda::permissions().tf32}];
  if (!product) product = std::make_unique<Product>(a, b, options, c);
  return *product;
}

void run(const Product& product, const Tensor& a, const Tensor& b, const MatmulOptions& options,
         const Tensor& c) {
  const size_t bytes = product.algorithm.workspaceSize;
  Tensor workspace;
  if (bytes > 0) workspace = Tensor({static_cast<int64_t>(bytes)}, DType::u8, Device::cuda());
  check_cublas(functions().Matmul(handle(), product.operation.get(), &options.alpha, b.raw(), product.b.get(),
                                  a.raw(), product.a.get(), &options.beta, c.raw(), product.c.get(), c.raw(),
                                  product.c.get(), &product.algorithm.algo,
                                  bytes > 0 ? workspace.raw() : nullptr, bytes, cuda::stream()),
               "a matrix product");
}

}  // namespace

void CudaBackend::matmul(const Tensor& a, const Tensor& b, const MatmulOptions& options, const Tensor& c) {
  if (c.numel() == 0) return;
  if (a.numel() == 0)  // sums of nothing
    return options.beta == 0.0f ? fill(0.0f, c) : scale(c, options.beta, c);

  const Product& product = product_for(a, b, options, c);
  if (product.is_supported) return run(product, a, b, options, c);
  check(a.dtype() == DType::bf16, "cuBLASLt cannot multiply matrices of shapes {} and {} in f32", a.shape(),
        b.shape());
  const auto as_f32 = [](const Tensor& x) { return Tensor(x.shape(), DType::f32, Device::cuda()); };
  const Tensor wide_a = as_f32(a), wide_b = as_f32(b), wide_c = as_f32(c);
  cast(a, wide_a);
  cast(b, wide_b);
  if (options.beta != 0.0f) cast(c, wide_c);
  matmul(wide_a, wide_b, options, wide_c);
  cast(wide_c, c);
}

}  // namespace la
