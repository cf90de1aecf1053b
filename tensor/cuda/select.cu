// Selection on the GPU: the k largest of each row, and the marks of close neighbors.
#include <algorithm>

#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/selection.h"

namespace la {
namespace {

using namespace cuda;

constexpr int threads = 256;

struct Labels {
  const int32_t* label;  // [n, labelings]
  int64_t n, labelings;

  /// In how many labelings row b has the label of `own`; counts no further than `enough`.
  __device__ int64_t shared_by(const int32_t* own, int64_t b, int64_t enough) const {
    int64_t count = 0;
    for (int64_t h = 0; h < labelings && count < enough; ++h) count += own[h] == label[b * labelings + h];
    return count;
  }
};

/// mask_ij says in which labelings row indices_ij has the label own_i; one thread each. Reads up to H
/// labels for each index, which lie side by side.
__global__ void same_cluster_mask_kernel(int64_t count, int64_t width, Labels labels, const int32_t* own,
                                         const int32_t* indices, SharedClusters shared, Reporter report,
                                         uint8_t* mask) {
  const int64_t enough = shared == SharedClusters::any ? 1 : labels.labelings;
  for (int64_t i = global_thread(); i < count; i += global_threads()) {
    const int64_t other = indices[i];
    const bool wrong = other < 0 || other >= labels.n;
    if (wrong) report(other, labels.n - 1);
    const int64_t times = wrong ? 0 : labels.shared_by(own + i / width * labels.labelings, other, enough);
    mask[i] = static_cast<uint8_t>(shared == SharedClusters::count ? times : times == enough);
  }
}

}  // namespace

void CudaBackend::top_k(const Tensor& scores, const TopK& out) {
  const Reporter nan_report("top_k: the scores of row {} contain a NaN");
  const int64_t rows = scores.size(0), n = scores.size(1);
  for (int64_t begin = 0; begin < rows; begin += most_score_rows) {
    const int64_t end = std::min(begin + most_score_rows, rows);
    const Tensor keys = select_largest({scores.rows(begin, end).data<float>(), end - begin, n, n, begin},
                                       out.indices.size(1), nan_report);
    write_selection(keys, SelectionOrder::by_score,
                    {out.values.rows(begin, end), out.indices.rows(begin, end)});
  }
}

void CudaBackend::same_cluster_mask(const Tensor& labels, const Tensor& own, const Tensor& indices,
                                    SharedClusters shared, const Tensor& mask) {
  launch("same_cluster_mask", same_cluster_mask_kernel, {blocks_for(mask.numel(), threads), threads},
         mask.numel(), mask.size(1), Labels{labels.data<int32_t>(), labels.size(0), labels.size(1)},
         own.data<int32_t>(), indices.data<int32_t>(), shared,
         Reporter("same_cluster_mask: index {} is not in 0 to {}"), mask.data<uint8_t>());
}

}  // namespace la
