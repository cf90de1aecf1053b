// The sum of the rows of each label on the GPU, the same in every run: they are sorted by label (a radix sort,
// stable), so that the rows of a label stand together in ascending order, and then one block adds up the rows
// of one label. And how many there are of each.
#include <algorithm>
#include <bit>

#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/kernel.h"
#include "tensor/cuda/row_sums.h"

namespace la {
namespace {

using namespace cuda;

constexpr int threads = 256;
constexpr int warps = threads / warp_size;

constexpr int digit_bits = 8;
constexpr int digits = 1 << digit_bits;
constexpr int chunk_rows = 1024;  // that one warp moves, in their order

/// The labels as keys to sort by, the digit of this pass, and the order of the rows before it.
struct Keys {
  const int32_t* labels;
  int64_t n, m;
  Reporter report;
  const int32_t* order = nullptr;  // before the first pass, the rows are in their own order
  int shift = 0;

  __device__ int64_t row(int64_t i) const { return order == nullptr ? i : order[i]; }
  /// A label that is out of range comes behind all others.
  __device__ int64_t key(int64_t i) const {
    const int64_t label = labels[row(i)];
    if (label >= 0 && label < m) return label;
    report(label, m - 1);
    return m;
  }
  __device__ int digit(int64_t i) const { return static_cast<int>(key(i) >> shift) % digits; }
};

/// counts[digit, chunk] += the rows of that chunk with that digit. One thread for each row.
__global__ void count_digits_kernel(Keys keys, int64_t chunks, int32_t* counts) {
  for (int64_t i = global_thread(); i < keys.n; i += global_threads())
    atomicAdd(&counts[keys.digit(i) * chunks + i / chunk_rows], 1);
}

/// totals[digit] = the sum of counts[digit, ...]. One warp for each digit.
__global__ void add_chunks_kernel(int64_t chunks, const int32_t* counts, int32_t* totals) {
  const int64_t digit = global_thread() / warp_size;
  int32_t sum = 0;
  for (int64_t i = lane_id(); i < chunks; i += warp_size) sum += counts[digit * chunks + i];
  sum = warp_reduce(sum, Sum());
  if (lane_id() == 0) totals[digit] = sum;
}

/// places[digit, chunk] <- where the first row of that chunk with that digit goes: behind all rows with lower
/// digits, and those with the same digit in earlier chunks. One warp for each digit.
__global__ void place_chunks_kernel(int64_t chunks, const int32_t* totals, int32_t* places) {
  const int64_t digit = global_thread() / warp_size;
  int32_t before = 0;
  for (int64_t d = lane_id(); d < digit; d += warp_size) before += totals[d];
  before = warp_reduce(before, Sum());
  for (int64_t begin = 0; begin < chunks; begin += warp_size) {
    const int64_t i = begin + lane_id();
    const int32_t count = i < chunks ? places[digit * chunks + i] : 0;
    int32_t sum = count;  // of the lanes up to this one
    for (int distance = 1; distance < warp_size; distance *= 2) {
      const int32_t lower = __shfl_up_sync(whole_warp, sum, static_cast<unsigned>(distance));
      if (lane_id() >= distance) sum += lower;
    }
    if (i < chunks) places[digit * chunks + i] = before + sum - count;
    before += __shfl_sync(whole_warp, sum, warp_size - 1);
  }
}

/// The lanes whose digit is that of this lane.
__device__ unsigned lanes_with(int digit) {
  unsigned same = whole_warp;
  for (int bit = 0; bit < digit_bits + 1; ++bit) {
    const bool is_set = (digit >> bit & 1) != 0;
    const unsigned set = __ballot_sync(whole_warp, is_set);
    same &= is_set ? set : ~set;
  }
  return same;
}

/// order[the next place of its digit and chunk] = row, for all rows, so that those of equal digits keep their
/// order. One warp for each chunk, 32 rows at a time: the lowest lane of each digit takes the places for all
/// lanes with that digit. What its atomic addition returns reaches the other lanes before any of them goes on
/// to the next rows, whose places therefore come later.
__global__ void move_to_places_kernel(Keys keys, int64_t chunks, int32_t* places, int32_t* order) {
  const int64_t chunk = global_thread() / warp_size;
  for (int64_t begin = chunk * chunk_rows; begin < (chunk + 1) * chunk_rows && begin < keys.n;
       begin += warp_size) {
    const int64_t i = begin + lane_id();
    const bool exists = i < keys.n;
    const int digit = exists ? keys.digit(i) : digits;
    const unsigned same = lanes_with(digit);
    const int leader = __ffs(static_cast<int>(same)) - 1;
    int32_t place = 0;
    if (exists && lane_id() == leader) place = atomicAdd(&places[digit * chunks + chunk], __popc(same));
    place = __shfl_sync(whole_warp, place, leader);
    if (exists) order[place + __popc(same & ((1u << lane_id()) - 1u))] = static_cast<int32_t>(keys.row(i));
  }
}

/// first[c] = the first place of the sorted rows whose key is at least c, for c = 0 ... m. Thread i writes
/// those between the keys at i - 1 and i.
__global__ void find_labels_kernel(Keys keys, int32_t* first) {
  for (int64_t i = global_thread(); i <= keys.n; i += global_threads()) {
    const int64_t before = i > 0 ? keys.key(i - 1) : -1, here = i < keys.n ? keys.key(i) : keys.m;
    for (int64_t c = before + 1; c <= here; ++c) first[c] = static_cast<int32_t>(i);
  }
}

/// y[c] = the sum of x over the rows order[first[c] ... first[c + 1] - 1]. A block takes one label and 32 packs
/// of columns (blockIdx.y); each warp adds every 8th row, and the sums of the warps are added in their order.
/// Reads x once.
template <int width>
__global__ void add_rows_kernel(const float* x, int64_t depth, const int32_t* order, const int32_t* first,
                                float* y) {
  using Floats = Pack<float, width>;
  const int64_t label = blockIdx.x, begin = first[label], end = first[label + 1];
  const int64_t first_column = int64_t{blockIdx.y} * warp_size * width;
  const int64_t column = first_column + lane_id() * width;

  Floats sum{};
  for (int64_t j = begin + warp_id(); j < end && column < depth; j += warps) {
    const Floats row = Floats::load(x + order[j] * depth + column);
    for (int e = 0; e < width; ++e) sum.value[e] += row.value[e];
  }
  add_warps<warps>(sum, first_column, depth, y + label * depth);
}

/// The rows sorted by their keys: one stable pass for each digit, the lowest first. `keys` is left with it.
Tensor sort_rows(Keys& keys) {
  const int64_t chunks = blocks_for(keys.n, chunk_rows);
  const Tensor places({digits, chunks}, DType::i32, Device::cuda());
  const Tensor totals({digits}, DType::i32, Device::cuda());
  Tensor order;
  const int bits = std::bit_width(static_cast<uint64_t>(keys.m));
  for (int shift = 0; shift < bits; shift += digit_bits) {
    keys.shift = shift;
    backend(Device::cuda()).fill(0.0f, places);
    launch("count_digits", count_digits_kernel, {blocks_for(keys.n, threads), threads}, keys, chunks,
           places.data<int32_t>());
    launch("add_chunks", add_chunks_kernel, {digits / warps, threads}, chunks, places.data<int32_t>(),
           totals.data<int32_t>());
    launch("place_chunks", place_chunks_kernel, {digits / warps, threads}, chunks, totals.data<int32_t>(),
           places.data<int32_t>());
    const Tensor next({keys.n}, DType::i32, Device::cuda());
    launch("move_to_places", move_to_places_kernel, {blocks_for(chunks, warps), threads}, keys, chunks,
           places.data<int32_t>(), next.data<int32_t>());
    order = next;
    keys.order = order.data<int32_t>();
  }
  return order;
}

__global__ void count_labels_kernel(int64_t n, int64_t m, const int32_t* labels, Reporter report,
                                    int32_t* counts) {
  for (int64_t i = global_thread(); i < n; i += global_threads()) {
    const int32_t label = labels[i];
    if (label < 0 || label >= m)
      report(label, m - 1);
    else
      atomicAdd(&counts[label], 1);
  }
}

}  // namespace

void CudaBackend::count_labels(const Tensor& labels, const Tensor& counts) {
  fill(0.0f, counts);
  launch("count_labels", count_labels_kernel, {blocks_for(labels.numel(), threads), threads}, labels.numel(),
         counts.numel(), labels.data<int32_t>(), Reporter("count_labels: index {} is not in 0 to {}"),
         counts.data<int32_t>());
}

void CudaBackend::sum_by_label(const Tensor& x, const Tensor& labels, const Tensor& y) {
  const int64_t m = y.size(0), depth = x.size(1);
  Keys keys{labels.data<int32_t>(), x.size(0), m, Reporter("sum_by_label: index {} is not in 0 to {}")};
  const Tensor order = sort_rows(keys);
  const Tensor first({m + 1}, DType::i32, Device::cuda());
  launch("find_labels", find_labels_kernel, {blocks_for(keys.n + 1, threads), threads}, keys,
         first.data<int32_t>());
  const float* rows = x.data<float>();
  dispatch_width<float>(depth, aligned_for_vectors(rows), [&](auto width) {
    const dim3 blocks(static_cast<unsigned>(m), blocks_for(std::max<int64_t>(depth, 1), warp_size * width()));
    launch("add_rows", add_rows_kernel<width()>, {blocks, threads}, rows, depth, order.data<int32_t>(),
           first.data<int32_t>(), y.data<float>());
  });
}

}  // namespace la
