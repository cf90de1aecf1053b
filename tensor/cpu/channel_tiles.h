// Walking an array of rows of C channels with what belongs to the channels (sums, factors) in registers.
//
// Whatever C is, the array is seen as wide rows, in which the channels repeat until a row is
// whole tiles long:
//
//            <------------- width: a multiple of C and of tile_width -------------->
//            | tile | tile |                                                        |   block 0: 128 wide
//            rows | tile | tile |                                                        |   block 1 | tile |
//            the last: what remains
//
// A kernel runs over one tile's columns, down all rows of a block, on SIMD registers; for the columns
// that fill no tile it runs on single floats. Blocks do not depend on the number of threads, so
// neither do results.
#pragma once

#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

#include <numeric>
#include <type_traits>
#include <vector>

#include "tensor/cpu/simd.h"
#include "tensor/tensor.h"
#include "tensor/vector_math.h"

namespace la {

typedef uint16_t Halves __attribute__((vector_size(simd_lanes * sizeof(uint16_t))));

// load<V>(p) and store(p, V): one number or one register full of them, as f32.
template <class V>
V load(const float* p) {
  V x;
  std::memcpy(&x, p, sizeof x);
  return x;
}
template <class V>
V load(const bf16* p) {
  if constexpr (std::is_same_v<V, float>) {
    return value_of(*p);
  } else {
    Halves bits;
    std::memcpy(&bits, p, sizeof bits);
    return std::bit_cast<V>(__builtin_convertvector(bits, Ints) << 16);
  }
}

inline void store(float* p, float x) { *p = x; }
inline void store(bf16* p, float x) { *p = bf16(x); }
inline void store(bf16* p, const Floats& x) {
#ifdef __AVX512BF16__
  const __m256bh rounded = _mm512_cvtneps_pbh(std::bit_cast<__m512>(x));
  std::memcpy(static_cast<void*>(p), &rounded, sizeof rounded);
#else
  for (int i = 0; i < simd_lanes; ++i) p[i] = bf16(x[i]);
#endif
}

constexpr int64_t tile_width = 4 * simd_lanes;

/// Number of registers (or floats) of type V that hold one row of a tile (or of one column).
template <class V>
constexpr int parts = std::is_same_v<V, float> ? 1 : 4;
template <class V>
constexpr int64_t lanes = static_cast<int64_t>(sizeof(V) / sizeof(float));

class ChannelTiles {
 public:
  static constexpr int64_t rows_per_block = 128;
  static constexpr int64_t elements_per_strip = rows_per_block * tile_width;

  /// Wide rows of block `block`; they begin at `offset` of the array, `width` apart; `columns` of
  /// each are in use.
  struct Strip {
    int64_t block, offset, rows, columns, width;

    /// Calls kernel(V{}, column), V being Floats for whole tiles and float for single columns.
    template <class Kernel>
    void for_each_tile(Kernel kernel) const {
      int64_t column = 0;
      for (; column + tile_width <= columns; column += tile_width) kernel(Floats{}, column);
      for (; column < columns; ++column) kernel(float{}, column);
    }
  };

  explicit ChannelTiles(const Tensor& x)
      : channels_(x.size(-1)),
        width_(std::lcm(channels_, tile_width)),
        elements_(x.numel()),
        rows_(elements_ / width_) {}

  int64_t channels() const { return channels_; }
  int64_t width() const { return width_; }
  /// Rows of C channels.
  double count() const { return static_cast<double>(elements_ / channels_); }
  int64_t blocks() const { return divide_up(rows_, rows_per_block) + (elements_ > rows_ * width_ ? 1 : 0); }

  /// Calls body(strip) for all strips; for those of one block in order, for blocks in parallel.
  template <class Body>
  void for_each_strip(Body body) const {
    const int64_t grain = std::max<int64_t>(1, elements_per_thread / (rows_per_block * width_));
    parallel_for(blocks(), grain, [&](int64_t begin, int64_t end) {
      const int64_t strip_rows = std::clamp<int64_t>(elements_per_strip / width_, 1, rows_per_block);
      for (int64_t block = begin; block < end; ++block) {
        const int64_t first = block * rows_per_block, last = std::min(first + rows_per_block, rows_);
        for (int64_t row = first; row < last; row += strip_rows)
          body(Strip{block, row * width_, std::min(strip_rows, last - row), width_, width_});
        if (first >= rows_) body(Strip{block, rows_ * width_, 1, elements_ - rows_ * width_, width_});
      }
    });
  }

  /// Per-channel values repeated along a wide row.
  std::vector<float> widen(const std::vector<float>& values) const {
    std::vector<float> wide;
    wide.reserve(static_cast<size_t>(width_));
    while (static_cast<int64_t>(wide.size()) < width_) wide.insert(wide.end(), values.begin(), values.end());
    return wide;
  }

 private:
  int64_t channels_, width_, elements_;
  int64_t rows_;  // wide and complete
};

/// Two sums for each channel: summed in f32 within a block, in double precision over the blocks.
class ChannelSums {
 public:
  explicit ChannelSums(const ChannelTiles& tiles)
      : tiles_(tiles), partial_(Tensor::zeros({tiles.blocks(), 2, tiles.width()})) {}

  /// Adds the sums of a strip for a part of a tile.
  template <class V>
  void add(const ChannelTiles::Strip& strip, int64_t column, const V& first, const V& second) const {
    float* sums = partial_.data<float>() + 2 * strip.block * strip.width + column;
    store(sums, load<V>(sums) + first);
    store(sums + strip.width, load<V>(sums + strip.width) + second);
  }

  struct Totals {
    std::vector<double> first, second;
  };
  Totals totals() const;

 private:
  const ChannelTiles& tiles_;
  Tensor partial_;  // [blocks, 2, width]
};

inline ChannelSums::Totals ChannelSums::totals() const {
  const int64_t width = tiles_.width();
  std::vector<double> wide(static_cast<size_t>(2 * width), 0.0);
  const float* sums = partial_.data<float>();
  for (int64_t b = 0; b < tiles_.blocks(); ++b)
    for (int64_t i = 0; i < 2 * width; ++i) wide[static_cast<size_t>(i)] += sums[b * 2 * width + i];
  const auto channels = static_cast<size_t>(tiles_.channels());
  Totals totals{std::vector<double>(channels), std::vector<double>(channels)};
  for (size_t i = 0; i < wide.size() / 2; ++i) {
    totals.first[i % channels] += wide[i];
    totals.second[i % channels] += wide[wide.size() / 2 + i];
  }
  return totals;
}

}  // namespace la
