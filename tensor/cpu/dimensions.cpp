// Ops on one dimension on the CPU: x is [outer, n, inner], and what is without the dimension [outer, inner].
#include <cstring>
#include <vector>

#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/indices.h"
#include "tensor/cpu/simd.h"
#include "tensor/pointwise.h"

namespace la {
namespace {

/// Calls body(first, last) for ranges of `count` items of `size` elements each.
template <class Body>
void for_items(int64_t count, int64_t size, Body&& body) {
  parallel_for(count, elements_per_thread / std::max<int64_t>(size, 1), std::forward<Body>(body));
}

template <class T>
float sum_of(const T* x, int64_t n) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) sum += value_of(x[i]);
  return sum;
}

/// Calls visit(place in x, place without the dimension) for place `column` along the dimension of each
/// element of `indices`.
template <class Visit>
void for_each_index(const Tensor& indices, int64_t n, Visit visit) {
  const int64_t inner = indices.size(1);
  const int32_t* index = indices.data<int32_t>();
  for_items(indices.numel(), 1, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) visit((i / inner * n + index[i]) * inner + i % inner, i);
  });
}

}  // namespace

void CpuBackend::sum_dimension(const Tensor& x, float factor, const Tensor& y) {
  const int64_t n = x.size(1), inner = x.size(2);
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const T* from = x.data<T>();
    T* to = y.data<T>();
    for_items(x.size(0), n * inner, [=](int64_t begin, int64_t end) {
      std::vector<float> sums(static_cast<size_t>(inner));
      float* sum = sums.data();
      for (int64_t o = begin; o < end; ++o) {
        const T* first = from + o * n * inner;
        if (inner == 1) {
          to[o] = T(factor * sum_of(first, n));
          continue;
        }
        std::fill(sums.begin(), sums.end(), 0.0f);
        for (int64_t j = 0; j < n; ++j) {
#pragma GCC ivdep
          for (int64_t i = 0; i < inner; ++i) sum[i] += value_of(first[j * inner + i]);
        }
        for (int64_t i = 0; i < inner; ++i) to[o * inner + i] = T(factor * sum[i]);
      }
    });
  });
}

void CpuBackend::max_dimension(const Tensor& x, const Maximum& out) {
  const int64_t n = x.size(1), inner = x.size(2);
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const T* from = x.data<T>();
    T* values = out.values.data<T>();
    int32_t* indices = out.indices.data<int32_t>();
    for_items(out.values.numel(), n, [=](int64_t begin, int64_t end) {
      for (int64_t y = begin; y < end; ++y) {
        const T* first = from + y / inner * n * inner + y % inner;
        int64_t best = 0;
        for (int64_t j = 1; j < n; ++j)
          if (pointwise::exceeds(value_of(first[j * inner]), value_of(first[best * inner]))) best = j;
        values[y] = first[best * inner];
        indices[y] = static_cast<int32_t>(best);
      }
    });
  });
}

void CpuBackend::broadcast(const Tensor& x, const Tensor& y) {
  const int64_t n = y.size(1), inner = y.size(2);
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const T* from = x.data<T>();
    T* to = y.data<T>();
    for_items(x.size(0), n * inner, [=](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; ++o) {
        T* first = to + o * n * inner;
        if (inner == 1)
          std::fill(first, first + n, from[o]);
        else
          for (int64_t j = 0; j < n; ++j) std::copy_n(from + o * inner, inner, first + j * inner);
      }
    });
  });
}

void CpuBackend::pick(const Tensor& x, const Tensor& indices, const Tensor& y) {
  check_indices("pick", indices, x.size(1));
  dispatch_float(x.dtype(), [&]<class T>(T) {
    for_each_index(indices, x.size(1),
                   [from = x.data<T>(), to = y.data<T>()](int64_t in_x, int64_t i) { to[i] = from[in_x]; });
  });
}

void CpuBackend::pick_backward(const Tensor& dy, const Tensor& indices, const Tensor& dx) {
  check_indices("pick_backward", indices, dx.size(1));
  fill(0.0f, dx);
  dispatch_float(dx.dtype(), [&]<class T>(T) {
    for_each_index(indices, dx.size(1),
                   [from = dy.data<T>(), to = dx.data<T>()](int64_t in_x, int64_t i) { to[in_x] = from[i]; });
  });
}

void CpuBackend::copy_columns(const Tensor& x, int64_t x_column, int64_t columns, const Tensor& y,
                              int64_t y_column) {
  const size_t size = size_of(x.dtype()), bytes = static_cast<size_t>(columns) * size;
  const size_t x_row = static_cast<size_t>(x.size(1)) * size, y_row = static_cast<size_t>(y.size(1)) * size;
  const auto* from = static_cast<const std::byte*>(x.raw()) + static_cast<size_t>(x_column) * size;
  auto* to = static_cast<std::byte*>(y.raw()) + static_cast<size_t>(y_column) * size;
  if (bytes == 0) return;
  for_items(x.size(0), columns, [=](int64_t begin, int64_t end) {
    for (auto r = static_cast<size_t>(begin); r < static_cast<size_t>(end); ++r)
      std::memcpy(to + r * y_row, from + r * x_row, bytes);
  });
}

// In tiles, so that the lines of the cache that are read and written column by column are still there for
// the next column.
void CpuBackend::transpose(const Tensor& x, const Tensor& y) {
  const int64_t rows = x.size(0), columns = x.size(1);
  constexpr int64_t tile = 32;
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const T* from = x.data<T>();
    T* to = y.data<T>();
    for_items(divide_up(columns, tile), tile * rows, [=](int64_t begin, int64_t end) {
      for (int64_t c0 = begin * tile; c0 < std::min(end * tile, columns); c0 += tile)
        for (int64_t r0 = 0; r0 < rows; r0 += tile)
          for (int64_t c = c0; c < std::min(c0 + tile, columns); ++c)
            for (int64_t r = r0; r < std::min(r0 + tile, rows); ++r) to[c * rows + r] = from[r * columns + c];
    });
  });
}

}  // namespace la
