// Sorting what was selected: bitonic sorts, in shared memory where a row fits.
#include <algorithm>
#include <bit>

#include "tensor/cuda/selection.h"
#include "tensor/tensor.h"

namespace la::cuda {
namespace {

constexpr int threads = 256;
constexpr int64_t most_in_shared_memory = 4096;  // keys: 32 KiB
constexpr Key last = ~Key{0};

/// A number whose order is the one asked for, and back.
__device__ Key to_sortable(Key key, SelectionOrder order) {
  if (order == SelectionOrder::by_score) return ~key;
  return Key(static_cast<uint32_t>(index_of(key))) << 32 | key >> 32;
}
__device__ Key from_sortable(Key number, SelectionOrder order) {
  if (order == SelectionOrder::by_score) return ~number;
  return number << 32 | (0xffffffffu - static_cast<uint32_t>(number >> 32));
}

/// Of a bitonic sort of `size` numbers (a power of two), in which runs of 2, 4, ..., size numbers become
/// sorted, ascending and descending in turn: pair number `pair` at this distance is put in order.
__device__ void compare_exchange(Key* numbers, int64_t pair, int64_t distance, int64_t run) {
  // pair / distance * 2 * distance + pair % distance, for distance is a power of two
  const int64_t low = 2 * pair - (pair & (distance - 1)), high = low + distance;
  const bool ascending = (low & run) == 0;
  if ((numbers[low] > numbers[high]) != ascending) return;
  const Key number = numbers[low];
  numbers[low] = numbers[high];
  numbers[high] = number;
}

__device__ void write_entry(Key key, float* value, int32_t* index) {
  *value = score_of(key);
  *index = index_of(key);
}

/// Sorts a row in shared memory, one block each. Reads the keys and writes the result once.
__global__ void sort_row_kernel(int64_t k, int64_t size, SelectionOrder order, const Key* keys, float* values,
                                int32_t* indices) {
  Key* numbers = dynamic_shared_memory<Key>();
  const int64_t row = blockIdx.x * k;
  for (int64_t i = threadIdx.x; i < size; i += blockDim.x)
    numbers[i] = i < k ? to_sortable(keys[row + i], order) : last;
  for (int64_t run = 2; run <= size; run *= 2)
    for (int64_t distance = run / 2; distance > 0; distance /= 2) {
      __syncthreads();
      for (int64_t pair = threadIdx.x; pair < size / 2; pair += blockDim.x)
        compare_exchange(numbers, pair, distance, run);
    }
  __syncthreads();
  for (int64_t i = threadIdx.x; i < k; i += blockDim.x)
    write_entry(from_sortable(numbers[i], order), values + row + i, indices + row + i);
}

// The same for longer rows, each step one launch over all of them (blockIdx.y).

__global__ void prepare_sort_kernel(int64_t k, int64_t size, SelectionOrder order, const Key* keys,
                                    Key* numbers) {
  for (int64_t i = global_thread(); i < size; i += global_threads())
    numbers[blockIdx.y * size + i] = i < k ? to_sortable(keys[blockIdx.y * k + i], order) : last;
}

__global__ void sort_step_kernel(int64_t size, int64_t distance, int64_t run, Key* numbers) {
  for (int64_t pair = global_thread(); pair < size / 2; pair += global_threads())
    compare_exchange(numbers + blockIdx.y * size, pair, distance, run);
}

__global__ void finish_sort_kernel(int64_t k, int64_t size, SelectionOrder order, const Key* numbers,
                                   float* values, int32_t* indices) {
  for (int64_t i = global_thread(); i < k; i += global_threads()) {
    const int64_t to = blockIdx.y * k + i;
    write_entry(from_sortable(numbers[blockIdx.y * size + i], order), values + to, indices + to);
  }
}

Key* keys_of(const Tensor& keys) { return reinterpret_cast<Key*>(keys.data<int64_t>()); }

void sort_long_rows(const Tensor& keys, int64_t size, SelectionOrder order, const TopK& out) {
  const int64_t rows = keys.size(0), k = keys.size(1);
  const Tensor numbers({rows, size}, DType::i64, Device::cuda());
  const dim3 blocks(blocks_for(size / 2, threads), static_cast<unsigned>(rows));
  launch("sort_selection", prepare_sort_kernel, {blocks, threads}, k, size, order, keys_of(keys),
         keys_of(numbers));
  for (int64_t run = 2; run <= size; run *= 2)
    for (int64_t distance = run / 2; distance > 0; distance /= 2)
      launch("sort_selection", sort_step_kernel, {blocks, threads}, size, distance, run, keys_of(numbers));
  launch("sort_selection", finish_sort_kernel, {blocks, threads}, k, size, order, keys_of(numbers),
         out.values.data<float>(), out.indices.data<int32_t>());
}

}  // namespace

void write_selection(const Tensor& keys, SelectionOrder order, const TopK& out) {
  const int64_t rows = keys.size(0), k = keys.size(1);
  const auto size = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(k, 2))));
  if (size > most_in_shared_memory) return sort_long_rows(keys, size, order, out);
  const int sorters = static_cast<int>(std::clamp<int64_t>(size / 2, warp_size, 1024));
  launch("sort_selection", sort_row_kernel,
         {static_cast<unsigned>(rows), sorters, static_cast<size_t>(size) * sizeof(Key)}, k, size, order,
         keys_of(keys), out.values.data<float>(), out.indices.data<int32_t>());
}

}  // namespace la::cuda
