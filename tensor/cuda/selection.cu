// Exact selection of the k largest of each row in two reads of the scores:
//
// 1. count them in bins, which divide [-1, 1], where similarities lie, into equal parts; what lies beyond
//    belongs to the first or the last bin;
// 2. in each row, find the bin that holds the k-th largest score; read the scores again, keep those of higher
//    bins, and list those of this bin;
// 3. find, among the listed, those that are still missing, digit by digit from the highest (radix selection).
//
// A row whose list overflows, because thousands of scores are nearly equal, is read again for each digit
// instead. The order in which keys are appended changes from run to run, but not which they are; sorting them
// makes the result the same.
#include "tensor/cuda/selection.h"

#include <algorithm>
#include <bit>

#include "tensor/tensor.h"

namespace la::cuda {
namespace {

constexpr int threads = 256;
constexpr int bins = 4096;
constexpr int list_capacity = 1 << 14;

/// Grows with the score, which may be infinite; a NaN falls into bin 0.
__device__ int bin_of(float score) {
  const float place = (score + 1.0f) * (bins / 2.0f);
  return static_cast<int>(fminf(fmaxf(place, 0.0f), bins - 1.0f));
}

/// f(score, index) for a strip of a row, each block (blockIdx.x) another one, `width` scores a load.
template <int width, class F>
__device__ void for_each_score(const float* row, int64_t n, int64_t strip, F f) {
  const int64_t begin = blockIdx.x * strip, end = begin + strip < n ? begin + strip : n;
  for (int64_t i = begin + threadIdx.x * width; i < end; i += threads * width) {
    const auto pack = Pack<float, width>::load(row + i);
    for (int e = 0; e < width; ++e) f(pack.value[e], i + e);
  }
}

/// counts [R, bins] += the scores of each bin. Reads the scores once.
template <int width>
__global__ void count_bins_kernel(int64_t n, int64_t strip, const float* scores, Reporter report,
                                  int* counts) {
  struct Counts {
    int of_bin[bins];
  };
  Counts& shared = shared_memory<Counts>();
  for (int bin = static_cast<int>(threadIdx.x); bin < bins; bin += threads) shared.of_bin[bin] = 0;
  __syncthreads();
  for_each_score<width>(scores + blockIdx.y * n, n, strip, [&](float score, int64_t) {
    if (score != score) report(blockIdx.y, 0);
    atomicAdd(&shared.of_bin[bin_of(score)], 1);
  });
  __syncthreads();
  for (int bin = static_cast<int>(threadIdx.x); bin < bins; bin += threads)
    if (shared.of_bin[bin] > 0) atomicAdd(&counts[int64_t{blockIdx.y} * bins + bin], shared.of_bin[bin]);
}

/// Where a row is cut: all scores of higher bins belong to the k largest, and `missing` of this bin.
struct Cut {
  int bin, missing;
  int kept, listed;  // counters of the keys appended
};

/// One warp for each row. Each lane sums the counts of 128 bins, the first lane those of the highest; then
/// lane 0 walks down, first by these sums and then bin by bin, to the bin in which k is reached.
__global__ void find_cut_kernel(int64_t rows, int64_t k, const int* counts, Cut* cuts) {
  constexpr int bins_of_lane = bins / warp_size;
  const int64_t row = global_thread() / warp_size;
  if (row >= rows) return;
  const int* count = counts + row * bins;
  int own = 0;
  for (int i = 0; i < bins_of_lane; ++i) own += count[bins - 1 - (lane_id() * bins_of_lane + i)];

  int64_t missing = k;
  int bin = bins - 1;
  for (int lane = 0; lane < warp_size; ++lane) {
    const int of_lane = __shfl_sync(whole_warp, own, lane);
    if (bin != bins - 1 - lane * bins_of_lane || of_lane >= missing) continue;  // reached before, or here
    missing -= of_lane;
    bin -= bins_of_lane;
  }
  if (lane_id() != 0) return;
  for (; count[bin] < missing; --bin) missing -= count[bin];
  cuts[row] = {bin, static_cast<int>(missing), 0, 0};
}

/// Appends the keys of higher bins to keys [R, k], and those of the cut's bin to list [R, capacity] as far as
/// there is room. Reads the scores once.
template <int width>
__global__ void collect_kernel(int64_t n, int64_t strip, int64_t k, const float* scores, Cut* cuts, Key* keys,
                               Key* list) {
  Cut& cut = cuts[blockIdx.y];
  const int cut_bin = cut.bin;
  for_each_score<width>(scores + blockIdx.y * n, n, strip, [&](float score, int64_t index) {
    const int bin = bin_of(score);
    if (bin < cut_bin) return;
    if (bin > cut_bin) {
      keys[blockIdx.y * k + atomicAdd(&cut.kept, 1)] = key_of(score, index);
    } else if (const int place = atomicAdd(&cut.listed, 1); place < list_capacity) {
      list[int64_t{blockIdx.y} * list_capacity + place] = key_of(score, index);
    }
  });
}

/// f(key) for all keys of the cut's bin: from the list, or from the scores if the list has overflowed.
template <class F>
__device__ void for_each_candidate(const Cut& cut, const Key* list, const float* row, int64_t n, F f) {
  if (cut.listed <= list_capacity) {
    for (int i = static_cast<int>(threadIdx.x); i < cut.listed; i += threads) f(list[i]);
  } else {
    for (int64_t i = threadIdx.x; i < n; i += threads)
      if (bin_of(row[i]) == cut.bin) f(key_of(row[i], i));
  }
}

/// Appends the largest `missing` keys of the cut's bin; one block for each row. Of the k-th largest key, one
/// digit of 8 bits after the other is found, from the highest: count how many candidates with the digits
/// found so far have each value of the next one, and go down from the highest until enough are together. All
/// keys are different, so that after the last digit exactly `missing` are not below it; often fewer digits
/// will do. Reads the list once for each digit and once more.
__global__ void select_in_bin_kernel(int64_t n, int64_t k, const float* scores, Cut* cuts, Key* keys,
                                     const Key* lists) {
  constexpr int digit_bits = 8, digits = 64 / digit_bits, values = 1 << digit_bits;
  struct State {
    int count[values];
    Key least;  // the digits found, zeros below them
    int missing;
    bool done;
  };
  State& state = shared_memory<State>();
  Cut& cut = cuts[blockIdx.x];
  const float* row = scores + blockIdx.x * n;
  const Key* list = lists + int64_t{blockIdx.x} * list_capacity;
  const int thread = static_cast<int>(threadIdx.x);
  if (thread == 0) {
    state.least = 0;
    state.missing = cut.missing;
  }
  bool done = false;
  for (int digit = digits - 1; digit >= 0 && !done; --digit) {
    const int shift = digit * digit_bits;
    for (int value = thread; value < values; value += threads) state.count[value] = 0;
    __syncthreads();
    const Key above = digit == digits - 1 ? 0 : ~Key{0} << (shift + digit_bits);  // the bits found so far
    const Key found = state.least;
    for_each_candidate(cut, list, row, n, [&](Key key) {
      if ((key & above) == found) atomicAdd(&state.count[key >> shift & (values - 1)], 1);
    });
    __syncthreads();
    if (thread == 0) {
      int value = values - 1;
      for (; state.count[value] < state.missing; --value) state.missing -= state.count[value];
      state.least = found | Key(value) << shift;
      state.done = state.count[value] == state.missing;  // then all of them are wanted
    }
    __syncthreads();
    done = state.done;
  }
  const Key least = state.least;
  for_each_candidate(cut, list, row, n, [&](Key key) {
    if (key >= least) keys[blockIdx.x * k + atomicAdd(&cut.kept, 1)] = key;
  });
}

// --- Sorting ---------------------------------------------------------------------------------------------

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
  const int64_t low = pair / distance * 2 * distance + pair % distance, high = low + distance;
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

Tensor select_largest(const Tensor& scores, int64_t k, const Reporter& nan_report) {
  const int64_t rows = scores.size(0), n = scores.size(1);
  const auto device_tensor = [](const Shape& shape, DType dtype) {
    return Tensor(shape, dtype, Device::cuda());
  };
  const Tensor keys = device_tensor({rows, k}, DType::i64);
  if (rows == 0) return keys;
  const Tensor lists = device_tensor({rows, list_capacity}, DType::i64);
  const Tensor cut_bytes = device_tensor({rows * static_cast<int64_t>(sizeof(Cut))}, DType::u8);
  Cut* cuts = reinterpret_cast<Cut*>(cut_bytes.data<uint8_t>());
  const Tensor counts = Tensor::zeros({rows, bins}, DType::i32, Device::cuda());
  const float* score = scores.data<float>();

  // As many blocks as keep the GPU busy, but none with fewer scores than it has bins to clear.
  const int64_t parts = std::clamp<int64_t>(8 * device_properties().multiprocessors / rows, 1,
                                            std::max<int64_t>(n / (2 * bins), 1));
  constexpr int64_t piece = threads * vector_width<float>;
  const int64_t strip = ((n + parts - 1) / parts + piece - 1) / piece * piece;
  const LaunchShape shape{dim3(blocks_for(n, strip), static_cast<unsigned>(rows)), threads};
  dispatch_width<float>(n, aligned_for_vectors(score), [&](auto width) {
    launch("select_count", count_bins_kernel<width()>, shape, n, strip, score, nan_report,
           counts.data<int32_t>());
    launch("select_cut", find_cut_kernel, {blocks_for(rows, threads / warp_size), threads}, rows, k,
           counts.data<int32_t>(), cuts);
    launch("select_collect", collect_kernel<width()>, shape, n, strip, k, score, cuts, keys_of(keys),
           keys_of(lists));
  });
  launch("select_in_bin", select_in_bin_kernel, {static_cast<unsigned>(rows), threads}, n, k, score, cuts,
         keys_of(keys), keys_of(lists));
  return keys;
}

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
