// Selection on the CPU: the k largest, and the marks of close neighbors.
#include <algorithm>

#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/indices.h"
#include "tensor/cpu/kth_largest.h"
#include "tensor/parallel.h"

namespace la {

void CpuBackend::top_k(const Tensor& scores, const TopK& out) {
  const int64_t n = scores.size(1), k = out.indices.size(1);
  parallel_for(scores.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* row = scores.data<float>() + i * n;
      float* values = out.values.data<float>() + i * k;
      int32_t* indices = out.indices.data<int32_t>() + i * k;
      check(!has_nan(row, n), "top_k: the scores of row {} contain a NaN", i);
      keep_largest(row, nullptr, kth_largest(row, n, k), k, values, indices);
      std::sort(indices, indices + k,
                [row](int32_t a, int32_t b) { return row[a] > row[b] || (row[a] == row[b] && a < b); });
      for (int64_t j = 0; j < k; ++j) values[j] = row[indices[j]];
    }
  });
}

namespace {

/// mark <- combine(mark, whether they share the label) over the labelings, from `first` on.
template <class Combine>
void mark_shared(const Tensor& labels, const Tensor& own, const Tensor& indices, const Tensor& mask,
                 uint8_t first, Combine combine) {
  const int64_t labelings = labels.size(1), width = indices.size(1);
  parallel_for(mask.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int32_t* index = indices.data<int32_t>() + i * width;
      uint8_t* mark = mask.data<uint8_t>() + i * width;
      std::fill(mark, mark + width, first);
      for (int64_t h = 0; h < labelings; ++h) {
        const int32_t* label = labels.data<int32_t>() + h;
        const int32_t mine = own.data<int32_t>()[i * labelings + h];
#pragma omp simd
        for (int64_t j = 0; j < width; ++j)
          mark[j] = combine(mark[j], label[index[j] * labelings] == mine ? uint8_t{1} : uint8_t{0});
      }
    }
  });
}

}  // namespace

void CpuBackend::same_cluster_mask(const Tensor& labels, const Tensor& own, const Tensor& indices,
                                   SharedClusters shared, const Tensor& mask) {
  const int64_t n = labels.size(0);
  check_indices("same_cluster_mask", indices, n);
  const auto mark = [&](uint8_t first, auto combine) {
    mark_shared(labels, own, indices, mask, first, combine);
  };
  switch (shared) {
    case SharedClusters::any:
      return mark(0, [](uint8_t a, uint8_t b) { return static_cast<uint8_t>(a | b); });
    case SharedClusters::all:
      return mark(1, [](uint8_t a, uint8_t b) { return static_cast<uint8_t>(a & b); });
    case SharedClusters::count:
      return mark(0, [](uint8_t a, uint8_t b) { return static_cast<uint8_t>(a + b); });
  }
}

}  // namespace la
