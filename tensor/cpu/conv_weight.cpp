#include "tensor/cpu/conv_weight.h"

#include <algorithm>

#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

#include "tensor/cpu/simd.h"
#include "tensor/parallel.h"
#include "tensor/vector_math.h"

namespace la {
namespace {

// For one tap (i, j) of the window the gradient is a matrix product, [C, pixels] x [pixels, O], of which a
// tile of tile_in x tile_out sums fills half of the registers. A step of the product multiplies one number of
// each of tile_in channels of x with tile_out channels of dy, for one pixel, or for two neighbors at once
// where the machine has an instruction for that.
constexpr int tile_in = simd_lanes / 2;
constexpr int tile_vectors = 2;
constexpr int tile_out = tile_vectors * simd_lanes;

/// One pixel a step, in f32.
struct OnePixel {
  static constexpr int pixels = 1;
  using Element = float;
  template <class T>
  static Element pack(T x, T) {
    return value_of(x);
  }
  static Floats multiply_add(Floats sum, Element x, const Element* dy) { return sum + x * load(dy); }
};

#ifdef __AVX512BF16__
/// Two pixels a step, in bf16 with sums in f32.
struct TwoPixels {
  static constexpr int pixels = 2;
  using Element = uint32_t;
  static Element pack(bf16 first, bf16 second) {
    return first.bits | static_cast<uint32_t>(second.bits) << 16;
  }
  static Floats multiply_add(Floats sum, Element x, const Element* dy) {
    return (Floats)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(static_cast<int>(x)),
                                    (__m512bh)_mm512_loadu_si512(dy));
  }
};
#endif

/// The arithmetic for an element type.
template <class T>
struct Arithmetic {
  using type = OnePixel;
};
#ifdef __AVX512BF16__
template <>
struct Arithmetic<bf16> {
  using type = TwoPixels;
};
#endif

template <class T>
class WeightGradient {
 public:
  WeightGradient(const Tensor& dy, const Tensor& x, const ConvGeometry& geometry, const Tensor& dweight)
      : g_(geometry),
        n_(x.size(0)),
        h_(x.size(1)),
        w_(x.size(2)),
        in_(x.size(3)),
        p_(dy.size(1)),
        q_(dy.size(2)),
        out_(dy.size(3)),
        kh_(dweight.size(1)),
        kw_(dweight.size(2)),
        steps_(divide_up(q_, A::pixels)),
        columns_((q_ - 1) * g_.stride + (kw_ - 1) * g_.dilation + 1),
        in_tiles_(divide_up(in_, tile_in)),
        out_tiles_(divide_up(out_, tile_out)),
        dy_(dy.data<T>()),
        x_(x.data<T>()),
        dweight_(dweight.data<float>()) {}

  /// Threads share the sums: each takes some taps of some tiles of input channels, over all pictures.
  void run() const {
    const int64_t items = in_tiles_ * kh_ * kw_;
    const int64_t parts = std::min<int64_t>(items, omp_get_max_threads());
    const int64_t packed = block_ * (x_elements_ + out_tiles_ * dy_elements_);
    const Tensor packs({parts, packed}, DType::i32), sums({items, out_tiles_, tile_in, tile_out}, DType::f32);
    parallel_for(parts, 1, [&](int64_t begin, int64_t end) {
      for (int64_t part = begin; part < end; ++part)
        run(items * part / parts, items * (part + 1) / parts,
            reinterpret_cast<Element*>(packs.data<int32_t>() + part * packed), sums.data<float>());
    });
  }

 private:
  using A = typename Arithmetic<T>::type;
  using Element = typename A::Element;
  static_assert(sizeof(Element) == sizeof(int32_t));

  /// Items are numbered [tile of input channels][tap].
  void run(int64_t begin, int64_t end, Element* x_pack, float* sums) const {
    const int64_t taps = kh_ * kw_;
    constexpr int64_t tile = tile_in * tile_out;
    Element* const dy_pack = x_pack + block_ * x_elements_;
    std::fill(sums + begin * out_tiles_ * tile, sums + end * out_tiles_ * tile, 0.0f);
    for (int64_t first = 0; first < n_; first += block_) {
      const int64_t pictures = std::min(block_, n_ - first);
      for (int64_t o = 0; o < out_tiles_; ++o)
        pack_dy(first, pictures, o, dy_pack + o * block_ * dy_elements_);
      for (int64_t item = begin; item < end; ++item) {
        if (item == begin || item % taps == 0) pack_x(first, pictures, item / taps, x_pack);
        for (int64_t o = 0; o < out_tiles_; ++o) {
          const bool narrow = out_ - o * tile_out <= simd_lanes;
          const auto add =
              narrow ? &WeightGradient::add_products<1> : &WeightGradient::add_products<tile_vectors>;
          (this->*add)(x_pack, dy_pack + o * block_ * dy_elements_, pictures, item % taps / kw_, item % kw_,
                       sums + (item * out_tiles_ + o) * tile);
        }
      }
    }
    for (int64_t item = begin; item < end; ++item)
      for (int64_t o = 0; o < out_tiles_; ++o) store_tile(item, o, sums + (item * out_tiles_ + o) * tile);
  }

  /// [pictures][h][columns][tile_in]: column c holds the pixel that tap j multiplies at q stride + j dilation
  /// = c, and its neighbor at q + 1; zeros beside the picture.
  void pack_x(int64_t first, int64_t pictures, int64_t tile, Element* to) const {
    const int64_t channel = tile * tile_in, channels = std::min<int64_t>(tile_in, in_ - channel);
    T zeros[tile_in];
    std::fill(zeros, zeros + tile_in, T(0.0f));
    const int64_t left = std::min<int64_t>(g_.padding, columns_),
                  right = std::clamp(w_ - g_.stride + g_.padding, left, columns_);
    for (int64_t row = first * h_; row < (first + pictures) * h_; ++row, to += columns_ * tile_in) {
      const T* line = x_ + row * w_ * in_ + channel;
      const auto pixel = [&](int64_t column) {
        return column >= 0 && column < w_ ? line + column * in_ : zeros;
      };
      const auto pack_columns = [&](int64_t begin, int64_t end, auto&& at) {
        for (int64_t c = begin; c < end; ++c)
          pack_line<tile_in>(at(c - g_.padding), at(c - g_.padding + g_.stride), channels, to + c * tile_in);
      };
      pack_columns(0, left, pixel);
      pack_columns(left, right, [&](int64_t column) { return line + column * in_; });  // all in the picture
      pack_columns(right, columns_, pixel);
    }
  }

  /// [pictures][p][steps][tile_out]; zeros beyond the last pixel of a line.
  void pack_dy(int64_t first, int64_t pictures, int64_t tile, Element* to) const {
    const int64_t channel = tile * tile_out, channels = std::min<int64_t>(tile_out, out_ - channel);
    T zeros[tile_out];
    std::fill(zeros, zeros + tile_out, T(0.0f));
    for (int64_t row = first * p_; row < (first + pictures) * p_; ++row) {
      const T* line = dy_ + row * q_ * out_ + channel;
      for (int64_t q = 0; q < q_; q += A::pixels, to += tile_out)
        pack_line<tile_out>(line + q * out_, q + 1 < q_ ? line + (q + 1) * out_ : zeros, channels, to);
    }
  }

  template <int width>
  static void pack_line(const T* __restrict first, const T* __restrict second, int64_t channels,
                        Element* __restrict to) {
    if (channels == width) {
      for (int i = 0; i < width; ++i) to[i] = A::pack(first[i], second[i]);
      return;
    }
    for (int i = 0; i < width; ++i) to[i] = i < channels ? A::pack(first[i], second[i]) : Element{};
  }

  /// sums[c, o] += x . dy over the pixels of a block, for one tap.
  template <int vectors>
  void add_products(const Element* x, const Element* dy, int64_t pictures, int64_t i, int64_t j,
                    float* sums) const {
    Floats sum[tile_in][vectors];
    for (int c = 0; c < tile_in; ++c)
      for (int v = 0; v < vectors; ++v) sum[c][v] = load(sums + c * tile_out + v * simd_lanes);
    const int64_t stride = A::pixels * g_.stride * tile_in;
    for (int64_t n = 0; n < pictures; ++n)
      for (int64_t p = 0; p < p_; ++p) {
        const int64_t row = p * g_.stride - g_.padding + i * g_.dilation;
        if (row < 0 || row >= h_) continue;
        const Element* from = x + ((n * h_ + row) * columns_ + j * g_.dilation) * tile_in;
        const Element* line = dy + (n * p_ + p) * steps_ * tile_out;
        for (int64_t s = 0; s < steps_; ++s, from += stride, line += tile_out)
          for (int c = 0; c < tile_in; ++c)
            for (int v = 0; v < vectors; ++v)
              sum[c][v] = A::multiply_add(sum[c][v], from[c], line + v * simd_lanes);
      }
    for (int c = 0; c < tile_in; ++c)
      for (int v = 0; v < vectors; ++v) store(sums + c * tile_out + v * simd_lanes, sum[c][v]);
  }

  /// Copies a tile, which has the channels of dy side by side, to dweight, which has those of x.
  void store_tile(int64_t item, int64_t o, const float* sums) const {
    const int64_t tap = item % (kh_ * kw_), channel = item / (kh_ * kw_) * tile_in;
    const int64_t outs = std::min<int64_t>(tile_out, out_ - o * tile_out),
                  ins = std::min<int64_t>(tile_in, in_ - channel);
    for (int64_t k = 0; k < outs; ++k)
      for (int64_t c = 0; c < ins; ++c)
        dweight_[((o * tile_out + k) * kh_ * kw_ + tap) * in_ + channel + c] = sums[c * tile_out + k];
  }

  const ConvGeometry g_;
  const int64_t n_, h_, w_, in_, p_, q_, out_, kh_, kw_;  // x [n, h, w, in], dy [n, p, q, out]
  const int64_t steps_, columns_, in_tiles_, out_tiles_;
  const int64_t x_elements_ = h_ * columns_ * tile_in,
                dy_elements_ = p_ * steps_ * tile_out;  // a picture's, packed
  // Pictures that are packed at once: as many as half of the second cache holds.
  const int64_t block_ = std::clamp<int64_t>(
      (int64_t{1} << 19) / 4 / (x_elements_ + out_tiles_ * dy_elements_), 1, std::max<int64_t>(n_, 1));
  const T *dy_, *x_;
  float* dweight_;
};

}  // namespace

bool has_fast_weight_gradient(const Shape& x_shape, const Shape& weight_shape, DType dtype) {
  constexpr bool measured = simd_lanes == 16;  // with narrower registers it has not been compared
  const int64_t channels = x_shape[3], taps = weight_shape[1] * weight_shape[2];
  const int64_t fewest = dtype == DType::bf16 ? tile_in : 4 * tile_in;
  return measured && taps > 1 && channels % tile_in == 0 && channels >= fewest;
}

void fast_weight_gradient(const Tensor& dy, const Tensor& x, const ConvGeometry& geometry,
                          const Tensor& dweight) {
  dispatch_float(x.dtype(),
                 [&](auto type) { WeightGradient<decltype(type)>(dy, x, geometry, dweight).run(); });
}

}  // namespace la
