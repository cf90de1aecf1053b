// Folding of pictures and weights: see convolution.h.
#include "tensor/cuda/convolution.h"
#include "tensor/cuda/kernel.h"

namespace la::cuda {
namespace {

constexpr int threads = 256;

/// Walks over the channels of a folded pixel: (row, column) within the cell, channel of the picture.
struct FoldedChannel {
  int row, column, channel;

  __device__ FoldedChannel(int number, const Folding& f)
      : row(number / (f.stride * f.channels)),
        column(number / f.channels % f.stride),
        channel(number % f.channels) {}
  __device__ bool is_filling(const Folding& f) const { return row >= f.stride; }
  __device__ void advance(const Folding& f) {
    if (++channel < f.channels) return;
    channel = 0;
    if (++column < f.stride) return;
    column = 0;
    ++row;
  }
};

/// Reads x about once and writes y [N, height, width, folded] once, a pack of channels a thread.
template <class T>
__global__ void fold_pictures_kernel(Folding f, int64_t packs, int x_height, int x_width, int height,
                                     int width, const T* x, T* y) {
  constexpr int together = vector_width<T>;
  const int packs_of_pixel = f.folded / together;
  for (int64_t item = global_thread(); item < packs; item += global_threads()) {
    const auto pixel = static_cast<int>(item / packs_of_pixel);
    FoldedChannel at(static_cast<int>(item % packs_of_pixel) * together, f);
    const int picture = pixel / (height * width);
    const int top = f.stride * (pixel / width % height + f.first),
              left = f.stride * (pixel % width + f.first);
    Pack<T, together> pack;
    for (int e = 0; e < together; ++e, at.advance(f)) {
      const int row = top + at.row, column = left + at.column;
      const bool inside = !at.is_filling(f) && row >= 0 && row < x_height && column >= 0 && column < x_width;
      pack.value[e] =
          inside ? x[((int64_t{picture} * x_height + row) * x_width + column) * f.channels + at.channel]
                 : T(0.0f);
    }
    pack.store(y + item * together);
  }
}

/// The element of a weight [O, K, K, C] that element `number` of the folded one is; -1 if it is none.
__device__ int64_t unfolded_place(int64_t number, const Folding& f) {
  const FoldedChannel at(static_cast<int>(number % f.folded), f);
  const auto window = static_cast<int>(number / f.folded % (f.taps * f.taps));
  const int row = f.stride * (window / f.taps + f.first) + at.row + f.padding;
  const int column = f.stride * (window % f.taps + f.first) + at.column + f.padding;
  const bool inside = !at.is_filling(f) && row >= 0 && row < f.kernel && column >= 0 && column < f.kernel;
  const int64_t out = number / f.folded / (f.taps * f.taps);
  return inside ? ((out * f.kernel + row) * f.kernel + column) * f.channels + at.channel : -1;
}

/// Reads and writes each once.
template <class T>
__global__ void fold_weight_kernel(Folding f, int64_t n, const T* weight, T* folded) {
  for (int64_t i = global_thread(); i < n; i += global_threads()) {
    const int64_t from = unfolded_place(i, f);
    folded[i] = from < 0 ? T(0.0f) : weight[from];
  }
}

__global__ void unfold_gradient_kernel(Folding f, int64_t n, const float* folded, float* dweight) {
  for (int64_t i = global_thread(); i < n; i += global_threads())
    if (const int64_t to = unfolded_place(i, f); to >= 0) dweight[to] = folded[i];
}

int floor_divide(int a, int b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

}  // namespace

std::optional<Folding> folding_of(DType pictures, const Shape& weight, const ConvGeometry& g) {
  constexpr int together = vector_width<bf16>, most_channels = 4, most_stride = 4;
  const auto channels = static_cast<int>(weight[3]), kernel = static_cast<int>(weight[1]);
  if (pictures != DType::bf16 || channels > most_channels || g.stride > most_stride || g.dilation != 1 ||
      weight[1] != weight[2] || kernel < g.stride || weight.numel() == 0)
    return std::nullopt;
  const int first = floor_divide(-g.padding, g.stride), last = floor_divide(kernel - 1 - g.padding, g.stride);
  return Folding{.stride = g.stride,
                 .padding = g.padding,
                 .kernel = kernel,
                 .first = first,
                 .taps = last - first + 1,
                 .channels = channels,
                 .folded = (g.stride * g.stride * channels + together - 1) / together * together};
}

Tensor fold_pictures(const Tensor& x, const Folding& f, int64_t out_height, int64_t out_width) {
  const Tensor y({x.size(0), out_height + f.taps - 1, out_width + f.taps - 1, f.folded}, x.dtype(),
                 x.device());
  const int64_t packs = y.numel() / vector_width<bf16>;
  launch("fold_pictures", fold_pictures_kernel<bf16>, {blocks_for(packs, threads), threads}, f, packs,
         static_cast<int>(x.size(1)), static_cast<int>(x.size(2)), static_cast<int>(y.size(1)),
         static_cast<int>(y.size(2)), x.data<bf16>(), y.data<bf16>());
  return y;
}

Tensor fold_weight(const Tensor& weight, const Folding& f) {
  const Tensor folded({weight.size(0), f.taps, f.taps, f.folded}, weight.dtype(), weight.device());
  launch("fold_weight", fold_weight_kernel<bf16>, {blocks_for(folded.numel(), threads), threads}, f,
         folded.numel(), weight.data<bf16>(), folded.data<bf16>());
  return folded;
}

void unfold_weight_gradient(const Tensor& folded, const Folding& f, const Tensor& dweight) {
  launch("unfold_weight_gradient", unfold_gradient_kernel, {blocks_for(folded.numel(), threads), threads}, f,
         folded.numel(), folded.data<float>(), dweight.data<float>());
}

}  // namespace la::cuda
