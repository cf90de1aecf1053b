// The k nearest rows of a table on the GPU: the scores of a group of queries by one matrix product,
// then exact selection. Of many scores, tensor cores make estimates, and only those that may be
// selected are computed.
#include <algorithm>
#include <cmath>

#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/estimate.h"
#include "tensor/cuda/selection.h"

namespace la {
namespace {

using namespace cuda;

constexpr int threads = 256;
constexpr int warps = threads / warp_size;
constexpr int64_t memory_budget = int64_t{2} << 30;  // bytes, of scores and what selecting from them takes

/// Raises *largest to the greatest length of a row, one warp for each row. Lengths are not negative, so that
/// their bits as integers are in their order, and NaN comes last. Reads the rows once.
template <int width>
__global__ void largest_norm_kernel(int64_t rows, int64_t depth, const float* x, float* largest) {
  constexpr int at_once = 4;
  const int64_t all_warps = global_threads() / warp_size;
  float most = 0.0f;
  for (int64_t first = global_thread() / warp_size; first < rows; first += at_once * all_warps) {
    const float* row[at_once];
    for (int i = 0; i < at_once; ++i)
      row[i] = x + (first + i * all_warps < rows ? first + i * all_warps : first) * depth;
    float square[at_once];
    warp_dots<width, at_once>(row, row, depth, square);
    for (int i = 0; i < at_once; ++i)
      most = square[i] > most || square[i] != square[i] ? square[i] : most;  // a NaN stays
  }
  const int bits = block_reduce(__float_as_int(std::sqrt(most)), Max(), 0);
  if (threadIdx.x == 0) atomicMax(reinterpret_cast<int*>(largest), bits);
}

/// errors[q] = how far an estimate of a score of query q may be off; one warp for each query.
__global__ void estimate_errors_kernel(int64_t count, int64_t depth, float relative, const float* queries,
                                       const float* largest, float* errors) {
  constexpr float rounding = 1.001f, underflow = 0x1p-100f;  // of the lengths; of tiny products
  const int64_t q = global_thread() / warp_size;
  if (q >= count) return;
  const float* query = queries + q * depth;
  const float norm = std::sqrt(warp_dot<1>(query, query, depth));
  if (lane_id() == 0) errors[q] = rounding * relative * norm * *largest + underflow;
}

/// Puts row include[q], unless it is of another part, into the keys of query q, in place of the smallest key, if it is not
/// there. One block for each query, which reads its keys once.
__global__ void force_kernel(int64_t n, int64_t k, Products products, const int32_t* include, Reporter report,
                             Key* keys) {
  Key* own = keys + blockIdx.x * k;
  const int64_t forced = include[blockIdx.x];
  const bool is_valid = forced >= 0 && forced < n;
  if (!is_valid && forced != absent_row && threadIdx.x == 0) report(forced, n - 1);
  Key smallest = ~Key{0};
  int64_t place = 0;
  int found = is_valid ? 0 : 1;
  for (int64_t j = threadIdx.x; j < k; j += threads) {
    if (own[j] < smallest) {
      smallest = own[j];
      place = j;
    }
    if (index_of(own[j]) == forced) found = 1;
  }
  // No two keys are equal, so that one thread alone has the smallest.
  const Key complement = block_reduce(~smallest, Max(), Key{0});
  found = block_reduce(found, Max(), 0);
  if (found != 0) return;
  const float score = warp_dot<1>(products.queries + blockIdx.x * products.depth,
                                  products.table + forced * products.depth, products.depth);
  if (~smallest == complement) own[place] = key_of(score, forced);
}

Tensor floats(const Shape& shape) { return Tensor(shape, DType::f32, Device::cuda()); }

/// errors [Q], for estimates of queries [Q, D] with rows of the table [N, D].
Tensor estimate_errors(const Tensor& queries, const Tensor& table) {
  const int64_t depth = table.size(1);
  const Tensor largest = Tensor::zeros({1}, DType::f32, Device::cuda()), errors = floats({queries.size(0)});
  dispatch_width<float>(depth, aligned_for_vectors(table.data<float>()), [&](auto width) {
    const auto blocks = static_cast<unsigned>(std::clamp<int64_t>(
        8 * device_properties().multiprocessors, 1, std::max<int64_t>(blocks_for(table.size(0), warps), 1)));
    launch("nearest_rows_norms", largest_norm_kernel<width()>, {blocks, threads}, table.size(0), depth,
           table.data<float>(), largest.data<float>());
  });
  launch("nearest_rows_errors", estimate_errors_kernel, {blocks_for(queries.size(0), warps), threads},
         queries.size(0), depth, estimate_error(depth), queries.data<float>(), largest.data<float>(),
         errors.data<float>());
  return errors;
}

}  // namespace

void CudaBackend::nearest_rows(const Tensor& queries, const Tensor& table, const Tensor& include,
                               const TopK& out) {
  const int64_t n = table.size(0), depth = table.size(1), k = out.indices.size(1), count = queries.size(0);
  const bool by_estimates = selects_by_estimates(n, k);
  // Rows of estimates are as wide as lets them be read 16 bytes at a time, and aligned to what a cache moves.
  const int64_t stride = by_estimates ? (n + 31) / 32 * 32 : n;
  const Tensor errors = by_estimates && count > 0 ? estimate_errors(queries, table) : Tensor();
  const Reporter nan_report("nearest_rows: the scores of query {} contain a NaN");
  const int64_t bytes_of_row = stride * static_cast<int64_t>(sizeof(float)) + selection_bytes(n, k);
  const int64_t group =
      std::clamp<int64_t>(memory_budget / bytes_of_row, 1, std::clamp<int64_t>(count, 1, most_score_rows));
  for (int64_t begin = 0; begin < count; begin += group) {
    const int64_t end = std::min(begin + group, count);
    const Tensor some = queries.rows(begin, end), values = floats({end - begin, stride});
    const Scores scores{values.data<float>(), end - begin, n, stride, begin};
    const Products products{some.data<float>(), table.data<float>(), depth};
    Tensor keys;
    if (by_estimates) {
      // Tensor cores want the number of scores to be a multiple of 8; the few others are computed.
      const int64_t estimated = n / 8 * 8;
      estimate_products(some, table.rows(0, estimated), values);
      compute_products({some.data<float>(), table.rows(estimated, n).data<float>(), depth},
                       {scores.data + estimated, scores.rows, n - estimated, stride});
      keys = select_largest_products(products, scores, errors.data<float>() + begin, k, nan_report);
    } else {
      matmul(some, table, {.transpose_b = true}, values);
      keys = select_largest(scores, k, nan_report);
    }
    if (include.defined())
      launch("nearest_rows_include", force_kernel, {static_cast<unsigned>(end - begin), threads}, n, k,
             products, include.rows(begin, end).data<int32_t>(),
             Reporter("nearest_rows: index {} is not in 0 to {}"),
             reinterpret_cast<Key*>(keys.data<int64_t>()));
    write_selection(keys, SelectionOrder::by_index,
                    {out.values.rows(begin, end), out.indices.rows(begin, end)});
  }
}

}  // namespace la
