// The weight gradient: with d = A dy A^T and v = B^T x B of every tile, the sums of d * v over the tiles,
// point by point, transformed back by G^T and G.
#include <vector>

#include "tensor/cpu/winograd.h"
#include "tensor/cpu/winograd_tiles.h"

namespace la {
namespace {

using namespace winograd;

template <class T>
class TiledWeightGradient {
 public:
  TiledWeightGradient(const Tensor& dy, const Tensor& x, int64_t padding, const Tensor& dweight)
      : dy_(dy), x_(x), padding_(padding), dweight_(dweight) {}

  /// Threads share the blocks of sums, and strands of the tiles where there are few blocks. How many strands
  /// does not depend on the number of threads, so neither does the order of a sum.
  void run() const {
    std::vector<Spectrum> sums;
    if (strands_ > 1 || piece_ < strand_)
      for (int64_t unit = 0; unit < strands_ * blocks_; ++unit) sums.push_back(make_sums());
    parallel_for(strands_ * blocks_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t unit = begin; unit < end;) {
        const int64_t strand = unit / blocks_, first = unit % blocks_;
        const Range blocks{first, std::min(end - unit, blocks_ - first)};
        add_strand(part_of(tiles_.count(), strand_, strand), blocks,
                   sums.empty() ? nullptr : sums.data() + strand * blocks_);
        unit += blocks.count;
      }
    });
    if (sums.empty()) return;
    parallel_for(blocks_ * block_out, 1, [&](int64_t begin, int64_t end) {
      for (int64_t at = begin; at < end; ++at) {
        const int64_t block = at / block_out, row = at % block_out;
        for (int64_t strand = 1; strand < strands_; ++strand)
          add_row(sums[static_cast<size_t>(strand * blocks_ + block)], sums[static_cast<size_t>(block)], row);
        store_gradient(sums[static_cast<size_t>(block)], block, row);
      }
    });
  }

 private:
  // Sums of so many output channels, with product_width input channels, stay in a thread's second cache.
  static constexpr int64_t block_out = 32;
  // So many units of work keep many threads busy; shorter strands would cost too much memory and time for
  // their sums.
  static constexpr int64_t enough_units = 64, fewest_of_strand = 256;
  static constexpr int64_t piece_bytes = int64_t{8} << 20;  // of transformed tiles: a part of the last cache
  static constexpr int64_t fewest_of_piece = 64;

  static Spectrum make_sums() { return {block_out, product_width, product_width}; }

  // Blocks are numbered [panel of inputs][block of outputs].
  Range inputs_of(int64_t block) const { return part_of(in_, product_width, block / out_blocks_); }
  Range outputs_of(int64_t block) const { return part_of(out_, block_out, block % out_blocks_); }

  /// Adds the tiles of a strand to some blocks. Where one piece is all there is, `sums` is null, and
  /// the blocks' gradients are complete and stored.
  void add_strand(Range strand, Range blocks, const Spectrum* sums) const {
    const int64_t last = blocks.first + blocks.count - 1;
    const bool one_panel = blocks.first / out_blocks_ == last / out_blocks_;
    const Range in = join(inputs_of(blocks.first), inputs_of(last));
    const Range out = one_panel ? join(outputs_of(blocks.first), outputs_of(last)) : Range{0, out_};
    const Spectrum v(piece_, in.count, product_width), d(piece_, out.count, block_out), own = make_sums();
    for (int64_t done = 0; done < strand.count; done += piece_) {
      const Range tiles{strand.first + done, std::min(piece_, strand.count - done)};
      transform_pictures<InputTransform, T>(x_, in, tiles_, tiles, padding_, v);
      transform_pictures<OutputGradientTransform, T>(dy_, out, tiles_, tiles, 0, d);
      for (int64_t block = blocks.first; block <= last; ++block) {
        const Spectrum& sum = sums == nullptr ? own : sums[block];
        const Range from = inputs_of(block), to = outputs_of(block);
        for (int64_t f = 0; f < frequencies; ++f)
          block_product(d.matrix(f, 0, to.first - out.first).transposed(),
                        v.matrix(f, 0, from.first - in.first), to.count, from.count, tiles.count, done > 0,
                        sum.matrix(f));
        for (int64_t row = 0; sums == nullptr && row < to.count; ++row) store_gradient(own, block, row);
      }
    }
  }

  static Range join(Range a, Range b) { return {a.first, b.first + b.count - a.first}; }

  static void add_row(const Spectrum& from, const Spectrum& to, int64_t row) {
    for (int64_t f = 0; f < frequencies; ++f) {
      const float* x = from.matrix(f, row).data;
      float* y = to.matrix(f, row).data;
      for (int64_t i = 0; i < product_width; ++i) y[i] += x[i];
    }
  }

  /// The gradient of one output channel of a block; none where the block has fewer.
  void store_gradient(const Spectrum& sums, int64_t block, int64_t row) const {
    const Range in = inputs_of(block), out = outputs_of(block);
    if (row >= out.count) return;
    for (int64_t i = 0; i < in.count; i += simd_lanes) {
      float* to = dweight_.data<float>() + (out.first + row) * window * window * in_ + in.first + i;
      transform_square<WindowGradientTransform, Floats>(
          sums.reader(row, i), [&](int a, int b, Floats y) { store(to + (a * window + b) * in_, y); });
    }
  }

  const Tensor &dy_, &x_;
  const int64_t padding_;
  const Tensor& dweight_;
  const Tiles tiles_{dy_.shape()};
  const int64_t out_ = dy_.size(3), in_ = x_.size(3);
  const int64_t out_blocks_ = divide_up(out_, block_out),
                blocks_ = divide_up(in_, product_width) * out_blocks_;
  const int64_t strand_ = divide_up(tiles_.count(), std::clamp<int64_t>(tiles_.count() / fewest_of_strand, 1,
                                                                        divide_up(enough_units, blocks_)));
  const int64_t strands_ = divide_up(tiles_.count(), strand_);
  const int64_t fit_ = std::max<int64_t>(piece_bytes / (frequencies * 4 * (in_ + out_)), fewest_of_piece);
  const int64_t piece_ = divide_up(strand_, divide_up(strand_, fit_));
};

}  // namespace

void winograd_conv2d_backward_weight(const Tensor& dy, const Tensor& x, const ConvGeometry& geometry,
                                     const Tensor& dweight) {
  dispatch_float(x.dtype(),
                 [&]<class T>(T) { TiledWeightGradient<T>(dy, x, geometry.padding, dweight).run(); });
}

}  // namespace la
