// Regions of interest on the GPU. The weights of a sample along each axis come first, from one small kernel;
// then a thread makes one pack of channels of one cell, or, backward, of one pixel, to which it adds the
// cells that touch it, region by region: no sum depends on the order of threads.
#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/kernel.h"
#include "tensor/regions.h"

namespace la {
namespace {

using namespace cuda;
using regions::Axis;

constexpr int threads = 256;

/// Pixels begin to end.
struct Range {
  int begin, end;
};

/// Of one axis of all regions: the weight of each pixel in each cell, and the pixels whose weights are not 0.
struct AxisWeights {
  float* weights;             // [R, cells, extent]
  Range* ranges;              // [R, cells]
  int cells, extent, corner;  // of the box's numbers: 0 along x, 1 along y

  __device__ const float* of(int64_t region, int cell) const {
    return weights + (region * cells + cell) * extent;
  }
  __device__ Range range(int64_t region, int cell) const { return ranges[region * cells + cell]; }
};

/// One thread for each cell of an axis.
__global__ void axis_weights_kernel(int64_t regions, const float* boxes, RegionGrid grid, AxisWeights out) {
  for (int64_t i = global_thread(); i < regions * out.cells; i += global_threads()) {
    const float* box = boxes + i / out.cells * 4 + out.corner;
    float* own = out.weights + i * out.extent;
    Axis(box[0], box[2], out.cells, out.extent, grid)
        .write_weights(static_cast<int>(i % out.cells), grid, own);
    Range range{0, out.extent};
    while (range.begin < range.end && own[range.begin] == 0.0f) ++range.begin;
    while (range.end > range.begin && own[range.end - 1] == 0.0f) --range.end;
    out.ranges[i] = range;
  }
}

/// What a kernel knows of the regions and the feature map [N, down.extent, across.extent, channels].
struct Geometry {
  AxisWeights down, across;
  const int32_t* pictures;
  int64_t regions, n, channels;
};

/// y <- sum of the weighted pixels of its cell. Reads the pixels that a cell has, neighboring threads side by
/// side.
template <int width, class T>
__global__ void sample_regions_kernel(Geometry g, const T* x, Reporter report, T* y) {
  using Values = Pack<T, width>;
  const int64_t packs = g.channels / width;
  const int64_t count = g.regions * g.down.cells * g.across.cells * packs;
  for (int64_t at = global_thread(); at < count; at += global_threads()) {
    const int64_t channel = at % packs * width, cell = at / packs;
    const int j = static_cast<int>(cell % g.across.cells);
    const int i = static_cast<int>(cell / g.across.cells % g.down.cells);
    const int64_t r = cell / g.across.cells / g.down.cells, picture = g.pictures[r];
    if (picture < 0 || picture >= g.n) {
      report(picture, g.n - 1);
      continue;
    }
    const Range rows = g.down.range(r, i), columns = g.across.range(r, j);
    float sum[width] = {};
    for (int h = rows.begin; h < rows.end; ++h)
      for (int w = columns.begin; w < columns.end; ++w) {
        const float weight = g.down.of(r, i)[h] * g.across.of(r, j)[w];
        const int64_t pixel = (picture * g.down.extent + h) * g.across.extent + w;
        const auto from = Values::load(x + pixel * g.channels + channel);
        for (int e = 0; e < width; ++e) sum[e] = std::fma(weight, static_cast<float>(from.value[e]), sum[e]);
      }
    Values to;
    for (int e = 0; e < width; ++e) to.value[e] = T(sum[e]);
    to.store(y + cell * g.channels + channel);
  }
}

/// Adds what region r gives to pixel (h, w).
template <int width, class T>
__device__ void add_region(const Geometry& g, int64_t r, int h, int w, const T* dy, float (&sum)[width]) {
  for (int i = 0; i < g.down.cells; ++i) {
    const float row_weight = g.down.of(r, i)[h];
    if (row_weight == 0.0f) continue;
    for (int j = 0; j < g.across.cells; ++j) {
      const float weight = row_weight * g.across.of(r, j)[w];
      if (weight == 0.0f) continue;
      const int64_t cell = (r * g.down.cells + i) * g.across.cells + j;
      const auto from = Pack<T, width>::load(dy + cell * g.channels);
      for (int e = 0; e < width; ++e) sum[e] = std::fma(weight, static_cast<float>(from.value[e]), sum[e]);
    }
  }
}

/// dx of one pack of channels of a pixel. Reads dy about four times, for a cell touches about four pixels.
template <int width, class T>
__global__ void sample_regions_backward_kernel(Geometry g, const T* dy, Reporter report, T* dx) {
  const int64_t packs = g.channels / width;
  const int64_t count = g.n * g.down.extent * g.across.extent * packs;
  for (int64_t at = global_thread(); at < count; at += global_threads()) {
    const int64_t channel = at % packs * width, pixel = at / packs;
    const int w = static_cast<int>(pixel % g.across.extent);
    const int h = static_cast<int>(pixel / g.across.extent % g.down.extent);
    const int64_t picture = pixel / g.across.extent / g.down.extent;
    float sum[width] = {};
    for (int64_t r = 0; r < g.regions; ++r) {
      const int64_t own = g.pictures[r];
      if (own < 0 || own >= g.n) report(own, g.n - 1);
      if (own == picture) add_region<width>(g, r, h, w, dy + channel, sum);
    }
    Pack<T, width> to;
    for (int e = 0; e < width; ++e) to.value[e] = T(sum[e]);
    to.store(dx + at * width);
  }
}

/// The weights of one axis, and the memory that they lie in.
struct AxisMemory {
  Tensor weights, ranges;
  AxisWeights axis;

  AxisMemory(const Tensor& boxes, int corner, int cells, int64_t extent, const RegionGrid& grid)
      : weights({boxes.size(0), cells, extent}, DType::f32, Device::cuda()),
        ranges({boxes.size(0), cells, 2}, DType::i32, Device::cuda()),
        axis{weights.data<float>(), reinterpret_cast<Range*>(ranges.data<int32_t>()), cells,
             static_cast<int>(extent), corner} {
    launch("axis_weights", axis_weights_kernel, {blocks_for(boxes.size(0) * cells, threads), threads},
           boxes.size(0), boxes.data<float>(), grid, axis);
  }
};

Geometry geometry_of(const AxisMemory& down, const AxisMemory& across, const Tensor& pictures,
                     const Tensor& x) {
  return {down.axis, across.axis, pictures.data<int32_t>(), pictures.size(0), x.size(0), x.size(3)};
}

}  // namespace

void CudaBackend::sample_regions(const Tensor& x, const Tensor& boxes, const Tensor& pictures,
                                 const RegionGrid& grid, const Tensor& y) {
  const AxisMemory down(boxes, 1, grid.height, x.size(1), grid),
      across(boxes, 0, grid.width, x.size(2), grid);
  dispatch_float(x.dtype(), [&]<class T>(T) {
    dispatch_width<T>(x.size(3), aligned_for_vectors(x.data<T>(), y.data<T>()), [&](auto width) {
      launch("sample_regions", sample_regions_kernel<width(), T>,
             {blocks_for(y.numel() / width(), threads), threads}, geometry_of(down, across, pictures, x),
             x.data<T>(), Reporter("sample_regions: index {} is not in 0 to {}"), y.data<T>());
    });
  });
}

void CudaBackend::sample_regions_backward(const Tensor& dy, const Tensor& boxes, const Tensor& pictures,
                                          const RegionGrid& grid, const Tensor& dx) {
  const AxisMemory down(boxes, 1, grid.height, dx.size(1), grid),
      across(boxes, 0, grid.width, dx.size(2), grid);
  dispatch_float(dy.dtype(), [&]<class T>(T) {
    dispatch_width<T>(dx.size(3), aligned_for_vectors(dy.data<T>(), dx.data<T>()), [&](auto width) {
      launch("sample_regions_backward", sample_regions_backward_kernel<width(), T>,
             {blocks_for(dx.numel() / width(), threads), threads}, geometry_of(down, across, pictures, dx),
             dy.data<T>(), Reporter("sample_regions_backward: index {} is not in 0 to {}"), dx.data<T>());
    });
  });
}

}  // namespace la
