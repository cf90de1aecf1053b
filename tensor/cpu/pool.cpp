// Pooling on the CPU. Each picture is one unit of work.
#include <limits>
#include <vector>

#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/simd.h"

namespace la {
namespace {

/// The part of a pooling window that lies inside the picture, along one axis.
struct Window {
  int64_t begin, end;  // positions in the picture
  int64_t origin;      // of the window itself; may be negative
  Window(int64_t out, int64_t extent, const PoolGeometry& g)
      : begin(std::max<int64_t>(out * g.stride - g.padding, 0)),
        end(std::min<int64_t>(out * g.stride - g.padding + g.kernel, extent)),
        origin(out * g.stride - g.padding) {}
};

/// Calls f(row of y, window over rows, window over columns) for every output position of picture n.
template <class F>
void for_each_window(int64_t n, const Shape& x, const Shape& y, const PoolGeometry& g, F f) {
  for (int64_t oh = 0; oh < y[1]; ++oh)
    for (int64_t ow = 0; ow < y[2]; ++ow)
      f((n * y[1] + oh) * y[2] + ow, Window(oh, x[1], g), Window(ow, x[2], g));
}

/// Runs body(n) for every picture, in parallel.
template <class Body>
void for_each_picture(int64_t count, Body body) {
  parallel_for(count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) body(n);
  });
}

/// Writes sums that were made in f32 as T.
template <class T>
void convert(const Tensor& sums, T* to) {
  const float* from = sums.data<float>();
  const int64_t size = sums.numel();
#pragma GCC ivdep
  for (int64_t i = 0; i < size; ++i) to[i] = T(from[i]);
}

}  // namespace

void CpuBackend::max_pool2d(const Tensor& x, const PoolGeometry& g, const MaxPoolResult& out) {
  const int64_t channels = x.size(3), height = x.size(1), width = x.size(2);
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const T* from = x.data<T>();
    T* to = out.y.data<T>();
    uint8_t* winners = out.argmax.data<uint8_t>();
    for_each_picture(x.size(0), [&](int64_t n) {
      std::vector<float> best(static_cast<size_t>(channels));
      std::vector<int32_t> best_place(static_cast<size_t>(channels));
      for_each_window(n, x.shape(), out.y.shape(), g, [&](int64_t at, Window rows, Window columns) {
        float* maximum = best.data();
        int32_t* argmax = best_place.data();
        std::fill(best.begin(), best.end(), -std::numeric_limits<float>::infinity());
        const auto place_of = [&](int64_t h, int64_t w) {
          return static_cast<int32_t>((h - rows.origin) * g.kernel + w - columns.origin);
        };
        std::fill(best_place.begin(), best_place.end(), place_of(rows.begin, columns.begin));
        for (int64_t h = rows.begin; h < rows.end; ++h) {
          for (int64_t w = columns.begin; w < columns.end; ++w) {
            const T* pixel = from + ((n * height + h) * width + w) * channels;
            const int32_t place = place_of(h, w);
#pragma GCC ivdep
            for (int64_t c = 0; c < channels; ++c) {
              const float value = value_of(pixel[c]);
              // A NaN wins, and then stays.
              const bool better = !(value <= maximum[c]) & (maximum[c] == maximum[c]);
              argmax[c] = better ? place : argmax[c];
              maximum[c] = better ? value : maximum[c];
            }
          }
        }
#pragma GCC ivdep
        for (int64_t c = 0; c < channels; ++c) {
          to[at * channels + c] = T(maximum[c]);
          winners[at * channels + c] = static_cast<uint8_t>(argmax[c]);
        }
      });
    });
  });
}

void CpuBackend::max_pool2d_backward(const Tensor& dy, const Tensor& argmax, const PoolGeometry& g,
                                     const Tensor& dx) {
  const int64_t channels = dx.size(3), height = dx.size(1), width = dx.size(2);
  dispatch_float(dy.dtype(), [&]<class T>(T) {
    const T* from = dy.data<T>();
    const uint8_t* winners = argmax.data<uint8_t>();
    T* to = dx.data<T>();
    for_each_picture(dx.size(0), [&](int64_t n) {
      const Tensor sums = Tensor::zeros({height, width, channels});
      float* picture = sums.data<float>();
      for_each_window(n, dx.shape(), dy.shape(), g, [&](int64_t at, Window rows, Window columns) {
        for (int64_t c = 0; c < channels; ++c) {
          const int64_t place = winners[at * channels + c];
          const int64_t h = rows.origin + place / g.kernel, w = columns.origin + place % g.kernel;
          picture[(h * width + w) * channels + c] += value_of(from[at * channels + c]);
        }
      });
      convert(sums, to + n * sums.numel());
    });
  });
}

void CpuBackend::avg_pool2d(const Tensor& x, const PoolGeometry& g, const Tensor& y) {
  const int64_t channels = x.size(3), height = x.size(1), width = x.size(2);
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const T* from = x.data<T>();
    T* to = y.data<T>();
    for_each_picture(x.size(0), [&](int64_t n) {
      std::vector<float> sums(static_cast<size_t>(channels));
      for_each_window(n, x.shape(), y.shape(), g, [&](int64_t at, Window rows, Window columns) {
        float* sum = sums.data();
        std::fill(sums.begin(), sums.end(), 0.0f);
        for (int64_t h = rows.begin; h < rows.end; ++h) {
          for (int64_t w = columns.begin; w < columns.end; ++w) {
            const T* pixel = from + ((n * height + h) * width + w) * channels;
#pragma GCC ivdep
            for (int64_t c = 0; c < channels; ++c) sum[c] += value_of(pixel[c]);
          }
        }
        const auto area = static_cast<float>((rows.end - rows.begin) * (columns.end - columns.begin));
#pragma GCC ivdep
        for (int64_t c = 0; c < channels; ++c) to[at * channels + c] = T(sum[c] / area);
      });
    });
  });
}

void CpuBackend::avg_pool2d_backward(const Tensor& dy, const PoolGeometry& g, const Tensor& dx) {
  const int64_t channels = dx.size(3), height = dx.size(1), width = dx.size(2);
  dispatch_float(dy.dtype(), [&]<class T>(T) {
    const T* from = dy.data<T>();
    T* to = dx.data<T>();
    for_each_picture(dx.size(0), [&](int64_t n) {
      const Tensor sums = Tensor::zeros({height, width, channels});
      float* picture = sums.data<float>();
      for_each_window(n, dx.shape(), dy.shape(), g, [&](int64_t at, Window rows, Window columns) {
        const auto area = static_cast<float>((rows.end - rows.begin) * (columns.end - columns.begin));
        for (int64_t h = rows.begin; h < rows.end; ++h) {
          for (int64_t w = columns.begin; w < columns.end; ++w) {
            float* pixel = picture + (h * width + w) * channels;
#pragma GCC ivdep
            for (int64_t c = 0; c < channels; ++c) pixel[c] += value_of(from[at * channels + c]) / area;
          }
        }
      });
      convert(sums, to + n * sums.numel());
    });
  });
}

void CpuBackend::global_avg_pool(const Tensor& x, const Tensor& y) {
  const int64_t positions = x.size(1) * x.size(2), channels = x.size(3);
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const T* from = x.data<T>();
    T* to = y.data<T>();
    for_each_picture(x.size(0), [&](int64_t n) {
      std::vector<float> sums(static_cast<size_t>(channels), 0.0f);
      float* sum = sums.data();
      for (int64_t row = n * positions; row < (n + 1) * positions; ++row) {
#pragma GCC ivdep
        for (int64_t c = 0; c < channels; ++c) sum[c] += value_of(from[row * channels + c]);
      }
      for (int64_t c = 0; c < channels; ++c) to[n * channels + c] = T(sum[c] / static_cast<float>(positions));
    });
  });
}

void CpuBackend::global_avg_pool_backward(const Tensor& dy, const Tensor& dx) {
  const int64_t positions = dx.size(1) * dx.size(2), channels = dx.size(3);
  const float share = 1.0f / static_cast<float>(positions);
  dispatch_float(dy.dtype(), [&]<class T>(T) {
    const T* from = dy.data<T>();
    T* to = dx.data<T>();
    for_each_picture(dx.size(0), [&](int64_t n) {
      for (int64_t row = n * positions; row < (n + 1) * positions; ++row) {
#pragma GCC ivdep
        for (int64_t c = 0; c < channels; ++c)
          to[row * channels + c] = T(share * value_of(from[n * channels + c]));
      }
    });
  });
}

}  // namespace la
