// The forward pass and the data gradient, which is a forward pass with turned windows.
#include "tensor/cpu/winograd.h"

#include "tensor/cpu/transpose.h"
#include "tensor/cpu/winograd_tiles.h"

namespace la {
namespace {

using namespace winograd;

/// The windows of a convolution that makes `out` channels of `in`.
struct Windows {
  const Tensor& weight;
  /// Those of the data gradient: turned by half a turn, from the weight's outputs to its inputs.
  bool backward;
  int64_t in = weight.size(backward ? 0 : 3), out = weight.size(backward ? 3 : 0);
};

/// Transforms windows to rows, the inputs, and channels, the outputs, of a spectrum from `row` on.
template <class T>
void transform_windows(const Windows& windows, Range in, Range out, const Spectrum& to, int64_t row) {
  constexpr int taps = window * window;
  const T* weight = windows.weight.data<T>();
  for (int64_t i = 0; i < in.count; i += simd_lanes)
    for (int64_t o = 0; o < out.count; o += simd_lanes) {
      const T* backward = weight + (in.first + i) * taps * windows.out + out.first + o;
      const T* forward = weight + (out.first + o) * taps * windows.in + in.first + i;
      Floats block[taps][simd_lanes];  // [tap][input], a vector of outputs each
      for (int tap = 0; tap < taps; ++tap) {
        for (int l = 0; l < simd_lanes; ++l)
          block[tap][l] = windows.backward
                              ? load<Floats>(backward + (l * taps + taps - 1 - tap) * windows.out)
                              : load<Floats>(forward + (l * taps + tap) * windows.in);
        if (!windows.backward) transpose(block[tap]);
      }
      for (int l = 0; l < simd_lanes; ++l)
        transform_square<WindowTransform, Floats>([&](int a, int b) { return block[a * window + b][l]; },
                                                  to.writer(row + i + l, o));
    }
}

/// Transforms the products of some tiles, rows of a spectrum, to some channels of y.
template <class T>
void transform_products(const Spectrum& products, const Tiles& tiles, Range range, Range channels,
                        const Tensor& y) {
  const int64_t h = y.size(1), w = y.size(2), all = y.size(3);
  for (int64_t t = 0; t < range.count; ++t) {
    const Tiles::Place place = tiles[range.first + t];
    const int64_t rows = h - place.row, columns = w - place.column;
    T* corner = y.data<T>() + ((place.picture * h + place.row) * w + place.column) * all + channels.first;
    for (int64_t c = 0; c < channels.count; c += simd_lanes)
      transform_square<OutputTransform, Floats>(products.reader(t, c), [&](int i, int j, Floats value) {
        if (i < rows && j < columns) store(corner + (i * w + j) * all + c, value);
      });
  }
}

template <class T>
class Convolution {
 public:
  Convolution(const Tensor& x, const Windows& windows, int64_t padding, const Tensor& y)
      : x_(x), windows_(windows), padding_(padding), y_(y) {}

  void run() const {
    const int64_t threads = omp_get_max_threads();
    // With few tiles, transforming the windows takes a good part of the time, or threads would find nothing
    // to do.
    const bool few = tiles_.count() < std::max<int64_t>(128, 2 * product_rows * threads);
    few ? run_by_panels(threads) : run_by_groups(threads);
  }

 private:
  static constexpr int64_t cache_bytes = 600 << 10;  // of a thread's second cache
  static constexpr int64_t fewest_tiles = 4 * product_rows, most_tiles = 64;
  static constexpr int64_t depth = 32;  // channels whose windows are transformed at once

  /// Where there are many tiles: each thread takes groups of them that fit into its cache, or of
  /// fewest_tiles, and all use windows that were transformed before.
  void run_by_groups(int64_t threads) const {
    constexpr int64_t bytes = frequencies * sizeof(float);  // of a channel of a tile
    const int64_t fit = std::max(cache_bytes / bytes / (windows_.in + product_width), fewest_tiles);
    const int64_t groups = divide_up(divide_up(tiles_.count(), fit), threads) * threads;
    const int64_t group = divide_up(tiles_.count(), groups);
    const Spectrum u(windows_.in, windows_.out, product_width);
    parallel_for(divide_up(windows_.in, depth), 1, [&](int64_t begin, int64_t end) {
      for (int64_t d = begin; d < end; ++d) {
        const Range in = part_of(windows_.in, depth, d);
        transform_windows<T>(windows_, in, {0, windows_.out}, u, in.first);
      }
    });
    parallel_for(divide_up(tiles_.count(), group), 1, [&](int64_t begin, int64_t end) {
      const Spectrum v(group, windows_.in, windows_.in), m(group, product_width, product_width);
      for (int64_t g = begin; g < end; ++g) {
        const Range range = part_of(tiles_.count(), group, g);
        transform_pictures<InputTransform, T>(x_, {0, windows_.in}, tiles_, range, padding_, v);
        for (int64_t panel = 0; panel < panels_; ++panel) {
          const Range channels = part_of(windows_.out, product_width, panel);
          for (int64_t f = 0; f < frequencies; ++f)
            block_product(v.matrix(f), u.matrix(f, 0, channels.first), range.count, channels.count,
                          windows_.in, false, m.matrix(f));
          transform_products<T>(m, tiles_, range, channels, y_);
        }
      }
    });
  }

  /// Where there are few: threads share the panels of output channels, whose windows are transformed a few
  /// channels at a time, so that they never leave the cache; and parts of the tiles, if there are fewer
  /// panels than threads.
  void run_by_panels(int64_t threads) const {
    const int64_t parts = std::max(divide_up(threads, panels_), divide_up(tiles_.count(), most_tiles));
    const Spectrum v(tiles_.count(), windows_.in, depth);
    transform_pictures<InputTransform, T>(x_, {0, windows_.in}, tiles_, {0, tiles_.count()}, padding_, v);
    const int64_t part = divide_up(tiles_.count(), parts);
    parallel_for(panels_ * parts, 1, [&](int64_t begin, int64_t end) {
      const Spectrum u(depth, product_width, product_width), m(part, product_width, product_width);
      for (int64_t item = begin; item < end; ++item) {
        const Range channels = part_of(windows_.out, product_width, item / parts);
        const Range range = part_of(tiles_.count(), part, item % parts);
        for (int64_t d = 0; d < divide_up(windows_.in, depth); ++d) {
          const Range in = part_of(windows_.in, depth, d);
          transform_windows<T>(windows_, in, channels, u, 0);
          for (int64_t f = 0; f < frequencies; ++f)
            block_product(v.matrix(f, range.first, in.first), u.matrix(f), range.count, channels.count,
                          in.count, d > 0, m.matrix(f));
        }
        transform_products<T>(m, tiles_, range, channels, y_);
      }
    });
  }

  const Tensor& x_;
  const Windows windows_;
  const int64_t padding_;
  const Tensor& y_;
  const Tiles tiles_{y_.shape()};
  const int64_t panels_ = divide_up(windows_.out, product_width);
};

}  // namespace

bool suits_winograd(ConvPass pass, const Shape& tiled, const Shape& weight, const ConvGeometry& geometry,
                    DType dtype) {
  const int64_t out = weight[0], in = weight[3];
  if (weight[1] != window || weight[2] != window || geometry.stride != 1 || geometry.dilation != 1 ||
      geometry.padding >= window || out % simd_lanes != 0 || in % simd_lanes != 0)
    return false;
  const int64_t tiles = Tiles(tiled).count(), used = tiled[0] * tiled[1] * tiled[2];
  // What tiles compute beyond the border must be little, the more so in bf16, where a plain sum takes half of
  // the time; and there must be tiles enough for the transform of the windows to pay.
  const bool is_bf16 = dtype == DType::bf16;
  if (used == 0 ||
      static_cast<double>(tiles * tile * tile) > (is_bf16 ? 1.4 : 2.2) * static_cast<double>(used))
    return false;
  if (is_bf16 && pass != ConvPass::weight_gradient && 1024 * tiles < in * out) return false;
  const int64_t fewest = is_bf16 || pass == ConvPass::weight_gradient ? 64 : 16;
  return out >= fewest && in >= fewest;
}

void winograd_conv2d(const Tensor& x, const Tensor& weight, const ConvGeometry& geometry, const Tensor& y) {
  dispatch_float(x.dtype(), [&]<class T>(T) {
    Convolution<T>(x, {weight, false}, geometry.padding, y).run();
  });
}

void winograd_conv2d_backward_data(const Tensor& dy, const Tensor& weight, const ConvGeometry& geometry,
                                   const Tensor& dx) {
  const int64_t padding = window - 1 - geometry.padding;
  dispatch_float(dy.dtype(), [&]<class T>(T) { Convolution<T>(dy, {weight, true}, padding, dx).run(); });
}

}  // namespace la
