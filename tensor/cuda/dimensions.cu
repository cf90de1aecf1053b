// Ops on one dimension on the GPU: x is [outer, n, inner], and what is without the dimension [outer, inner].
// Where the dimension is the last, a team of threads takes each row; else each thread takes one of `inner`
// neighbors.
#include <limits>

#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/kernel.h"
#include "tensor/cuda/row_teams.h"
#include "tensor/pointwise.h"

namespace la {
namespace {

using namespace cuda;

constexpr int threads = 256;

/// The extents of x.
struct Extents {
  int64_t outer, n, inner;

  explicit Extents(const Tensor& x) : outer(x.size(0)), n(x.size(1)), inner(x.size(2)) {}

  __device__ int64_t places() const { return outer * inner; }  // without the dimension
  /// Where in x the first element along the dimension stands, of a place without it.
  __device__ int64_t first(int64_t place) const { return place / inner * n * inner + place % inner; }
};

LaunchShape thread_for_each(int64_t items) { return {blocks_for(items, threads), threads}; }

// ---- Sum and maximum --------------------------------------------------------------------------------------

/// y = factor * the sum of each row. Reads x once.
template <class Team, int width, class T>
__global__ void sum_row_kernel(int64_t rows, int64_t columns, float factor, const T* x, T* y) {
  const int64_t row = Team::row();
  if (row >= rows) return;
  float sum = 0.0f;
  Team::template for_each_pack<width>(columns, [&](int64_t c) {
    const auto pack = Pack<T, width>::load(x + row * columns + c);
    for (int e = 0; e < width; ++e) sum += static_cast<float>(pack.value[e]);
  });
  sum = Team::reduce(sum, Sum(), 0.0f);
  if (Team::leads()) y[row] = T(factor * sum);
}

/// The same along another dimension. Reads x once.
template <class T>
__global__ void sum_dimension_kernel(Extents extents, float factor, const T* x, T* y) {
  for (int64_t i = global_thread(); i < extents.places(); i += global_threads()) {
    const T* first = x + extents.first(i);
    float sum = 0.0f;
    for (int64_t j = 0; j < extents.n; ++j) sum += static_cast<float>(first[j * extents.inner]);
    y[i] = T(factor * sum);
  }
}

struct Larger {
  __device__ float operator()(float a, float b) const { return pointwise::exceeds(a, b) ? a : b; }
};
struct Min {
  __device__ int32_t operator()(int32_t a, int32_t b) const { return a < b ? a : b; }
};

/// Reads x once.
template <class Team, int width, class T>
__global__ void max_row_kernel(int64_t rows, int64_t columns, const T* x, T* values, int32_t* indices) {
  const int64_t row = Team::row();
  if (row >= rows) return;
  constexpr float infinity = std::numeric_limits<float>::infinity();
  constexpr int32_t none = std::numeric_limits<int32_t>::max();
  float value = -infinity;
  int32_t index = none;
  Team::template for_each_pack<width>(columns, [&](int64_t c) {
    const auto pack = Pack<T, width>::load(x + row * columns + c);
    for (int e = 0; e < width; ++e) {
      const auto next = static_cast<float>(pack.value[e]);
      if (index != none && !pointwise::exceeds(next, value)) continue;
      value = next;
      index = static_cast<int32_t>(c + e);
    }
  });
  const float top = Team::reduce(value, Larger(), -infinity);
  const bool is_top = value == top || (value != value && top != top);
  index = Team::reduce(is_top ? index : none, Min(), none);
  if (!Team::leads()) return;
  values[row] = x[row * columns + index];
  indices[row] = index;
}

template <class T>
__global__ void max_dimension_kernel(Extents extents, const T* x, T* values, int32_t* indices) {
  for (int64_t i = global_thread(); i < extents.places(); i += global_threads()) {
    const T* first = x + extents.first(i);
    int64_t best = 0;
    for (int64_t j = 1; j < extents.n; ++j)
      if (pointwise::exceeds(static_cast<float>(first[j * extents.inner]),
                             static_cast<float>(first[best * extents.inner])))
        best = j;
    values[i] = first[best * extents.inner];
    indices[i] = static_cast<int32_t>(best);
  }
}

// ---- Repeating and choosing -------------------------------------------------------------------------------

/// y[o, j, i] = x[o, i]; a pack takes neighbors in the last dimension that is longer than 1. Writes y once.
template <int width, class T>
__global__ void broadcast_kernel(Extents extents, int64_t size, const T* x, T* y) {
  const int64_t inner = extents.inner;
  for (int64_t i = global_thread() * width; i < size; i += global_threads() * width) {
    const int64_t o = i / (extents.n * inner);
    Pack<T, width> pack;
    if (inner == 1)
      for (int e = 0; e < width; ++e) pack.value[e] = x[o];
    else
      pack = Pack<T, width>::load(x + o * inner + i % inner);
    pack.store(y + i);
  }
}

/// Along a dimension of n elements; an index that is out of range is reported.
struct Indices {
  const int32_t* index;
  int64_t n;
  Reporter report;

  __device__ int64_t operator[](int64_t i) const {
    if (index[i] >= 0 && index[i] < n) return index[i];
    report(index[i], n - 1);
    return -1;
  }
};

template <class T>
__global__ void pick_kernel(Extents extents, Indices indices, const T* x, T* y) {
  for (int64_t i = global_thread(); i < extents.places(); i += global_threads()) {
    const int64_t j = indices[i];
    y[i] = j < 0 ? T(0.0f) : x[extents.first(i) + j * extents.inner];
  }
}

/// Writes dx once.
template <class T>
__global__ void pick_backward_kernel(Extents extents, Indices indices, int64_t size, const T* dy, T* dx) {
  for (int64_t i = global_thread(); i < size; i += global_threads()) {
    const int64_t j = i / extents.inner % extents.n;
    const int64_t place = i / (extents.n * extents.inner) * extents.inner + i % extents.inner;
    dx[i] = indices[place] == j ? dy[place] : T(0.0f);
  }
}

// ---- Copying and transposing ------------------------------------------------------------------------------

/// y[r, c] = x[r, c] for the first `columns` columns of rows that are further apart; `Unit` is what one
/// access moves. Reads x and writes y once.
template <class Unit>
__global__ void copy_columns_kernel(int64_t rows, int64_t columns, int64_t x_row, int64_t y_row,
                                    const Unit* x, Unit* y) {
  for (int64_t i = global_thread(); i < rows * columns; i += global_threads())
    y[i / columns * y_row + i % columns] = x[i / columns * x_row + i % columns];
}

/// Matrices in bytes.
struct Columns {
  int64_t rows, bytes, x_row, y_row;
  const std::byte* x;
  std::byte* y;

  template <class Unit>
  bool allow() const {
    constexpr int64_t size = sizeof(Unit);
    return (bytes | x_row | y_row) % size == 0 &&
           (reinterpret_cast<uintptr_t>(x) | reinterpret_cast<uintptr_t>(y)) % sizeof(Unit) == 0;
  }
  template <class Unit>
  void copy() const {
    constexpr int64_t size = sizeof(Unit);
    launch("copy_columns", copy_columns_kernel<Unit>, thread_for_each(rows * bytes / size), rows,
           bytes / size, x_row / size, y_row / size, reinterpret_cast<const Unit*>(x),
           reinterpret_cast<Unit*>(y));
  }
};

constexpr int tile = 32;

/// A block takes a tile, which it reads and writes along rows. Reads x and writes y once.
template <class T>
__global__ void transpose_kernel(int64_t rows, int64_t columns, const T* x, T* y) {
  struct Tile {
    T value[tile][tile + 1];  // with a column more, so that the elements of a column lie in different banks
  };
  Tile& shared = shared_memory<Tile>();
  const int64_t tiles = (columns + tile - 1) / tile;
  const int64_t row = blockIdx.x / tiles * tile, column = blockIdx.x % tiles * tile;
  for (int r = warp_id(); r < tile; r += threads / warp_size)
    if (row + r < rows && column + lane_id() < columns)
      shared.value[r][lane_id()] = x[(row + r) * columns + column + lane_id()];
  __syncthreads();
  for (int c = warp_id(); c < tile; c += threads / warp_size)
    if (column + c < columns && row + lane_id() < rows)
      y[(column + c) * rows + row + lane_id()] = shared.value[lane_id()][c];
}

}  // namespace

void CudaBackend::sum_dimension(const Tensor& x, float factor, const Tensor& y) {
  const Extents extents(x);
  if (extents.inner == 1)
    return dispatch_rows(x.dtype(), extents.n, both_aligned(x, x),
                         [&]<class Team, class T>(Team, T, auto width) {
                           launch("sum_row", sum_row_kernel<Team, width(), T>, Team::shape(extents.outer),
                                  extents.outer, extents.n, factor, x.data<T>(), y.data<T>());
                         });
  dispatch_float(x.dtype(), [&]<class T>(T) {
    launch("sum_dimension", sum_dimension_kernel<T>, thread_for_each(y.numel()), extents, factor, x.data<T>(),
           y.data<T>());
  });
}

void CudaBackend::max_dimension(const Tensor& x, const Maximum& out) {
  const Extents extents(x);
  if (extents.inner == 1)
    return dispatch_rows(
        x.dtype(), extents.n, both_aligned(x, x), [&]<class Team, class T>(Team, T, auto width) {
          launch("max_row", max_row_kernel<Team, width(), T>, Team::shape(extents.outer), extents.outer,
                 extents.n, x.data<T>(), out.values.data<T>(), out.indices.data<int32_t>());
        });
  dispatch_float(x.dtype(), [&]<class T>(T) {
    launch("max_dimension", max_dimension_kernel<T>, thread_for_each(out.values.numel()), extents,
           x.data<T>(), out.values.data<T>(), out.indices.data<int32_t>());
  });
}

void CudaBackend::broadcast(const Tensor& x, const Tensor& y) {
  const Extents extents(y);
  dispatch_float(x.dtype(), [&]<class T>(T) {
    dispatch_width<T>(extents.inner == 1 ? extents.n : extents.inner, both_aligned(x, y), [&](auto width) {
      launch("broadcast", broadcast_kernel<width(), T>, thread_for_each(y.numel() / width()), extents,
             y.numel(), x.data<T>(), y.data<T>());
    });
  });
}

void CudaBackend::pick(const Tensor& x, const Tensor& indices, const Tensor& y) {
  const Extents extents(x);
  const Indices chosen{indices.data<int32_t>(), extents.n, Reporter("pick: index {} is not in 0 to {}")};
  dispatch_float(x.dtype(), [&]<class T>(T) {
    launch("pick", pick_kernel<T>, thread_for_each(y.numel()), extents, chosen, x.data<T>(), y.data<T>());
  });
}

void CudaBackend::pick_backward(const Tensor& dy, const Tensor& indices, const Tensor& dx) {
  const Extents extents(dx);
  const Indices chosen{indices.data<int32_t>(), extents.n,
                       Reporter("pick_backward: index {} is not in 0 to {}")};
  dispatch_float(dx.dtype(), [&]<class T>(T) {
    launch("pick_backward", pick_backward_kernel<T>, thread_for_each(dx.numel()), extents, chosen, dx.numel(),
           dy.data<T>(), dx.data<T>());
  });
}

void CudaBackend::copy_columns(const Tensor& x, int64_t x_column, int64_t columns, const Tensor& y,
                               int64_t y_column) {
  const auto size = static_cast<int64_t>(size_of(x.dtype()));
  const Columns all{.rows = x.size(0),
                    .bytes = columns * size,
                    .x_row = x.size(1) * size,
                    .y_row = y.size(1) * size,
                    .x = static_cast<const std::byte*>(x.raw()) + x_column * size,
                    .y = static_cast<std::byte*>(y.raw()) + y_column * size};
  using Wide = Pack<uint32_t, 4>;
  if (all.allow<Wide>()) return all.copy<Wide>();
  if (all.allow<uint32_t>()) return all.copy<uint32_t>();
  if (all.allow<uint16_t>()) return all.copy<uint16_t>();
  all.copy<uint8_t>();
}

void CudaBackend::transpose(const Tensor& x, const Tensor& y) {
  const int64_t rows = x.size(0), columns = x.size(1);
  dispatch_float(x.dtype(), [&]<class T>(T) {
    launch("transpose", transpose_kernel<T>, {blocks_for(rows, tile) * blocks_for(columns, tile), threads},
           rows, columns, x.data<T>(), y.data<T>());
  });
}

}  // namespace la
