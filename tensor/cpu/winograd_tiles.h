// Tiles of pictures and their transformed numbers, for Winograd's convolutions (winograd.h).
#pragma once

#include <algorithm>

#include "tensor/cpu/block_product.h"
#include "tensor/cpu/channel_tiles.h"
#include "tensor/cpu/winograd_transforms.h"
#include "tensor/parallel.h"
#include "tensor/tensor.h"

namespace la::winograd {

/// Numbers from `first` on.
struct Range {
  int64_t first, count;
};
/// Part `number` of [0, n), cut into parts of `size`.
inline Range part_of(int64_t n, int64_t size, int64_t number) {
  return {number * size, std::clamp<int64_t>(n - number * size, 0, size)};
}

/// The tiles of outputs [N, H, W, C]: row by row in a picture, of all pictures one after the other.
class Tiles {
 public:
  explicit Tiles(const Shape& y)
      : down_(divide_up(y[1], tile)), across_(divide_up(y[2], tile)), count_(y[0] * down_ * across_) {}

  int64_t count() const { return count_; }

  struct Place {
    int64_t picture, row, column;  // of the tile's first output
  };
  Place operator[](int64_t t) const {
    const int64_t in_picture = t % (down_ * across_);
    return {t / (down_ * across_), in_picture / across_ * tile, in_picture % across_ * tile};
  }

 private:
  int64_t down_, across_, count_;
};

/// Transformed numbers in f32: for each of the frequencies rows of channels,
/// [frequencies][panels][rows][width], where a panel has `width` of the channels.
class Spectrum {
 public:
  Spectrum(int64_t rows, int64_t channels, int64_t width)
      : width_(width),
        panel_(rows * width),
        frequency_(divide_up(channels, width) * panel_ + cache_line),
        storage_({frequencies, frequency_}, DType::f32) {}

  /// The numbers of one frequency for the rows from `row` and the channels from `channel` on;
  /// those of a panel.
  MatrixView matrix(int64_t frequency, int64_t row = 0, int64_t channel = 0) const {
    return {at(row, channel) + frequency * frequency_, width_, 1};
  }
  /// For transform_square: the square of frequencies of a row, for the vector of channels from `channel` on.
  auto reader(int64_t row, int64_t channel) const {
    return [from = at(row, channel), stride = frequency_](int i, int j) {
      return load(from + (i * patch + j) * stride);
    };
  }
  auto writer(int64_t row, int64_t channel) const {
    return [to = at(row, channel), stride = frequency_](int i, int j, Floats y) {
      store(to + (i * patch + j) * stride, y);
    };
  }

 private:
  float* at(int64_t row, int64_t channel) const {
    return storage_.data<float>() + channel / width_ * panel_ + row * width_ + channel % width_;
  }

  // A power of two between the frequencies would put them all into a few sets of the cache.
  static constexpr int64_t cache_line = 16;
  int64_t width_, panel_, frequency_;
  Tensor storage_;
};

/// The square of extent x extent pixels of a picture from (row, column) on; those outside of it are zero.
template <class T, int extent>
class Square {
 public:
  Square(const Tensor& pictures, int64_t picture, int64_t row, int64_t column) {
    const int64_t h = pictures.size(1), w = pictures.size(2), channels = pictures.size(3);
    const T* first = pictures.data<T>() + picture * h * w * channels;
    for (int64_t i = 0; i < extent; ++i)
      for (int64_t j = 0; j < extent; ++j) {
        const bool inside = row + i >= 0 && row + i < h && column + j >= 0 && column + j < w;
        pixel_[i][j] = inside ? first + ((row + i) * w + column + j) * channels : nullptr;
      }
  }
  auto reader(int64_t channel) const {
    return [this, channel](int i, int j) {
      return pixel_[i][j] != nullptr ? load<Floats>(pixel_[i][j] + channel) : Floats{};
    };
  }

 private:
  const T* pixel_[extent][extent];
};

/// Transforms some channels of the squares of some tiles, which begin `before` pixels above and left of them,
/// to rows of a spectrum.
template <class Map, class T>
void transform_pictures(const Tensor& pictures, Range channels, const Tiles& tiles, Range range,
                        int64_t before, const Spectrum& to) {
  parallel_for(range.count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const Tiles::Place place = tiles[range.first + t];
      const Square<T, Map::from> square(pictures, place.picture, place.row - before, place.column - before);
      for (int64_t c = 0; c < channels.count; c += simd_lanes)
        transform_square<Map, Floats>(square.reader(channels.first + c), to.writer(t, c));
    }
  });
}

}  // namespace la::winograd
