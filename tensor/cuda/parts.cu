// Parts of tables on the GPU: whose rows are whose, and selection of the k largest of rows whose scores lie in several parts.
#include <limits>

#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/kernel.h"
#include "tensor/cuda/selection.h"

namespace la {
namespace {

using namespace cuda;

constexpr int threads = 256;

__global__ void rows_of_part_kernel(int64_t n, const int32_t* rows, int32_t begin, int32_t end, int32_t* y) {
  for (int64_t i = global_thread(); i < n; i += global_threads())
    y[i] = rows[i] >= begin && rows[i] < end ? rows[i] - begin : absent_row;
}

/// Scores of a part as numbers of the same order.
struct PartKeys {
  const float* scores;
  const int32_t* indices;
  const int32_t* always;  // null where no row is always taken
  int64_t n;

  PartKeys(const TopK& part, const Tensor& taken)
      : scores(part.values.data<float>()),
        indices(part.indices.data<int32_t>()),
        always(taken.defined() ? taken.data<int32_t>() : nullptr),
        n(part.values.size(1)) {}

  __device__ uint32_t operator()(int64_t row, int64_t j) const {
    const int32_t taken = always != nullptr ? always[row] : absent_row;
    const bool is_taken = taken != absent_row && indices[row * n + j] == taken;
    return is_taken ? 0xffffffffu : order_of(scores[row * n + j]);
  }
};

/// Of a row of `chosen`: the digits so far, and how many are left to be taken.
struct Chosen {
  int32_t* numbers;  // [rows, 2]

  __device__ uint32_t digits_of(int64_t row) const { return static_cast<uint32_t>(numbers[2 * row]); }
  __device__ int32_t left(int64_t row) const { return numbers[2 * row + 1]; }
  __device__ void set(int64_t row, uint32_t digits_so_far, int32_t left_over) const {
    numbers[2 * row] = static_cast<int32_t>(digits_so_far);
    numbers[2 * row + 1] = left_over;
  }
};

/// One block for each row, which reads its scores once and counts in shared memory.
__global__ void count_digits_kernel(PartKeys keys, int place, Chosen chosen, int32_t* counts) {
  struct Counts {
    int of_digit[digit_values];
  };
  Counts& shared = shared_memory<Counts>();
  const int64_t row = blockIdx.x;
  for (int d = static_cast<int>(threadIdx.x); d < digit_values; d += threads) shared.of_digit[d] = 0;
  __syncthreads();
  const int shift = 24 - 8 * place;
  // Of 64 bits, for those of all digits before the first are a shift by 32.
  const uint64_t before = place == 0 ? 0 : chosen.digits_of(row);
  for (int64_t j = threadIdx.x; j < keys.n; j += threads) {
    const uint64_t number = keys(row, j);
    if (number >> (shift + 8) == before) atomicAdd(&shared.of_digit[number >> shift & (digit_values - 1)], 1);
  }
  __syncthreads();
  for (int d = static_cast<int>(threadIdx.x); d < digit_values; d += threads)
    counts[row * digit_values + d] += shared.of_digit[d];
}

/// counts[row] += how many scores equal the one chosen. One block for each row.
__global__ void count_ties_kernel(PartKeys keys, Chosen chosen, int32_t* counts) {
  const int64_t row = blockIdx.x;
  int count = 0;
  for (int64_t j = threadIdx.x; j < keys.n; j += threads) count += keys(row, j) == chosen.digits_of(row);
  count = block_reduce(count, Sum(), 0);
  if (threadIdx.x == 0) counts[row] += count;
}

/// One thread for each row.
__global__ void choose_digit_kernel(int64_t rows, int place, int32_t k, const int32_t* counts,
                                    Chosen chosen) {
  for (int64_t row = global_thread(); row < rows; row += global_threads()) {
    const int32_t* count = counts + row * digit_values;
    const uint32_t before = place == 0 ? 0 : chosen.digits_of(row);
    int32_t left = place == 0 ? k : chosen.left(row);
    uint32_t digit = digit_values - 1;
    for (; digit > 0 && count[digit] < left; --digit) left -= count[digit];
    chosen.set(row, before << 8 | digit, left);
  }
}

/// One warp for each row, which takes ties in the order of their columns.
__global__ void mark_largest_kernel(int64_t rows, PartKeys keys, Chosen chosen, const int32_t* ties,
                                    int64_t p, uint8_t* mask) {
  const int64_t row = global_thread() / warp_size;
  if (row >= rows) return;
  const uint32_t smallest = chosen.digits_of(row);
  int64_t left = chosen.left(row);
  for (int64_t before = 0; before < p; ++before) left -= ties[before * rows + row];
  for (int64_t begin = 0; begin < keys.n; begin += warp_size) {
    const int64_t j = begin + lane_id();
    const uint32_t number = j < keys.n ? keys(row, j) : 0;
    const bool tie = j < keys.n && number == smallest;
    const unsigned all_ties = __ballot_sync(whole_warp, tie);
    const int ties_before = __popc(all_ties & ((1u << lane_id()) - 1));
    if (j < keys.n) mask[row * keys.n + j] = number > smallest || (tie && ties_before < left) ? 1 : 0;
    left -= __popc(all_ties);
  }
}

__global__ void keep_marked_kernel(int64_t n, const float* scores, const uint8_t* mask, float otherwise,
                                   float* y) {
  for (int64_t i = global_thread(); i < n; i += global_threads()) y[i] = mask[i] != 0 ? scores[i] : otherwise;
}

}  // namespace

void CudaBackend::rows_of_part(const Tensor& rows, int64_t begin, int64_t end, const Tensor& y) {
  launch("rows_of_part", rows_of_part_kernel, {blocks_for(rows.numel(), threads), threads}, rows.numel(),
         rows.data<int32_t>(), static_cast<int32_t>(begin), static_cast<int32_t>(end), y.data<int32_t>());
}

void CudaBackend::count_digits(const TopK& part, const Tensor& always, int place, const Tensor& chosen,
                               const Tensor& counts) {
  const PartKeys keys(part, always);
  const LaunchShape block_for_each_row{static_cast<unsigned>(counts.size(0)), threads};
  const Chosen numbers{chosen.data<int32_t>()};
  if (counts.size(1) == 1)
    launch("count_ties", count_ties_kernel, block_for_each_row, keys, numbers, counts.data<int32_t>());
  else
    launch("count_digits", count_digits_kernel, block_for_each_row, keys, place, numbers,
           counts.data<int32_t>());
}

void CudaBackend::choose_digit(const Tensor& counts, int place, int64_t k, const Tensor& chosen) {
  launch("choose_digit", choose_digit_kernel, {blocks_for(counts.size(0), threads), threads}, counts.size(0),
         place, static_cast<int32_t>(k), counts.data<int32_t>(), Chosen{chosen.data<int32_t>()});
}

void CudaBackend::mark_largest(const TopK& part, const Tensor& always, const Tensor& chosen,
                               const Tensor& ties, int64_t p, const Tensor& mask) {
  const int64_t rows = mask.size(0);
  launch("mark_largest", mark_largest_kernel, {blocks_for(rows, threads / warp_size), threads}, rows,
         PartKeys(part, always), Chosen{chosen.data<int32_t>()}, ties.data<int32_t>(), p,
         mask.data<uint8_t>());
}

void CudaBackend::keep_marked(const Tensor& scores, const Tensor& mask, const Tensor& y) {
  launch("keep_marked", keep_marked_kernel, {blocks_for(scores.numel(), threads), threads}, scores.numel(),
         scores.data<float>(), mask.data<uint8_t>(), -std::numeric_limits<float>::infinity(),
         y.data<float>());
}

}  // namespace la
