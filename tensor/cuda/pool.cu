// Pooling on the GPU. A block makes one row of the result's positions, of all channels; a thread makes packs
// of neighboring channels of a position, so that neighbors read neighboring memory. The gradients gather what
// each input position is due, in a fixed order, instead of scattering it. Windows overlap little: what they
// share is read from memory once and then from the cache.
#include <limits>

#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/kernel.h"

namespace la {
namespace {

using namespace cuda;

constexpr int threads = 256;

// Positions within a map are 32 bits wide, for 64-bit divisions are slow; offsets are not.
struct Extents {
  int height, width;
};
Extents extents_of(const Tensor& x) { return {static_cast<int>(x.size(1)), static_cast<int>(x.size(2))}; }

/// begin to end (exclusive), along one axis.
struct Range {
  int begin, end;
  __device__ int size() const { return end - begin; }
};

/// The pooling windows: the larger map, the smaller one, and how they lie. Kernel and stride of the usual
/// windows are known when kernels are compiled, which spares them divisions; those of others are 0 here.
template <int known_kernel, int known_stride>
struct Windows {
  Extents in, out;
  PoolGeometry g;

  __device__ int kernel() const { return known_kernel > 0 ? known_kernel : g.kernel; }
  __device__ int stride() const { return known_stride > 0 ? known_stride : g.stride; }
  /// The position of the first tap of the window of output position `position`, which may be in the padding.
  __device__ int begin_of(int position) const { return position * stride() - g.padding; }
  /// The number of the tap of a window, which begins at begin_of(row), begin_of(column), that lies at (h, c).
  __device__ uint8_t tap(int row, int column, int h, int c) const {
    return static_cast<uint8_t>((h - begin_of(row)) * kernel() + (c - begin_of(column)));
  }

  /// The positions inside a picture of that extent in the window of output position `position`.
  __device__ Range window(int position, int extent) const {
    const int begin = begin_of(position), end = begin + kernel();
    return {begin < 0 ? 0 : begin, end < extent ? end : extent};
  }
  /// The outputs, of which there are `extent`, whose windows contain input position `position`.
  __device__ Range windows_of(int position, int extent) const {
    const int place = position + g.padding, before = place - kernel();  // the last that ends before it begins
    const int begin = before < 0 ? 0 : before / stride() + 1, end = place / stride() + 1;
    return {begin, end < extent ? end : extent};
  }
};

/// use(row, column, load(row, column)) for all of rows x columns, `right` columns at a time: they are loaded
/// before the first of them is used, for memory answers late.
template <int right, class Load, class Use>
__device__ void for_each_position(const Range& rows, const Range& columns, Load load, Use use) {
  for (int row = rows.begin; row < rows.end; ++row)
    for (int left = columns.begin; left < columns.end; left += right) {
      decltype(load(0, 0)) loaded[right];
      for (int i = 0; i < right; ++i) loaded[i] = load(row, left + i < columns.end ? left + i : left);
      for (int i = 0; i < right; ++i)
        if (left + i < columns.end) use(row, left + i, loaded[i]);
    }
}

/// A position of the map that a kernel writes.
struct Place {
  int picture, row, column;
  int channel;  // the first of a pack
};

/// Calls f for what this thread writes of a map with rows of these extents.
template <int width, class F>
__device__ void for_each_pack(const Extents& map, int64_t channels, F f) {
  const int packs = static_cast<int>(channels) / width, items = map.width * packs;
  const int block = static_cast<int>(blockIdx.x);
  for (int item = static_cast<int>(threadIdx.x); item < items; item += threads)
    f(Place{block / map.height, block % map.height, item / packs, item % packs * width});
}

/// The number of the first element of a pack.
__device__ int64_t offset_of(int64_t picture, int row, int column, const Extents& map, int64_t channels,
                             int channel) {
  return ((picture * map.height + row) * map.width + column) * channels + channel;
}

template <int width>
struct Sums {
  float value[width] = {};

  template <class T>
  __device__ void add(const Pack<T, width>& pack, float divisor = 1.0f) {
    for (int e = 0; e < width; ++e) value[e] += static_cast<float>(pack.value[e]) / divisor;
  }
  template <class T>
  __device__ void store_divided(float divisor, T* to) const {
    Pack<T, width> pack;
    for (int e = 0; e < width; ++e) pack.value[e] = T(value[e] / divisor);
    pack.store(to);
  }
};

/// Reads x about once, writes y and argmax once. A NaN wins, and then stays.
template <int width, class W, class T>
__global__ void max_pool2d_kernel(W w, int64_t channels, const T* x, T* y, uint8_t* argmax) {
  for_each_pack<width>(w.out, channels, [&](const Place& at) {
    const Range rows = w.window(at.row, w.in.height), columns = w.window(at.column, w.in.width);
    float maximum[width];
    Pack<uint8_t, width> winners;
    for (int e = 0; e < width; ++e) {
      maximum[e] = -std::numeric_limits<float>::infinity();
      winners.value[e] = w.tap(at.row, at.column, rows.begin, columns.begin);
    }
    using Values = Pack<T, width>;
    const auto load = [&](int h, int c) {
      return Values::load(x + offset_of(at.picture, h, c, w.in, channels, at.channel));
    };
    // By rows, for of equal values the first wins.
    for_each_position<3>(rows, columns, load, [&](int h, int c, const Values& pixel) {
      const uint8_t place = w.tap(at.row, at.column, h, c);
      for (int e = 0; e < width; ++e) {
        const auto value = static_cast<float>(pixel.value[e]);
        const bool better = !(value <= maximum[e]) && maximum[e] == maximum[e];
        winners.value[e] = better ? place : winners.value[e];
        maximum[e] = better ? value : maximum[e];
      }
    });
    Pack<T, width> result;
    for (int e = 0; e < width; ++e) result.value[e] = T(maximum[e]);
    const int64_t to = offset_of(at.picture, at.row, at.column, w.out, channels, at.channel);
    result.store(y + to);
    winners.store(argmax + to);
  });
}

/// dx = the sum of dy of the windows that this position has won. Reads dy and argmax about
/// once, writes dx once.
template <int width, class W, class T>
__global__ void max_pool2d_backward_kernel(W w, int64_t channels, const T* dy, const uint8_t* argmax, T* dx) {
  for_each_pack<width>(w.in, channels, [&](const Place& at) {
    const Range rows = w.windows_of(at.row, w.out.height), columns = w.windows_of(at.column, w.out.width);
    struct Loaded {
      Pack<T, width> gradient;
      Pack<uint8_t, width> winners;
    };
    const auto load = [&](int h, int c) {
      const int64_t from = offset_of(at.picture, h, c, w.out, channels, at.channel);
      return Loaded{Pack<T, width>::load(dy + from), Pack<uint8_t, width>::load(argmax + from)};
    };
    Sums<width> sums;
    for_each_position<2>(rows, columns, load, [&](int h, int c, const Loaded& from) {
      const uint8_t place = w.tap(h, c, at.row, at.column);
      for (int e = 0; e < width; ++e)
        if (from.winners.value[e] == place) sums.value[e] += static_cast<float>(from.gradient.value[e]);
    });
    sums.store_divided(1.0f, dx + offset_of(at.picture, at.row, at.column, w.in, channels, at.channel));
  });
}

/// y = the mean of the window inside the picture. Reads x about once, writes y once.
template <int width, class W, class T>
__global__ void avg_pool2d_kernel(W w, int64_t channels, const T* x, T* y) {
  for_each_pack<width>(w.out, channels, [&](const Place& at) {
    const Range rows = w.window(at.row, w.in.height), columns = w.window(at.column, w.in.width);
    Sums<width> sums;
    for (int h = rows.begin; h < rows.end; ++h)
      for (int c = columns.begin; c < columns.end; ++c)
        sums.add(Pack<T, width>::load(x + offset_of(at.picture, h, c, w.in, channels, at.channel)));
    sums.store_divided(static_cast<float>(rows.size() * columns.size()),
                       y + offset_of(at.picture, at.row, at.column, w.out, channels, at.channel));
  });
}

/// dx = the sum of dy / area of the windows that contain this position. Reads dy about once, writes dx once.
template <int width, class W, class T>
__global__ void avg_pool2d_backward_kernel(W w, int64_t channels, const T* dy, T* dx) {
  for_each_pack<width>(w.in, channels, [&](const Place& at) {
    const Range rows = w.windows_of(at.row, w.out.height), columns = w.windows_of(at.column, w.out.width);
    Sums<width> sums;
    for (int h = rows.begin; h < rows.end; ++h)
      for (int c = columns.begin; c < columns.end; ++c) {
        const int area = w.window(h, w.in.height).size() * w.window(c, w.in.width).size();
        sums.add(Pack<T, width>::load(dy + offset_of(at.picture, h, c, w.out, channels, at.channel)),
                 static_cast<float>(area));
      }
    sums.store_divided(1.0f, dx + offset_of(at.picture, at.row, at.column, w.in, channels, at.channel));
  });
}

/// y = the mean of x over all positions; one thread for each pack of channels of a picture. Reads x once.
template <int width, class T>
__global__ void global_avg_pool_kernel(int64_t pictures, int64_t positions, int64_t channels, const T* x,
                                       T* y) {
  const int64_t item = global_thread(), packs = channels / width;
  if (item >= pictures * packs) return;
  const T* from = x + item / packs * positions * channels + item % packs * width;
  Sums<width> sums;
  for (int64_t p = 0; p < positions; ++p) sums.add(Pack<T, width>::load(from + p * channels));
  sums.store_divided(static_cast<float>(positions), y + item * width);
}

/// dx = dy / positions, at each position. Writes dx once; dy stays in the cache.
template <int width, class T>
__global__ void global_avg_pool_backward_kernel(Extents map, int64_t channels, float share, const T* dy,
                                                T* dx) {
  for_each_pack<width>(map, channels, [&](const Place& at) {
    auto pack = Pack<T, width>::load(dy + at.picture * channels + at.channel);
    for (int e = 0; e < width; ++e) pack.value[e] = T(share * static_cast<float>(pack.value[e]));
    pack.store(dx + offset_of(at.picture, at.row, at.column, map, channels, at.channel));
  });
}

/// Calls f with the type of x and the number of elements that one access to these tensors may move.
template <class F>
void dispatch(const Tensor& x, const Tensor& y, F f) {
  dispatch_float(x.dtype(), [&]<class T>(T type) {
    dispatch_width<T>(x.size(-1), aligned_for_vectors(x.data<T>(), y.data<T>()),
                      [&](auto width) { f(type, width); });
  });
}

/// Calls f with the windows between the larger map and the smaller one.
template <class F>
void dispatch_windows(const Tensor& in, const Tensor& out, const PoolGeometry& g, F f) {
  const auto with = [&]<int kernel, int stride> {
    f(Windows<kernel, stride>{extents_of(in), extents_of(out), g});
  };
  if (g.kernel == 3 && g.stride == 2) return with.template operator()<3, 2>();
  if (g.kernel == 2 && g.stride == 2) return with.template operator()<2, 2>();
  with.template operator()<0, 0>();
}

/// A block for each row of the map.
LaunchShape block_for_each_row(const Tensor& map) {
  return {map.numel() == 0 ? 0u : static_cast<unsigned>(map.size(0) * map.size(1)), threads};
}

}  // namespace

void CudaBackend::max_pool2d(const Tensor& x, const PoolGeometry& g, const MaxPoolResult& out) {
  dispatch(x, out.y, [&]<class T, class Width>(T, Width) {
    dispatch_windows(x, out.y, g, [&]<class W>(W windows) {
      uint8_t* argmax = out.argmax.data<uint8_t>();
      const bool packed = reinterpret_cast<uintptr_t>(argmax) % Width::value == 0;
      launch("max_pool2d", packed ? max_pool2d_kernel<Width::value, W, T> : max_pool2d_kernel<1, W, T>,
             block_for_each_row(out.y), windows, x.size(3), x.data<T>(), out.y.data<T>(), argmax);
    });
  });
}

void CudaBackend::max_pool2d_backward(const Tensor& dy, const Tensor& argmax, const PoolGeometry& g,
                                      const Tensor& dx) {
  dispatch(dy, dx, [&]<class T, class Width>(T, Width) {
    dispatch_windows(dx, dy, g, [&]<class W>(W windows) {
      const uint8_t* winners = argmax.data<uint8_t>();
      const bool packed = reinterpret_cast<uintptr_t>(winners) % Width::value == 0;
      launch("max_pool2d_backward",
             packed ? max_pool2d_backward_kernel<Width::value, W, T> : max_pool2d_backward_kernel<1, W, T>,
             block_for_each_row(dx), windows, dx.size(3), dy.data<T>(), winners, dx.data<T>());
    });
  });
}

void CudaBackend::avg_pool2d(const Tensor& x, const PoolGeometry& g, const Tensor& y) {
  dispatch(x, y, [&]<class T, class Width>(T, Width) {
    dispatch_windows(x, y, g, [&]<class W>(W windows) {
      launch("avg_pool2d", avg_pool2d_kernel<Width::value, W, T>, block_for_each_row(y), windows, x.size(3),
             x.data<T>(), y.data<T>());
    });
  });
}

void CudaBackend::avg_pool2d_backward(const Tensor& dy, const PoolGeometry& g, const Tensor& dx) {
  dispatch(dy, dx, [&]<class T, class Width>(T, Width) {
    dispatch_windows(dx, dy, g, [&]<class W>(W windows) {
      launch("avg_pool2d_backward", avg_pool2d_backward_kernel<Width::value, W, T>, block_for_each_row(dx),
             windows, dx.size(3), dy.data<T>(), dx.data<T>());
    });
  });
}

void CudaBackend::global_avg_pool(const Tensor& x, const Tensor& y) {
  dispatch(x, y, [&]<class T, class Width>(T, Width) {
    launch("global_avg_pool", global_avg_pool_kernel<Width::value, T>,
           {blocks_for(y.numel() / Width::value, threads), threads}, x.size(0), x.size(1) * x.size(2),
           x.size(3), x.data<T>(), y.data<T>());
  });
}

void CudaBackend::global_avg_pool_backward(const Tensor& dy, const Tensor& dx) {
  const float share = 1.0f / static_cast<float>(dx.size(1) * dx.size(2));
  dispatch(dy, dx, [&]<class T, class Width>(T, Width) {
    launch("global_avg_pool_backward", global_avg_pool_backward_kernel<Width::value, T>,
           block_for_each_row(dx), extents_of(dx), dx.size(3), share, dy.data<T>(), dx.data<T>());
  });
}

}  // namespace la
