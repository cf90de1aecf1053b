// Boxes on the CPU: coding, overlaps, non-maximum suppression.
#include <algorithm>
#include <bit>
#include <numeric>

#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/kth_largest.h"
#include "tensor/cpu/simd.h"
#include "tensor/pointwise.h"
#include "tensor/regions.h"

namespace la {
namespace {

using regions::Box;

constexpr int64_t boxes_per_thread = 512;  // at least

Box box_at(const float* boxes, int64_t i) {
  return {boxes[4 * i], boxes[4 * i + 1], boxes[4 * i + 2], boxes[4 * i + 3]};
}

/// Boxes as columns, for loops over several at once.
struct BoxColumns {
  std::vector<float> x1, y1, x2, y2, area;

  explicit BoxColumns(size_t n) : x1(n), y1(n), x2(n), y2(n), area(n) {}

  void set(size_t i, const Box& box, float extent) {
    x1[i] = box.x1;
    y1[i] = box.y1;
    x2[i] = box.x2;
    y2[i] = box.y2;
    area[i] = box.area(extent);
  }
  Box at(size_t i) const { return {x1[i], y1[i], x2[i], y2[i]}; }
};

/// Indices from the largest score down, of equal scores from the lower index.
std::vector<int32_t> by_falling_score(const Tensor& scores) {
  const int64_t n = scores.numel();
  const float* score = scores.data<float>();
  check(!has_nan(score, n), "nms: the scores contain a NaN");
  // The order of falling scores, above the index: one number to sort by.
  std::vector<uint64_t> keys(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    const auto bits = std::bit_cast<uint32_t>(score[i] + 0.0f);  // turns -0 into 0
    const uint32_t rising = bits ^ (bits >> 31 != 0 ? 0xffffffffu : 0x80000000u);
    keys[static_cast<size_t>(i)] = uint64_t{~rising} << 32 | static_cast<uint32_t>(i);
  }
  std::sort(keys.begin(), keys.end());
  std::vector<int32_t> order(keys.size());
  std::transform(keys.begin(), keys.end(), order.begin(),
                 [](uint64_t key) { return static_cast<int32_t>(static_cast<uint32_t>(key)); });
  return order;
}

/// Greedy suppression, boxes from the best down. Each is compared with those that are kept, which are far
/// fewer than all, until one overlaps it. A block of boxes is compared with those kept before it by all
/// threads; then the rest of the block with each other, by one.
class Suppression {
 public:
  Suppression(const Tensor& boxes, const std::vector<int32_t>& order, const NmsOptions& options)
      : boxes_(boxes.data<float>()), order_(order), options_(options), kept_(order.size()) {}

  /// Positions in the order, at most `most`.
  std::vector<int32_t> run() {
    const auto most = static_cast<size_t>(options_.most), n = order_.size();
    std::vector<uint8_t> suppressed(block);
    for (size_t first = 0; first < n && positions_.size() < most; first += block) {
      const size_t count = std::min(block, n - first), before = positions_.size();
      const int64_t grain = pairs_per_thread / static_cast<int64_t>(before + 1) + 1;
      parallel_for(static_cast<int64_t>(count), grain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
          suppressed[static_cast<size_t>(i)] =
              is_suppressed(candidate(first + static_cast<size_t>(i)), 0, before);
      });
      for (size_t i = 0; i < count && positions_.size() < most; ++i) {
        const Box box = candidate(first + i);
        if (suppressed[i] || is_suppressed(box, before, positions_.size())) continue;
        kept_.set(positions_.size(), box, options_.extent);
        positions_.push_back(static_cast<int32_t>(first + i));
      }
    }
    return std::move(positions_);
  }

 private:
  static constexpr size_t block = 1024, at_once = 64;
  static constexpr int64_t pairs_per_thread = 1 << 20;  // about half a millisecond

  Box candidate(size_t position) const { return box_at(boxes_, order_[position]); }

  /// Whether a kept box from begin to end overlaps this one by more than the threshold.
  bool is_suppressed(const Box& box, size_t begin, size_t end) const {
    const float area = box.area(options_.extent), extent = options_.extent,
                threshold = options_.iou_threshold;
    const float *x1 = kept_.x1.data(), *y1 = kept_.y1.data(), *x2 = kept_.x2.data(), *y2 = kept_.y2.data(),
                *areas = kept_.area.data();
    for (; begin < end; begin += at_once) {
      const size_t stop = std::min(begin + at_once, end);
      int hits = 0;
#pragma omp simd reduction(| : hits)
      for (size_t k = begin; k < stop; ++k) {
        const Box other{x1[k], y1[k], x2[k], y2[k]};
        hits |= regions::intersection_over_union(other, areas[k], box, area, extent) > threshold ? 1 : 0;
      }
      if (hits != 0) return true;
    }
    return false;
  }

  const float* boxes_;
  const std::vector<int32_t>& order_;
  NmsOptions options_;
  BoxColumns kept_;
  std::vector<int32_t> positions_;
};

/// Calls f(weight of `inside`, of `outside`, i) for all elements; an undefined tensor is 1.
template <class F>
void for_each_weighted(int64_t n, const Tensor& inside, const Tensor& outside, F f) {
  const float *in = inside.defined() ? inside.data<float>() : nullptr,
              *out = outside.defined() ? outside.data<float>() : nullptr;
  parallel_for(n, elements_per_thread, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(in ? in[i] : 1.0f, out ? out[i] : 1.0f, i);
  });
}

}  // namespace

void CpuBackend::nms(const Tensor& boxes, const Tensor& scores, const NmsOptions& options,
                     const KeptBoxes& out) {
  const std::vector<int32_t> order = by_falling_score(scores);
  const std::vector<int32_t> kept = Suppression(boxes, order, options).run();
  for (size_t i = 0; i < kept.size(); ++i)
    out.indices.data<int32_t>()[i] = order[static_cast<size_t>(kept[i])];
  *out.count.data<int32_t>() = static_cast<int32_t>(kept.size());
}

void CpuBackend::encode_boxes(const Tensor& anchors, const Tensor& boxes, const BoxCoding& coding,
                              const Tensor& codes) {
  parallel_for(boxes.size(0), boxes_per_thread, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      regions::encode(box_at(anchors.data<float>(), i), box_at(boxes.data<float>(), i), coding,
                      codes.data<float>() + 4 * i);
  });
}

void CpuBackend::decode_boxes(const Tensor& anchors, const Tensor& codes, const BoxCoding& coding,
                              const Tensor& boxes) {
  const int64_t each = codes.size(1) / 4;
  parallel_for(codes.size(0) * each, boxes_per_thread, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Box box =
          regions::decode(box_at(anchors.data<float>(), i / each), codes.data<float>() + 4 * i, coding);
      float* to = boxes.data<float>() + 4 * i;
      to[0] = box.x1;
      to[1] = box.y1;
      to[2] = box.x2;
      to[3] = box.y2;
    }
  });
}

void CpuBackend::clip_boxes(const Tensor& boxes, float width, float height, const Tensor& y) {
  const float* from = boxes.data<float>();
  float* to = y.data<float>();
  parallel_for(boxes.numel(), elements_per_thread, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) to[i] = regions::clip(from[i], i % 2 == 0 ? width : height);
  });
}

void CpuBackend::box_iou(const Tensor& a, const Tensor& b, float extent, const Tensor& y) {
  const int64_t columns = b.size(0);
  BoxColumns others(static_cast<size_t>(columns));
  for (int64_t j = 0; j < columns; ++j)
    others.set(static_cast<size_t>(j), box_at(b.data<float>(), j), extent);
  parallel_for(a.size(0), std::max<int64_t>(1, elements_per_thread / std::max<int64_t>(columns, 1)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) {
                   const Box box = box_at(a.data<float>(), i);
                   const float area = box.area(extent);
                   float* to = y.data<float>() + i * columns;
#pragma GCC ivdep
                   for (int64_t j = 0; j < columns; ++j) {
                     const auto at = static_cast<size_t>(j);
                     to[j] =
                         regions::intersection_over_union(box, area, others.at(at), others.area[at], extent);
                   }
                 }
               });
}

void CpuBackend::smooth_l1(const Tensor& x, const Tensor& inside, const Tensor& outside, float sigma,
                           const Tensor& y) {
  const pointwise::SmoothL1 f{sigma * sigma};
  const float* from = x.data<float>();
  float* to = y.data<float>();
  for_each_weighted(x.numel(), inside, outside,
                    [=](float in, float out, int64_t i) { to[i] = out * f(in * from[i]); });
}

void CpuBackend::smooth_l1_backward(const Tensor& dy, const Tensor& x, const Tensor& inside,
                                    const Tensor& outside, float sigma, const Tensor& dx) {
  const pointwise::SmoothL1 f{sigma * sigma};
  const float *gradient = dy.data<float>(), *from = x.data<float>();
  float* to = dx.data<float>();
  for_each_weighted(x.numel(), inside, outside, [=](float in, float out, int64_t i) {
    to[i] = gradient[i] * out * in * f.slope(in * from[i]);
  });
}

}  // namespace la
