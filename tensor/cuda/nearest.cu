// The k nearest rows of a table on the GPU: all scores of a group of queries by one matrix product in f32,
// then exact selection.
#include <algorithm>

#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/selection.h"
#include "tensor/ops.h"

namespace la {
namespace {

using namespace cuda;

constexpr int threads = 256;
constexpr int64_t score_budget = int64_t{1} << 29;  // floats: 2 GiB

/// Puts row include[q] into the keys of query q, in place of the smallest key, if it is not there. One block
/// for each query, which reads its keys once.
__global__ void force_kernel(int64_t n, int64_t k, const float* scores, const int32_t* include,
                             Reporter report, Key* keys) {
  Key* own = keys + blockIdx.x * k;
  const int64_t forced = include[blockIdx.x];
  const bool is_valid = forced >= 0 && forced < n;
  if (!is_valid && threadIdx.x == 0) report(forced, n - 1);
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
  if (found == 0 && ~smallest == complement) own[place] = key_of(scores[blockIdx.x * n + forced], forced);
}

}  // namespace

void CudaBackend::nearest_rows(const Tensor& queries, const Tensor& table, const Tensor& include,
                               const TopK& out) {
  const int64_t n = table.size(0), k = out.indices.size(1), count = queries.size(0);
  const int64_t group = std::clamp<int64_t>(score_budget / n, 1, std::max<int64_t>(count, 1));
  for (int64_t begin = 0; begin < count; begin += group) {
    const int64_t end = std::min(begin + group, count);
    const Tensor scores({end - begin, n}, DType::f32, Device::cuda());
    matmul(queries.rows(begin, end), table, {.transpose_b = true}, scores);
    const Tensor keys =
        select_largest(scores, k, Reporter("nearest_rows: the scores of query {} contain a NaN"));
    if (include.defined())
      launch("nearest_rows_include", force_kernel, {static_cast<unsigned>(end - begin), threads}, n, k,
             scores.data<float>(), include.rows(begin, end).data<int32_t>(),
             Reporter("nearest_rows: index {} is not in 0 to {}"),
             reinterpret_cast<Key*>(keys.data<int64_t>()));
    write_selection(keys, SelectionOrder::by_index,
                    {out.values.rows(begin, end), out.indices.rows(begin, end)});
  }
}

}  // namespace la
