// Exact selection of the k largest of each row in two reads of the scores:
//
// 1. count them in bins, which divide [-1, 1], where similarities lie, into equal parts; what lies beyond
//    belongs to the first or the last bin;
// 2. in each row, find the bin that holds the k-th largest score; read the scores again, keep those of higher
//    bins, and list those of this bin;
// 3. find, among the listed, those that are still missing, digit by digit from the highest (radix selection).
//
// A row whose list overflows, because thousands of scores are nearly equal, is read again for each digit
// instead: by one large block with wide loads, so that as many rows as there are multiprocessors are read at
// the memory's speed. The order in which keys are appended changes from run to run, but not which they are;
// sorting them makes the result the same.
//
// Where only estimates of the scores are known, at least k scores are not below the lower edge of the
// bin of the k-th largest estimate, less the error of an estimate; so none of the k largest has an
// estimate below that edge, less twice the error. What lies above is listed and computed, and the k
// largest of it are selected as in step 3. Rows where this would be too many are computed as a whole and
// selected from as above.
#include "tensor/cuda/selection.h"

#include <algorithm>
#include <limits>

#include "tensor/backend.h"

namespace la::cuda {
namespace {

constexpr int threads = 256;
constexpr int warps = threads / warp_size;
constexpr int bins = 4096;

/// Grows with the score, which may be infinite; a NaN falls into bin 0.
__device__ int bin_of(float score) {
  const float place = (score + 1.0f) * (bins / 2.0f);
  return static_cast<int>(fminf(fmaxf(place, 0.0f), bins - 1.0f));
}

/// No score of this bin or a higher one is below.
__device__ float lower_edge(int bin) {
  constexpr float rounding = 0x1p-22f;  // of score + 1
  return bin == 0 ? -std::numeric_limits<float>::infinity()
                  : static_cast<float>(bin) * (2.0f / bins) - 1.0f - rounding;
}

/// Which rows a kernel works on: all, or those with this flag.
struct RowFilter {
  const int* flags = nullptr;
  int wanted = 0;

  __device__ bool skips(int64_t row) const { return flags != nullptr && flags[row] != wanted; }
};

/// f(score, index) for a strip of a row, each block (blockIdx.x) another one, `width` scores a load, of which
/// the last may reach beyond the row.
template <int width, class F>
__device__ void for_each_score(const float* row, int64_t n, int64_t strip, F f) {
  const int64_t begin = blockIdx.x * strip, end = begin + strip < n ? begin + strip : n;
  for (int64_t i = begin + threadIdx.x * width; i < end; i += threads * width) {
    const auto pack = Pack<float, width>::load(row + i);
    for (int e = 0; e < width; ++e)
      if (width == 1 || i + e < end) f(pack.value[e], i + e);
  }
}

/// counts [rows, bins] += the scores of each bin. Reads the scores once.
template <int width>
__global__ void count_bins_kernel(Scores scores, int64_t strip, RowFilter filter, Reporter report,
                                  int* counts) {
  struct Counts {
    int of_bin[bins];
    int nans;
  };
  Counts& shared = shared_memory<Counts>();
  if (filter.skips(blockIdx.y)) return;
  for (int bin = static_cast<int>(threadIdx.x); bin < bins; bin += threads) shared.of_bin[bin] = 0;
  if (threadIdx.x == 0) shared.nans = 0;
  __syncthreads();
  bool has_nan = false;
  for_each_score<width>(scores.row(blockIdx.y), scores.n, strip, [&](float score, int64_t) {
    has_nan = has_nan || score != score;
    atomicAdd(&shared.of_bin[bin_of(score)], 1);
  });
  if (has_nan) atomicAdd(&shared.nans, 1);
  __syncthreads();
  if (threadIdx.x == 0 && shared.nans > 0) report(scores.first_row + blockIdx.y, 0);
  for (int bin = static_cast<int>(threadIdx.x); bin < bins; bin += threads)
    if (shared.of_bin[bin] > 0) atomicAdd(&counts[int64_t{blockIdx.y} * bins + bin], shared.of_bin[bin]);
}

/// Where a row is cut: all scores of higher bins belong to the k largest, and `missing` of this bin.
struct Cut {
  int bin, missing;
  int kept, listed;  // counters of the keys appended
};

/// Where a row with these counts is cut, by one warp; lane 0 has it. Each lane sums the counts of 128 bins,
/// the first lane those of the highest; then lane 0 walks down, first by these sums and then bin by bin, to
/// the bin in which k is reached.
__device__ Cut find_cut(const int* count, int64_t k) {
  constexpr int bins_of_lane = bins / warp_size;
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
  if (lane_id() == 0)
    for (; count[bin] < missing; --bin) missing -= count[bin];
  return {bin, static_cast<int>(missing), 0, 0};
}

/// One warp for each row.
__global__ void find_cut_kernel(int64_t rows, int64_t k, RowFilter filter, const int* counts, Cut* cuts) {
  const int64_t row = global_thread() / warp_size;
  if (row >= rows || filter.skips(row)) return;
  const Cut cut = find_cut(counts + row * bins, k);
  if (lane_id() == 0) cuts[row] = cut;
}

/// Appends the keys of higher bins to keys [rows, k], and those of the cut's bin to list [rows, capacity] as
/// far as there is room. Reads the scores once.
template <int width>
__global__ void collect_kernel(Scores scores, int64_t strip, int64_t k, RowFilter filter, Cut* cuts,
                               Key* keys, Key* list) {
  if (filter.skips(blockIdx.y)) return;
  Cut& cut = cuts[blockIdx.y];
  const int cut_bin = cut.bin;
  for_each_score<width>(scores.row(blockIdx.y), scores.n, strip, [&](float score, int64_t index) {
    const int bin = bin_of(score);
    if (bin < cut_bin) return;
    if (bin > cut_bin) {
      keys[blockIdx.y * k + atomicAdd(&cut.kept, 1)] = key_of(score, index);
    } else if (const int place = atomicAdd(&cut.listed, 1); place < list_capacity) {
      list[int64_t{blockIdx.y} * scores.list_length() + place] = key_of(score, index);
    }
  });
}

constexpr int row_threads = 1024;  // of a block that has a row for itself

/// f(key) for all keys of the cut's bin: from the list, or from the scores if the list has overflowed.
template <int width, class F>
__device__ void for_each_candidate(const Cut& cut, const Key* list, const float* row, int64_t n, F f) {
  if (cut.listed <= list_capacity) {
    for (int i = static_cast<int>(threadIdx.x); i < cut.listed; i += row_threads) f(list[i]);
    return;
  }
  const int cut_bin = cut.bin;
  for (int64_t i = threadIdx.x * width; i < n; i += row_threads * width) {
    const auto pack = Pack<float, width>::load(row + i);
    for (int e = 0; e < width; ++e)
      if (i + e < n && bin_of(pack.value[e]) == cut_bin) f(key_of(pack.value[e], i + e));
  }
}

/// Counts values of a thread in a block's counters, a run of equal values at once: the first digits of nearly
/// equal scores are equal, and thousands of threads would wait for one counter.
struct RunCounter {
  int* count;
  int value = 0, run = 0;

  __device__ void add(int next) {
    if (next != value) flush();
    value = next;
    ++run;
  }
  __device__ void flush() {
    if (run > 0) atomicAdd(&count[value], run);
    run = 0;
  }
};

/// Appends the largest `missing` keys of the cut's bin; one block for each row. Of the k-th largest key, one
/// digit of 8 bits after the other is found, from the highest: count how many candidates with the digits
/// found so far have each value of the next one, and go down from the highest until enough are together. All
/// keys are different, so that after the last digit exactly `missing` are not below it; often fewer digits
/// will do. Reads the list, or the row, once for each digit and once more.
template <int width>
__global__ void __launch_bounds__(row_threads)
    select_in_bin_kernel(Scores scores, int64_t k, RowFilter filter, Cut* cuts, Key* keys, const Key* lists) {
  constexpr int digit_bits = 8, digits = 64 / digit_bits, values = 1 << digit_bits;
  struct State {
    int count[values];
    Key least;  // the digits found, zeros below them
    int missing;
    bool done;
  };
  State& state = shared_memory<State>();
  if (filter.skips(blockIdx.x)) return;
  Cut& cut = cuts[blockIdx.x];
  const float* row = scores.row(blockIdx.x);
  const Key* list = lists + int64_t{blockIdx.x} * scores.list_length();
  const int thread = static_cast<int>(threadIdx.x);
  if (thread == 0) {
    state.least = 0;
    state.missing = cut.missing;
  }
  bool done = false;
  for (int digit = digits - 1; digit >= 0 && !done; --digit) {
    const int shift = digit * digit_bits;
    for (int value = thread; value < values; value += row_threads) state.count[value] = 0;
    __syncthreads();
    const Key above = digit == digits - 1 ? 0 : ~Key{0} << (shift + digit_bits);  // the bits found so far
    const Key found = state.least;
    RunCounter counter{state.count};
    for_each_candidate<width>(cut, list, row, scores.n, [&](Key key) {
      if ((key & above) == found) counter.add(static_cast<int>(key >> shift & (values - 1)));
    });
    counter.flush();
    __syncthreads();
    if (thread == 0) {
      int value = values - 1;
      // Among NaNs, which are reported, there may be too few candidates.
      for (; value > 0 && state.count[value] < state.missing; --value) state.missing -= state.count[value];
      state.least = found | Key(value) << shift;
      state.done = state.count[value] == state.missing;  // then all of them are wanted
    }
    __syncthreads();
    done = state.done;
  }
  const Key least = state.least;
  for_each_candidate<width>(cut, list, row, scores.n, [&](Key key) {
    if (key >= least) keys[blockIdx.x * k + atomicAdd(&cut.kept, 1)] = key;
  });
}

// ---- Estimates --------------------------------------------------------------------------------------------

/// One warp for each row: from the counts of its estimates, the threshold that candidates reach, and whether
/// more do than a list holds.
__global__ void find_threshold_kernel(int64_t rows, int64_t k, const int* counts, const float* errors,
                                      float* thresholds, int* overflows, Cut* cuts) {
  const int64_t row = global_thread() / warp_size;
  if (row >= rows) return;
  const int* count = counts + row * bins;
  const int cut_bin = __shfl_sync(whole_warp, find_cut(count, k).bin, 0);
  float least = lower_edge(cut_bin) - 2.0f * errors[row];
  if (least != least) least = -std::numeric_limits<float>::infinity();
  int candidates = 0;
  for (int bin = bin_of(least) + lane_id(); bin < bins; bin += warp_size) candidates += count[bin];
  candidates = warp_reduce(candidates, Sum());
  if (lane_id() != 0) return;
  thresholds[row] = least;
  overflows[row] = candidates > list_capacity ? 1 : 0;
  cuts[row] = {cut_bin, static_cast<int>(k), 0, 0};  // all k are missing
}

/// Lists the indices of the candidates. Reads the estimates once.
template <int width>
__global__ void list_candidates_kernel(Scores estimates, int64_t strip, RowFilter filter,
                                       const float* thresholds, Cut* cuts, Key* lists) {
  if (filter.skips(blockIdx.y)) return;
  const float least = thresholds[blockIdx.y];
  for_each_score<width>(estimates.row(blockIdx.y), estimates.n, strip, [&](float estimate, int64_t index) {
    if (!(estimate >= least)) return;
    lists[int64_t{blockIdx.y} * estimates.list_length() + atomicAdd(&cuts[blockIdx.y].listed, 1)] =
        static_cast<Key>(index);
  });
}

/// Turns the indices into keys, one warp each. Reads the candidates' rows of the table once.
template <int width>
__global__ void score_candidates_kernel(Products p, RowFilter filter, const Cut* cuts, Key* lists,
                                        int64_t list_length) {
  if (filter.skips(blockIdx.y)) return;
  const int listed = cuts[blockIdx.y].listed;
  Key* list = lists + int64_t{blockIdx.y} * list_length;
  const float* query = p.queries + blockIdx.y * p.depth;
  const int all_warps = static_cast<int>(gridDim.x) * warps;
  for (int i = static_cast<int>(blockIdx.x) * warps + warp_id(); i < listed; i += 2 * all_warps) {
    const int other = i + all_warps < listed ? i + all_warps : i;
    const auto first = static_cast<int64_t>(list[i]), second = static_cast<int64_t>(list[other]);
    float score[2];
    warp_dots<width, 2>({query, query}, {p.table + first * p.depth, p.table + second * p.depth}, p.depth,
                        score);
    if (lane_id() != 0) continue;
    list[i] = key_of(score[0], first);
    if (other != i) list[other] = key_of(score[1], second);
  }
}

constexpr int queries_at_once = 8;

/// scores <- all products of the filter's rows, a thread for each row of the table and 8 queries. Reads the
/// table once for every 8 queries of which one is wanted.
template <int width>
__global__ void products_kernel(Products p, RowFilter filter, Scores scores) {
  using Floats = Pack<float, width>;
  const int64_t first = int64_t{blockIdx.y} * queries_at_once;
  bool wanted[queries_at_once], any = false;
  for (int q = 0; q < queries_at_once; ++q) {
    wanted[q] = first + q < scores.rows && !filter.skips(first + q);
    any = any || wanted[q];
  }
  if (!any) return;
  for (int64_t i = global_thread(); i < scores.n; i += global_threads()) {
    float sum[queries_at_once] = {};
    for (int64_t d = 0; d < p.depth; d += width) {
      const Floats x = Floats::load(p.table + i * p.depth + d);
      for (int q = 0; q < queries_at_once; ++q) {
        if (!wanted[q]) continue;
        const Floats y = Floats::load(p.queries + (first + q) * p.depth + d);
        for (int e = 0; e < width; ++e) sum[q] += x.value[e] * y.value[e];
      }
    }
    for (int q = 0; q < queries_at_once; ++q)
      if (wanted[q]) scores.row(first + q)[i] = sum[q];
  }
}

// ---- Launches ---------------------------------------------------------------------------------------------

void launch_products(const Products& products, RowFilter filter, const Scores& scores) {
  const unsigned groups = blocks_for(scores.rows, queries_at_once);
  const auto strips = static_cast<unsigned>(
      std::clamp<int64_t>(8 * device_properties().multiprocessors / std::max(groups, 1u), 1,
                          std::max<int64_t>(blocks_for(scores.n, threads), 1)));
  dispatch_width<float>(products.depth, aligned_for_vectors(products.queries, products.table),
                        [&](auto width) {
                          launch("select_products", products_kernel<width()>, {dim3(strips, groups), threads},
                                 products, filter, scores);
                        });
}

Tensor device_tensor(const Shape& shape, DType dtype) { return Tensor(shape, dtype, Device::cuda()); }

/// What selecting from rows of scores needs.
struct Work {
  Scores scores;
  int64_t k;
  Tensor keys, lists, cut_bytes, counts;
  LaunchShape strips;  // blocks for strips of the rows
  int64_t strip;
  bool wide;  // loads of 16 bytes

  Work(const Scores& s, int64_t count)
      : scores(s),
        k(count),
        keys(device_tensor({s.rows, k}, DType::i64)),
        lists(device_tensor({s.rows, s.list_length()}, DType::i64)),
        cut_bytes(device_tensor({s.rows * static_cast<int64_t>(sizeof(Cut))}, DType::u8)),
        counts(device_tensor({s.rows, bins}, DType::i32)),
        wide(aligned_for_vectors(s.data) && s.stride % vector_width<float> == 0) {
    check(s.rows <= most_score_rows, "selection from {} rows, expected at most {}", s.rows, most_score_rows);
    // As many blocks as keep the GPU busy, but none with fewer scores than it has bins to clear.
    const int64_t parts = std::clamp<int64_t>(8 * device_properties().multiprocessors / s.rows, 1,
                                              std::max<int64_t>(s.n / (2 * bins), 1));
    constexpr int64_t piece = threads * vector_width<float>;
    strip = ((s.n + parts - 1) / parts + piece - 1) / piece * piece;
    strips = {dim3(blocks_for(s.n, strip), static_cast<unsigned>(s.rows)), threads};
  }

  Cut* cuts() const { return reinterpret_cast<Cut*>(cut_bytes.data<uint8_t>()); }
  Key* key_list() const { return reinterpret_cast<Key*>(lists.data<int64_t>()); }
  Key* selected() const { return reinterpret_cast<Key*>(keys.data<int64_t>()); }
  LaunchShape warp_for_each_row() const { return {blocks_for(scores.rows, warps), threads}; }

  /// Calls f with the number of scores a load.
  template <class F>
  void dispatch(F f) const {
    if (wide)
      f(std::integral_constant<int, vector_width<float>>());
    else
      f(std::integral_constant<int, 1>());
  }

  void count_bins(RowFilter filter, const Reporter& nan_report) const {
    backend(Device::cuda()).fill(0.0f, counts);
    dispatch([&](auto width) {
      launch("select_count", count_bins_kernel<width()>, strips, scores, strip, filter, nan_report,
             counts.data<int32_t>());
    });
  }
  void select_listed(RowFilter filter) const {
    dispatch([&](auto width) {
      launch("select_in_bin", select_in_bin_kernel<width()>,
             {static_cast<unsigned>(scores.rows), row_threads}, scores, k, filter, cuts(), selected(),
             key_list());
    });
  }
  void select(RowFilter filter, const Reporter& nan_report) const {
    count_bins(filter, nan_report);
    launch("select_cut", find_cut_kernel, warp_for_each_row(), scores.rows, k, filter, counts.data<int32_t>(),
           cuts());
    dispatch([&](auto width) {
      launch("select_collect", collect_kernel<width()>, strips, scores, strip, k, filter, cuts(), selected(),
             key_list());
    });
    select_listed(filter);
  }
};

}  // namespace

int64_t selection_bytes(int64_t n, int64_t k) {
  const int64_t listed = Scores{.data = nullptr, .rows = 0, .n = n, .stride = n}.list_length();
  return (k + listed) * static_cast<int64_t>(sizeof(Key)) + bins * static_cast<int64_t>(sizeof(int)) +
         static_cast<int64_t>(sizeof(Cut));
}

Tensor select_largest(const Scores& scores, int64_t k, const Reporter& nan_report) {
  if (scores.rows == 0) return device_tensor({0, k}, DType::i64);
  const Work work(scores, k);
  work.select({}, nan_report);
  return work.keys;
}

void compute_products(const Products& products, const Scores& scores) {
  if (scores.n > 0) launch_products(products, {}, scores);
}

bool selects_by_estimates(int64_t n, int64_t k) { return n >= 2 * bins && 4 * k <= list_capacity; }

Tensor select_largest_products(const Products& products, const Scores& estimates, const float* errors,
                               int64_t k, const Reporter& nan_report) {
  if (estimates.rows == 0) return device_tensor({0, k}, DType::i64);
  const Work work(estimates, k);
  const int64_t rows = estimates.rows;
  const Tensor thresholds = device_tensor({rows}, DType::f32), overflows = device_tensor({rows}, DType::i32);
  const RowFilter listed{overflows.data<int32_t>(), 0}, overflowed{overflows.data<int32_t>(), 1};

  work.count_bins({}, nan_report);
  launch("select_threshold", find_threshold_kernel, work.warp_for_each_row(), rows, k,
         work.counts.data<int32_t>(), errors, thresholds.data<float>(), overflows.data<int32_t>(),
         work.cuts());
  work.dispatch([&](auto width) {
    launch("select_list", list_candidates_kernel<width()>, work.strips, estimates, work.strip, listed,
           thresholds.data<float>(), work.cuts(), work.key_list());
  });
  const int64_t multiprocessors = device_properties().multiprocessors;
  dispatch_width<float>(
      products.depth, aligned_for_vectors(products.queries, products.table), [&](auto width) {
        const auto blocks = static_cast<unsigned>(std::clamp<int64_t>(16 * multiprocessors / rows, 1, 64));
        launch("select_score", score_candidates_kernel<width()>,
               {dim3(blocks, static_cast<unsigned>(rows)), threads}, products, listed, work.cuts(),
               work.key_list(), estimates.list_length());
      });
  work.select_listed(listed);
  launch_products(products, overflowed, estimates);
  work.select(overflowed, nan_report);
  return work.keys;
}

}  // namespace la::cuda
