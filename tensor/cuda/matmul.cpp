// Matrix products by cuBLASLt, which stores matrices column by column. Read that way, our row-major
// [R, C] is its transpose, so that c = op(a) op(b) is asked for as c^T = op(b)^T op(a)^T: same memory,
// operands swapped.
#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <bit>
#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/estimate.h"
#include "tensor/cuda/library.h"
#include "tensor/cuda/timer.h"

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

/// The first `width` columns of x.
Owned<cublasLtMatrixLayout_t> make_layout(const Tensor& x, int64_t width) {
  cublasLtMatrixLayout_t layout = nullptr;
  check_cublas(functions().MatrixLayoutCreate(&layout, x.dtype() == DType::f32 ? CUDA_R_32F : CUDA_R_16BF,
                                              static_cast<uint64_t>(width), static_cast<uint64_t>(x.size(0)),
                                              x.size(1)),
               "describing a matrix");
  return Owned<cublasLtMatrixLayout_t>(layout);
}

/// c = alpha op(a) op(b) + beta c; c may have more columns than the product, which stay as they are.
struct Task {
  const Tensor &a, &b, &c;
  MatmulOptions options;
  bool tf32 = cuda::permissions().tf32;  // whether tensor cores may round f32 operands

  int64_t columns() const { return b.size(options.transpose_b ? 0 : 1); }
};

/// Sums are f32 in either type.
Owned<cublasLtMatmulDesc_t> make_operation(const Task& task) {
  const MatmulOptions& options = task.options;
  const bool tf32 = task.a.dtype() == DType::f32 && task.tf32;
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

Owned<cublasLtMatmulPreference_t> make_preference(const Task& task) {
  const auto& [a, b, c, options, tf32] = task;
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

/// A product of matrices of given shapes, types and alignments, and the algorithms for it, the one that is
/// expected to be the fastest first; none where cuBLASLt has none.
struct Product {
  Owned<cublasLtMatmulDesc_t> operation;
  Owned<cublasLtMatrixLayout_t> a, b, c;
  std::vector<cublasLtMatmulHeuristicResult_t> algorithms;
  bool measured = false;

  explicit Product(const Task& task)
      : operation(make_operation(task)),
        a(make_layout(task.a, task.a.size(1))),
        b(make_layout(task.b, task.b.size(1))),
        c(make_layout(task.c, task.columns())) {
    constexpr int most = 8;
    algorithms.resize(most);
    int found = 0;
    const cublasStatus_t status =
        functions().MatmulAlgoGetHeuristic(handle(), operation.get(), b.get(), a.get(), c.get(), c.get(),
                                           make_preference(task).get(), most, algorithms.data(), &found);
    if (status != CUBLAS_STATUS_NOT_SUPPORTED) check_cublas(status, "choosing an algorithm");
    algorithms.resize(static_cast<size_t>(status == CUBLAS_STATUS_SUCCESS ? found : 0));
    std::erase_if(algorithms, [](const auto& one) { return one.state != CUBLAS_STATUS_SUCCESS; });
  }
};

Product& product_for(const Task& task) {
  using Key = std::tuple<DType, DType, std::array<int64_t, 4>, bool, bool, std::array<uint32_t, 3>, bool>;
  // Ops run on one thread. Never destroyed: cuBLASLt may be gone at the end of the program.
  static auto& products = *new std::map<Key, std::unique_ptr<Product>>;
  const auto& [a, b, c, options, tf32] = task;
  auto& product = products[{a.dtype(),
                            c.dtype(),
                            {c.size(0), task.columns(), a.size(options.transpose_a ? 0 : 1), c.size(1)},
                            options.transpose_a,
                            options.transpose_b,
                            {alignment_of(a), alignment_of(b), alignment_of(c)},
                            tf32}];
  if (!product) product = std::make_unique<Product>(task);
  return *product;
}

void run(const Product& product, const cublasLtMatmulHeuristicResult_t& algorithm, const Task& task,
         const Tensor& c) {
  const size_t bytes = algorithm.workspaceSize;
  Tensor workspace;
  if (bytes > 0) workspace = Tensor({static_cast<int64_t>(bytes)}, DType::u8, Device::cuda());
  check_cublas(functions().Matmul(handle(), product.operation.get(), &task.options.alpha, task.b.raw(),
                                  product.b.get(), task.a.raw(), product.a.get(), &task.options.beta, c.raw(),
                                  product.c.get(), c.raw(), product.c.get(), &algorithm.algo,
                                  bytes > 0 ? workspace.raw() : nullptr, bytes, cuda::stream()),
               "a matrix product");
}

/// Keeps the fastest algorithm. What is measured is written to a matrix of its own if c is to be added to.
void measure(Product& product, const Task& task) {
  const Tensor& c = task.c;
  const Tensor result = task.options.beta == 0.0f ? c : Tensor(c.shape(), c.dtype(), c.device());
  cuda::keep_fastest(product.algorithms,
                     [&](const auto& algorithm) { run(product, algorithm, task, result); });
  product.measured = true;
}

/// False where cuBLASLt has no algorithm.
bool multiply(const Task& task) {
  Product& product = product_for(task);
  if (product.algorithms.empty()) return false;
  if (cuda::permissions().autotune && !product.measured && !cuda::is_recording()) measure(product, task);
  run(product, product.algorithms.front(), task, task.c);
  return true;
}

}  // namespace

void CudaBackend::matmul(const Tensor& a, const Tensor& b, const MatmulOptions& options, const Tensor& c) {
  if (c.numel() == 0) return;
  if (a.numel() == 0)  // sums of nothing
    return options.beta == 0.0f ? fill(0.0f, c) : scale(c, options.beta, c);

  if (multiply({a, b, c, options})) return;
  check(a.dtype() == DType::bf16, "cuBLASLt cannot multiply matrices of shapes {} and {} in f32", a.shape(),
        b.shape());
  const auto as_f32 = [](const Tensor& x) {
    return x.dtype() == DType::f32 ? x : Tensor(x.shape(), DType::f32, Device::cuda());
  };
  const Tensor wide_a = as_f32(a), wide_b = as_f32(b), wide_c = as_f32(c);
  cast(a, wide_a);
  cast(b, wide_b);
  if (options.beta != 0.0f && c.dtype() != DType::f32) cast(c, wide_c);
  matmul(wide_a, wide_b, options, wide_c);
  if (c.dtype() != DType::f32) cast(wide_c, c);
}

void cuda::estimate_products(const Tensor& a, const Tensor& b, const Tensor& scores) {
  check(multiply({.a = a, .b = b, .c = scores, .options = {.transpose_b = true}, .tf32 = true}),
        "cuBLASLt cannot multiply matrices of shapes {} and {} in TF32", a.shape(), b.shape());
}

}  // namespace la
