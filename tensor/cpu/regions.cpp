// Regions of interest on the CPU. A sample's weight is the product of one along each axis; those are computed
// first, and the rest is sums of pixels, C channels long. Forward reads four or so pixels for each cell;
// backward, each row of the picture adds the cells that touch it, region by region, so that sums do not
// depend on how the rows are shared out.
#include "tensor/regions.h"
#include "tensor/cpu/channel_tiles.h"
#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/indices.h"

namespace la {
namespace {

using regions::Axis;

struct Range {
  int begin = 0, end = 0;
};

/// Of one axis of all regions: the weight of each pixel in each cell, and the pixels whose weights are not 0.
struct AxisWeights {
  int cells, extent;
  std::vector<float> weights;  // [R, cells, extent]
  std::vector<Range> ranges;   // [R, cells]

  /// `corner`: 0 along x, 1 along y.
  AxisWeights(const Tensor& boxes, int corner, int count, int64_t pixels, const RegionGrid& grid)
      : cells(count),
        extent(static_cast<int>(pixels)),
        weights(static_cast<size_t>(boxes.size(0) * count * pixels)),
        ranges(static_cast<size_t>(boxes.size(0) * count)) {
    const float* box = boxes.data<float>();
    parallel_for(boxes.size(0), 64, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const Axis axis(box[4 * r + corner], box[4 * r + corner + 2], cells, extent, grid);
        for (int cell = 0; cell < cells; ++cell) {
          float* own = weights.data() + (r * cells + cell) * extent;
          axis.write_weights(cell, grid, own);
          ranges[static_cast<size_t>(r * cells + cell)] = range_of(own);
        }
      }
    });
  }

  const float* of(int64_t region, int cell) const {
    return weights.data() + (region * cells + cell) * extent;
  }
  Range range(int64_t region, int cell) const { return ranges[static_cast<size_t>(region * cells + cell)]; }

 private:
  Range range_of(const float* own) const {
    Range range{0, extent};
    while (range.begin < range.end && own[range.begin] == 0.0f) ++range.begin;
    while (range.end > range.begin && own[range.end - 1] == 0.0f) --range.end;
    return range;
  }
};

/// y [C] = the weighted sum of the pixels of a cell; x is the picture. A tile of channels is in registers.
template <class V, class T>
void sum_pixels(const T* x, int64_t width, int64_t channels, const float* down, Range rows,
                const float* across, Range columns, int64_t channel, T* y) {
  V sum[parts<V>] = {};
  for (int h = rows.begin; h < rows.end; ++h)
    for (int w = columns.begin; w < columns.end; ++w) {
      const float weight = down[h] * across[w];
      const T* pixel = x + (h * width + w) * channels + channel;
      for (int v = 0; v < parts<V>; ++v) sum[v] += weight * load<V>(pixel + v * lanes<V>);
    }
  for (int v = 0; v < parts<V>; ++v) store(y + channel + v * lanes<V>, sum[v]);
}

/// sum [n] += weight * x [n].
template <class T>
void add_scaled(float weight, const T* x, int64_t n, float* sum) {
  int64_t c = 0;
  for (; c + simd_lanes <= n; c += simd_lanes)
    store(sum + c, load<Floats>(sum + c) + weight * load<Floats>(x + c));
  for (; c < n; ++c) sum[c] += weight * value_of(x[c]);
}

constexpr int64_t block_channels = 256;  // a row of so many fits into the second cache

template <class T>
struct BackwardArrays {
  const T* dy;
  const int32_t* pictures;
  T* dx;
};

/// Row h of picture n of dx, channels begin to end; sum is room for [W, end - begin].
template <class T>
void write_gradient_row(const BackwardArrays<T>& p, const AxisWeights& down, const AxisWeights& across,
                        int64_t regions, int64_t channels, int64_t n, int h, int64_t begin, int64_t end,
                        float* sum) {
  const int64_t count = end - begin;
  std::fill(sum, sum + across.extent * count, 0.0f);
  for (int64_t r = 0; r < regions; ++r) {
    if (p.pictures[r] != n) continue;
    for (int i = 0; i < down.cells; ++i) {
      const float row_weight = down.of(r, i)[h];
      if (row_weight == 0.0f) continue;
      for (int j = 0; j < across.cells; ++j) {
        const T* from = p.dy + ((r * down.cells + i) * across.cells + j) * channels + begin;
        const Range columns = across.range(r, j);
        for (int w = columns.begin; w < columns.end; ++w)
          add_scaled(row_weight * across.of(r, j)[w], from, count, sum + w * count);
      }
    }
  }
  T* to = p.dx + ((n * down.extent + h) * across.extent) * channels + begin;
  for (int w = 0; w < across.extent; ++w)
    for (int64_t c = 0; c < count; ++c) to[w * channels + c] = T(sum[w * count + c]);
}

}  // namespace

void CpuBackend::sample_regions(const Tensor& x, const Tensor& boxes, const Tensor& pictures,
                                const RegionGrid& grid, const Tensor& y) {
  check_indices("sample_regions", pictures, x.size(0));
  const int64_t height = x.size(1), width = x.size(2), channels = x.size(3);
  const AxisWeights down(boxes, 1, grid.height, height, grid), across(boxes, 0, grid.width, width, grid);
  dispatch_float(x.dtype(), [&]<class T>(T) {
    parallel_for(boxes.size(0) * grid.height, 1, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t r = row / grid.height;
        const int i = static_cast<int>(row % grid.height);
        const T* picture = x.data<T>() + pictures.data<int32_t>()[r] * height * width * channels;
        for (int j = 0; j < grid.width; ++j) {
          T* to = y.data<T>() + (row * grid.width + j) * channels;
          const auto sum = [&]<class V>(V, int64_t channel) {
            sum_pixels<V>(picture, width, channels, down.of(r, i), down.range(r, i), across.of(r, j),
                          across.range(r, j), channel, to);
          };
          int64_t c = 0;
          for (; c + tile_width <= channels; c += tile_width) sum(Floats{}, c);
          for (; c < channels; ++c) sum(float{}, c);
        }
      }
    });
  });
}

void CpuBackend::sample_regions_backward(const Tensor& dy, const Tensor& boxes, const Tensor& pictures,
                                         const RegionGrid& grid, const Tensor& dx) {
  check_indices("sample_regions_backward", pictures, dx.size(0));
  const int64_t height = dx.size(1), width = dx.size(2), channels = dx.size(3), rows = dx.size(0) * height;
  const AxisWeights down(boxes, 1, grid.height, height, grid), across(boxes, 0, grid.width, width, grid);
  dispatch_float(dy.dtype(), [&]<class T>(T) {
    const BackwardArrays<T> arrays{dy.data<T>(), pictures.data<int32_t>(), dx.data<T>()};
    // By blocks of channels first: they all cost the same, whatever the regions touch.
    parallel_for(divide_up(channels, block_channels) * rows, 1, [&](int64_t begin, int64_t end) {
      std::vector<float> sum(static_cast<size_t>(width * std::min(channels, block_channels)));
      for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t first = unit / rows * block_channels, row = unit % rows;
        write_gradient_row(arrays, down, across, boxes.size(0), channels, row / height,
                           static_cast<int>(row % height), first, std::min(first + block_channels, channels),
                           sum.data());
      }
    });
  });
}

}  // namespace la
