// Boxes on the GPU: coding, overlaps, and non-maximum suppression in three steps: the boxes in order of their
// scores, a bit for each pair that overlaps, and one block that walks down the bits.
#include <algorithm>

#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/kernel.h"
#include "tensor/pointwise.h"
#include "tensor/regions.h"

namespace la {
namespace {

using namespace cuda;
using regions::Box;

constexpr int threads = 256;
constexpr int word_bits = 64;
using Word = unsigned long long;

__device__ Box box_at(const float* boxes, int64_t i) {
  return {boxes[4 * i], boxes[4 * i + 1], boxes[4 * i + 2], boxes[4 * i + 3]};
}
__device__ void store_box(const Box& box, float* to) {
  to[0] = box.x1;
  to[1] = box.y1;
  to[2] = box.x2;
  to[3] = box.y2;
}

__global__ void encode_kernel(int64_t n, const float* anchors, const float* boxes, BoxCoding coding,
                              float* codes) {
  for (int64_t i = global_thread(); i < n; i += global_threads())
    regions::encode(box_at(anchors, i), box_at(boxes, i), coding, codes + 4 * i);
}

__global__ void decode_kernel(int64_t n, int64_t each, const float* anchors, const float* codes,
                              BoxCoding coding, float* boxes) {
  for (int64_t i = global_thread(); i < n; i += global_threads())
    store_box(regions::decode(box_at(anchors, i / each), codes + 4 * i, coding), boxes + 4 * i);
}

__global__ void clip_kernel(int64_t n, const float* boxes, float width, float height, float* y) {
  for (int64_t i = global_thread(); i < n; i += global_threads())
    y[i] = regions::clip(boxes[i], i % 2 == 0 ? width : height);
}

__global__ void iou_kernel(int64_t n, int64_t columns, const float* a, const float* b, float extent,
                           float* y) {
  for (int64_t i = global_thread(); i < n; i += global_threads()) {
    const Box row = box_at(a, i / columns), column = box_at(b, i % columns);
    y[i] = regions::intersection_over_union(row, row.area(extent), column, column.area(extent), extent);
  }
}

__device__ float weight_at(const float* weights, int64_t i) { return weights == nullptr ? 1.0f : weights[i]; }

__global__ void smooth_l1_kernel(int64_t n, const float* x, const float* inside, const float* outside,
                                 pointwise::SmoothL1 f, float* y) {
  for (int64_t i = global_thread(); i < n; i += global_threads())
    y[i] = weight_at(outside, i) * f(weight_at(inside, i) * x[i]);
}

__global__ void smooth_l1_backward_kernel(int64_t n, const float* dy, const float* x, const float* inside,
                                          const float* outside, pointwise::SmoothL1 f, float* dx) {
  for (int64_t i = global_thread(); i < n; i += global_threads()) {
    const float weight = weight_at(inside, i);
    dx[i] = dy[i] * weight_at(outside, i) * weight * f.slope(weight * x[i]);
  }
}

// ---- Non-maximum suppression ------------------------------------------------------------------------------

/// sorted <- the boxes in the order of `order`.
__global__ void sort_boxes_kernel(int64_t n, const float* boxes, const int32_t* order, float* sorted) {
  for (int64_t i = global_thread(); i < n; i += global_threads())
    store_box(box_at(boxes, order[i]), sorted + 4 * i);
}

/// overlaps [n, words]: bit b of word w of row i is set if box 64 w + b comes after box i and overlaps it by
/// more than the threshold. A block does 64 rows of one word; words before the rows' own are not written.
__global__ void overlaps_kernel(int64_t n, int64_t words, const float* sorted, NmsOptions options,
                                Word* overlaps) {
  struct Columns {
    float boxes[4 * word_bits], areas[word_bits];
  };
  if (blockIdx.x < blockIdx.y) return;
  Columns& shared = shared_memory<Columns>();
  const auto thread = static_cast<int>(threadIdx.x);
  const int64_t first = int64_t{blockIdx.x} * word_bits, row = int64_t{blockIdx.y} * word_bits + thread;
  if (first + thread < n) {
    const Box box = box_at(sorted, first + thread);
    store_box(box, shared.boxes + 4 * thread);
    shared.areas[thread] = box.area(options.extent);
  }
  __syncthreads();
  if (row >= n) return;
  const Box box = box_at(sorted, row);
  const float area = box.area(options.extent);
  const int count = static_cast<int>(n - first < word_bits ? n - first : word_bits);
  Word word = 0;
  for (int b = blockIdx.x == blockIdx.y ? thread + 1 : 0; b < count; ++b) {
    const float iou =
        regions::intersection_over_union(box, area, box_at(shared.boxes, b), shared.areas[b], options.extent);
    if (iou > options.iou_threshold) word |= Word{1} << b;
  }
  overlaps[row * words + blockIdx.x] = word;
}

/// One block walks down the words. One thread decides which of a word's 64 boxes are kept; then all threads
/// add what those suppress to the later words. Reads the rows of the kept boxes once.
__global__ void keep_kernel(int64_t n, int64_t words, const Word* overlaps, const int32_t* order,
                            int64_t most, int32_t* indices, int32_t* count) {
  struct Current {
    Word kept;
    int64_t total;
  };
  Current& current = shared_memory<Current>();
  Word* suppressed = dynamic_shared_memory<Word>();  // [words]
  for (int64_t w = threadIdx.x; w < words; w += blockDim.x) suppressed[w] = 0;
  if (threadIdx.x == 0) current.total = 0;  // which it alone reads before the first barrier, as suppressed[0]
  for (int64_t w = 0; w < words; ++w) {
    const int64_t first = w * word_bits;
    if (threadIdx.x == 0) {
      Word taken = suppressed[w], kept = 0;
      int64_t total = current.total;
      for (int b = 0; b < word_bits && first + b < n && total < most; ++b) {
        if ((taken >> b & 1) != 0) continue;
        kept |= Word{1} << b;
        taken |= overlaps[(first + b) * words + w];
        indices[total++] = order[first + b];
      }
      current.kept = kept;
      current.total = total;
    }
    __syncthreads();
    const Word kept = current.kept;
    if (current.total >= most) break;
    for (int64_t later = w + 1 + threadIdx.x; later < words; later += blockDim.x) {
      Word add = 0;
      for (int b = 0; b < word_bits; ++b)
        if ((kept >> b & 1) != 0) add |= overlaps[(first + b) * words + later];
      suppressed[later] |= add;
    }
    __syncthreads();  // the next word's thread reads what others have suppressed
  }
  if (threadIdx.x == 0) *count = static_cast<int32_t>(current.total);
}

const float* data_or_null(const Tensor& t) { return t.defined() ? t.data<float>() : nullptr; }

LaunchShape one_thread_each(int64_t n) { return {blocks_for(n, threads), threads}; }

}  // namespace

void CudaBackend::nms(const Tensor& boxes, const Tensor& scores, const NmsOptions& options,
                      const KeptBoxes& out) {
  const int64_t n = boxes.size(0), words = (n + word_bits - 1) / word_bits;
  constexpr int64_t most_words = (48 << 10) / sizeof(Word);
  check(words <= most_words, "nms: {} boxes, expected at most {}", n, most_words * word_bits);
  const Device device = boxes.device();
  const TopK sorted_scores{Tensor({1, n}, DType::f32, device), Tensor({1, n}, DType::i32, device)};
  top_k(scores.reshape({1, n}), sorted_scores);
  const auto* order = sorted_scores.indices.data<int32_t>();
  const Tensor sorted({n, 4}, DType::f32, device), overlaps({n, words}, DType::i64, device);
  launch("nms_sort", sort_boxes_kernel, one_thread_each(n), n, boxes.data<float>(), order,
         sorted.data<float>());
  auto* bits = reinterpret_cast<Word*>(overlaps.data<int64_t>());
  const auto blocks = static_cast<unsigned>(words);
  launch("nms_overlaps", overlaps_kernel, {dim3(blocks, blocks), word_bits}, n, words, sorted.data<float>(),
         options, bits);
  const int block = static_cast<int>(std::clamp<int64_t>((words + 31) / 32 * 32, 32, 1024));
  launch("nms_keep", keep_kernel, {1, block, static_cast<size_t>(words) * sizeof(Word)}, n, words, bits,
         order, options.most, out.indices.data<int32_t>(), out.count.data<int32_t>());
}

void CudaBackend::encode_boxes(const Tensor& anchors, const Tensor& boxes, const BoxCoding& coding,
                               const Tensor& codes) {
  launch("encode_boxes", encode_kernel, one_thread_each(boxes.size(0)), boxes.size(0), anchors.data<float>(),
         boxes.data<float>(), coding, codes.data<float>());
}

void CudaBackend::decode_boxes(const Tensor& anchors, const Tensor& codes, const BoxCoding& coding,
                               const Tensor& boxes) {
  const int64_t n = codes.numel() / 4;
  launch("decode_boxes", decode_kernel, one_thread_each(n), n, codes.size(1) / 4, anchors.data<float>(),
         codes.data<float>(), coding, boxes.data<float>());
}

void CudaBackend::clip_boxes(const Tensor& boxes, float width, float height, const Tensor& y) {
  launch("clip_boxes", clip_kernel, one_thread_each(y.numel()), y.numel(), boxes.data<float>(), width, height,
         y.data<float>());
}

void CudaBackend::box_iou(const Tensor& a, const Tensor& b, float extent, const Tensor& y) {
  launch("box_iou", iou_kernel, one_thread_each(y.numel()), y.numel(), b.size(0), a.data<float>(),
         b.data<float>(), extent, y.data<float>());
}

void CudaBackend::smooth_l1(const Tensor& x, const Tensor& inside, const Tensor& outside, float sigma,
                            const Tensor& y) {
  launch("smooth_l1", smooth_l1_kernel, one_thread_each(x.numel()), x.numel(), x.data<float>(),
         data_or_null(inside), data_or_null(outside), pointwise::SmoothL1{sigma * sigma}, y.data<float>());
}

void CudaBackend::smooth_l1_backward(const Tensor& dy, const Tensor& x, const Tensor& inside,
                                     const Tensor& outside, float sigma, const Tensor& dx) {
  launch("smooth_l1_backward", smooth_l1_backward_kernel, one_thread_each(x.numel()), x.numel(),
         dy.data<float>(), x.data<float>(), data_or_null(inside), data_or_null(outside),
         pointwise::SmoothL1{sigma * sigma}, dx.data<float>());
}

}  // namespace la
