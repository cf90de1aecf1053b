// The nearest centroid of each row on the GPU, for millions of rows and ten thousands of centroids:
//
// 1. x and the centroids are rounded to bf16.
// 2. All scores s = x . c - |c|^2 / 2 are computed on the tensor cores, and each row keeps its best two
//    centroids and the third best score; no score is stored. The nearest centroid has the largest score, as
//    |x - c|^2 = |x|^2 - 2 s.
// 3. The distances to the two are computed in f32, and the nearer one is chosen.
//
// How exact that is: if the third score lies more than 2 E below the first, where no score of bf16 is off by
// more than E, then no other centroid than the two can be the nearest, and the choice is that of f32. Else,
// as long as there are fewer than 2^26 pairs of a row and a centroid, the row is compared with all centroids
// in f32. In larger problems, where that would cost more than all the rest, the nearer one of the two is
// taken, although now and then another centroid may be nearer by up to the rounding of bf16.
#include <algorithm>
#include <cmath>
#include <limits>

#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/kernel.h"
#include "tensor/cuda/mma.h"

namespace la {
namespace {

using namespace cuda;

constexpr int threads = 256;
constexpr int warps = threads / warp_size;
constexpr float infinity = std::numeric_limits<float>::infinity();

// ---- Rounding ---------------------------------------------------------------------------------------------

/// y[r] = x[r] in bf16, [padded_rows, padded_depth], with zeros beyond x; squares[r] = factor * |x[r]|^2, or
/// `padding` beyond x. One warp for each row, two columns a lane. Reads x and writes y once.
__global__ void round_rows_kernel(const float* x, int64_t rows, int64_t depth, int64_t padded_rows,
                                  int64_t padded_depth, float factor, float padding, bf16* y,
                                  float* squares) {
  const int64_t row = global_thread() / warp_size;
  if (row >= padded_rows) return;
  float sum = 0.0f;
  for (int64_t d = 2 * lane_id(); d < padded_depth; d += 2 * warp_size) {
    Pack<bf16, 2> pair;
    for (int e = 0; e < 2; ++e) {
      const float value = row < rows && d + e < depth ? x[row * depth + d + e] : 0.0f;
      pair.value[e] = bf16(value);
      sum += value * value;
    }
    pair.store(y + row * padded_depth + d);
  }
  sum = warp_reduce(sum, Sum());
  if (lane_id() == 0) squares[row] = row < rows ? factor * sum : padding;
}

// ---- Scores -----------------------------------------------------------------------------------------------

constexpr int slice_depth = 128;  // columns of x that a warp holds in registers
constexpr int slice_steps = slice_depth / 16;
constexpr int warp_rows = 32;  // two tiles of 16
constexpr int score_warps = 12;
constexpr int score_threads = score_warps * warp_size;
constexpr int block_rows = score_warps * warp_rows;
constexpr int group_columns = 32;  // centroids that a warp multiplies with at a time: 4 tiles of 8
constexpr int column_multiple = 64;

/// What is kept of one row: the labels of the best two, and how far the third score lies below the first.
struct Candidates {
  int32_t label[2];  // -1: there is none
  float gap;
};

struct Scores {
  const bf16 *x, *centroids;  // [padded rows, slices * slice_depth]
  const float* start;         // -|c|^2 / 2, which the sum of products starts from; -infinity: no centroid
  int64_t rows, padded_columns;
  int slices;
  Candidates* candidates;
};

/// The best scores of one row that a lane has seen, of equal ones the lower label first.
struct Ranking {
  float first = -infinity, second = -infinity, third = -infinity;
  int32_t first_label = -1, second_label = -1;

  /// Labels come in ascending order here. A NaN is never kept.
  __device__ void insert(float score, int32_t label) {
    if (!(score > third)) return;
    const bool is_first = score > first, is_second = score > second;
    third = is_second ? second : score;
    second = is_first ? first : is_second ? score : second;
    second_label = is_first ? first_label : is_second ? label : second_label;
    first = is_first ? score : first;
    first_label = is_first ? label : first_label;
  }

  /// The ranking of this lane's scores and those of the lane whose number differs in that bit.
  __device__ void merge(int distance) {
    Ranking other;
    other.first = __shfl_xor_sync(whole_warp, first, distance);
    other.second = __shfl_xor_sync(whole_warp, second, distance);
    other.third = __shfl_xor_sync(whole_warp, third, distance);
    other.first_label = __shfl_xor_sync(whole_warp, first_label, distance);
    other.second_label = __shfl_xor_sync(whole_warp, second_label, distance);
    const bool swap = comes_first(other);
    Ranking merged = swap ? other : *this;
    const Ranking rest = swap ? *this : other;
    if (rest.first > merged.second ||
        (rest.first == merged.second && rest.first_label < merged.second_label)) {
      merged.third = fmaxf(merged.second, rest.second);
      merged.second = rest.first;
      merged.second_label = rest.first_label;
    } else {
      merged.third = fmaxf(merged.third, rest.first);
    }
    *this = merged;
  }
  __device__ bool comes_first(const Ranking& other) const {
    return other.first > first || (other.first == first && other.first_label < first_label);
  }
};

/// Centroids on their way to the tensor cores. 8 elements between the rows spread 8 rows, which are read
/// together, over all banks of the memory.
template <int columns>
struct Stage {
  alignas(16) bf16 centroid[columns][slice_depth + 8];
  alignas(16) float start[columns];
};

/// Starts copying stage number s: slices of the depth follow each other, then the next centroids.
template <int columns>
__device__ void start_stage(const Scores& scores, int64_t s, Stage<columns>& stage) {
  constexpr int pieces = slice_depth / 8;
  const int64_t first = s / scores.slices * columns, depth = int64_t{scores.slices} * slice_depth;
  const bf16* from = scores.centroids + first * depth + s % scores.slices * slice_depth;
  const int thread = static_cast<int>(threadIdx.x);
  for (int i = thread; i < columns * pieces; i += score_threads)
    start_copy(&stage.centroid[i / pieces][i % pieces * 8], from + i / pieces * depth + i % pieces * 8);
  if (thread < columns / 4) start_copy(&stage.start[4 * thread], scores.start + first + 4 * thread);
}

/// One warp's rows: 16 and 16, and the scores of a group of centroids, in the layout of mma.h.
using RowTiles = uint32_t[2][slice_steps][4];
using ScoreTiles = float[2][group_columns / 8][4];

__device__ inline void load_rows(const Scores& scores, int64_t slice, RowTiles& rows) {
  const int64_t depth = int64_t{scores.slices} * slice_depth;
  const int64_t row = int64_t{blockIdx.x} * block_rows + warp_id() * warp_rows + lane_id() / 4;
  const bf16* from = scores.x + row * depth + slice * slice_depth + 2 * (lane_id() % 4);
  for (int tile = 0; tile < 2; ++tile)
    for (int step = 0; step < slice_steps; ++step)
      for (int part = 0; part < 4; ++part)
        rows[tile][step][part] = *reinterpret_cast<const uint32_t*>(
            from + (tile * 16 + part % 2 * 8) * depth + step * 16 + part / 2 * 8);
}

/// start: of the first centroid of the group.
__device__ inline void start_scores(const float* start, ScoreTiles& score) {
  for (int j = 0; j < group_columns / 8; ++j) {
    const auto pair = Pack<float, 2>::load(start + j * 8 + 2 * (lane_id() % 4));
    for (int tile = 0; tile < 2; ++tile)
      for (int e = 0; e < 4; ++e) score[tile][j][e] = pair.value[e % 2];
  }
}

/// score += rows . centroids over one slice of the depth. Each load brings 16 centroids at 16 columns.
template <int columns>
__device__ void add_products(const RowTiles& rows, const Stage<columns>& stage, int group,
                             ScoreTiles& score) {
  const int matrix = lane_id() / 8;
  const bf16* from = &stage.centroid[group * group_columns + matrix / 2 * 8 + lane_id() % 8][matrix % 2 * 8];
  for (int step = 0; step < slice_steps; ++step)
    for (int pair = 0; pair < group_columns / 16; ++pair) {
      uint32_t loaded[4];
      load_matrices(loaded, from + pair * 16 * (slice_depth + 8) + step * 16);
      for (int half = 0; half < 2; ++half) {
        const uint32_t centroids[2] = {loaded[2 * half], loaded[2 * half + 1]};
        for (int tile = 0; tile < 2; ++tile)
          mma_m16n8k16(score[tile][2 * pair + half], rows[tile][step], centroids);
      }
    }
}

/// The four rows of a lane; rows lane / 4 + 8 r of the warp.
struct Rankings {
  Ranking row[4];
  float bar[4] = {-infinity, -infinity, -infinity, -infinity};  // a score must be above it to be of use

  /// Most groups have no score of use; the vote keeps the warp together then. The four lanes of a row share
  /// their bar: three earlier scores, thus of lower labels, are at least as high.
  __device__ void keep(const ScoreTiles& score, int32_t first_label) {
    constexpr int tiles = group_columns / 8;
    LA_UNROLL
    for (int r = 0; r < 4; ++r) {
      const float(&own)[tiles][4] = score[r / 2];
      const int e = r % 2 * 2;
      float best = fmaxf(own[0][e], own[0][e + 1]);
      for (int j = 1; j < tiles; ++j) best = fmaxf(best, fmaxf(own[j][e], own[j][e + 1]));
      if (!__any_sync(whole_warp, best > bar[r])) continue;
      if (best > bar[r]) {
        LA_UNROLL
        for (int i = 0; i < 2 * tiles; ++i)
          row[r].insert(own[i / 2][e + i % 2], first_label + i / 2 * 8 + 2 * (lane_id() % 4) + i % 2);
      }
      bar[r] = row[r].third;
      for (int distance = 1; distance < 4; distance *= 2)
        bar[r] = fmaxf(bar[r], __shfl_xor_sync(whole_warp, bar[r], distance));
    }
  }

  __device__ void store(const Scores& scores) {
    LA_UNROLL
    for (int r = 0; r < 4; ++r) {
      row[r].merge(1);
      row[r].merge(2);
      const int64_t i = int64_t{blockIdx.x} * block_rows + warp_id() * warp_rows + r * 8 + lane_id() / 4;
      if (lane_id() % 4 == 0 && i < scores.rows)
        scores.candidates[i] = {{row[r].first_label, row[r].second_label}, row[r].first - row[r].third};
    }
  }
};

/// The candidates of all rows. A block takes 384 rows, 32 a warp, and goes through all centroids, which come
/// into shared memory one stage ahead of the products. Where the depth fits one slice, the rows stay in
/// registers all the time, and a stage has 64 centroids; else it has 32, whose scores are complete after the
/// last slice, and each stage loads the rows anew. Reads x once (or as often as there are groups of 32
/// centroids), and the centroids once for each block, mostly from the L2 cache.
template <bool one_slice>
__global__ void __launch_bounds__(score_threads, 1) best_two_kernel(Scores scores) {
  constexpr int columns = one_slice ? column_multiple : group_columns;
  struct Stages {
    Stage<columns> at[2];
  };
  Stages& stages = shared_memory<Stages>();
  const int64_t count = scores.padded_columns / columns * scores.slices;
  RowTiles rows;
  ScoreTiles score;
  Rankings rankings;
  const bool has_rows = int64_t{blockIdx.x} * block_rows + warp_id() * warp_rows < scores.rows;

  start_stage(scores, 0, stages.at[0]);
  if (one_slice) load_rows(scores, 0, rows);
  for (int64_t s = 0; s < count; ++s) {
    wait_for_copies();
    __syncthreads();  // the copies of all threads are there, and no thread needs the other stage any more
    if (s + 1 < count) start_stage(scores, s + 1, stages.at[(s + 1) % 2]);
    if (!has_rows) continue;  // this warp helps with the copies alone
    const Stage<columns>& stage = stages.at[s % 2];
    const int64_t slice = one_slice ? 0 : s % scores.slices;
    if (!one_slice) load_rows(scores, slice, rows);
    for (int group = 0; group < columns / group_columns; ++group) {
      if (slice == 0) start_scores(&stage.start[group * group_columns], score);
      add_products(rows, stage, group, score);
      if (slice == scores.slices - 1)
        rankings.keep(score,
                      static_cast<int32_t>(s / scores.slices * columns + group * int64_t{group_columns}));
    }
  }
  rankings.store(scores);
}

// ---- Choice -----------------------------------------------------------------------------------------------

/// *largest = the largest |c|^2, from all -|c|^2 / 2; one block.
__global__ void largest_square_kernel(int64_t n, const float* start, float* largest) {
  float most = 0.0f;
  for (int64_t i = threadIdx.x; i < n; i += threads) most = fmaxf(most, -2.0f * start[i]);
  most = block_reduce(most, Max(), 0.0f);
  if (threadIdx.x == 0) *largest = most;
}

struct Choice {
  const float *x, *centroids;
  int64_t rows, depth, columns;
  const Candidates* candidates;
  const float *squares, *largest;  // |x|^2 of each row, and the largest |c|^2; null: the two are enough
  float sum_error;                 // of a sum, relative to the sizes of its terms
  int32_t* labels;
  float* distances;

  /// 2 E. Rounding to bf16 changes a number by at most 2^-8 of it, a product by 2^-7 + 2^-16, and so x . c by
  /// at most (2^-7 + 2^-16) |x| |c|. Products of two bf16 are exact in f32; each of the terms is then added
  /// with an error of at most 2^-23 of the sizes of all, |x| |c| + |c|^2 / 2, counting one more for each 16
  /// and what rounding |c|^2 makes: together less than depth * 2^-22 (|x| |c| + |c|^2).
  __device__ float doubt(int64_t row) const {
    const float product = std::sqrt(squares[row] * *largest);
    return 2.0f * ((0x1p-7f + 0x1p-12f + sum_error) * product + sum_error * *largest);
  }
};

/// A centroid and its squared distance; NaN: none was found yet, and the label stays in range.
struct Nearest {
  int32_t label = 0;
  float distance = NAN;

  __device__ void take_nearer(const Nearest& other) {
    if (std::isnan(distance)
            ? !std::isnan(other.distance)
            : other.distance < distance || (other.distance == distance && other.label < label))
      *this = other;
  }
};

constexpr int lanes_per_distance = 8;  // they read 32 bytes together

/// The label and distance of each row; one warp for each, of which 8 lanes compute one distance: the sum of
/// (x - c)^2.
__global__ void choose_kernel(Choice choice) {
  constexpr int at_a_time = warp_size / lanes_per_distance;
  const int64_t row = global_thread() / warp_size;
  if (row >= choice.rows) return;
  const float* x = choice.x + row * choice.depth;
  const Candidates found = choice.candidates[row];
  const bool all = choice.largest != nullptr && !(found.gap > choice.doubt(row));  // or a NaN is among them
  const int64_t count = all ? choice.columns : 2;
  Nearest nearest;
  for (int64_t first = 0; first < count; first += at_a_time) {
    const int64_t i = first + lane_id() / lanes_per_distance;
    const int64_t candidate = i >= count ? -1 : all ? i : found.label[i];
    const float* c = choice.centroids + candidate * choice.depth;
    float sum = 0.0f;
    for (int64_t d = lane_id() % lanes_per_distance; candidate >= 0 && d < choice.depth;
         d += lanes_per_distance)
      sum += (x[d] - c[d]) * (x[d] - c[d]);
    for (int distance = 1; distance < lanes_per_distance; distance *= 2)
      sum += __shfl_xor_sync(whole_warp, sum, distance);
    if (candidate >= 0) nearest.take_nearer({static_cast<int32_t>(candidate), sum});
  }
  for (int distance = lanes_per_distance; distance < warp_size; distance *= 2)
    nearest.take_nearer({__shfl_xor_sync(whole_warp, nearest.label, distance),
                         __shfl_xor_sync(whole_warp, nearest.distance, distance)});
  if (lane_id() == 0) {
    choice.labels[row] = nearest.label;
    choice.distances[row] = nearest.distance;
  }
}

// ---------------------------------------------------------------------------------------------------------

int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

/// A matrix in bf16, padded, and the squares of its rows.
struct Rounded {
  int64_t rows, slices;  // padded
  Tensor values, squares;

  Rounded(const Tensor& x, int64_t multiple, float factor, float padding)
      : rows(round_up(x.size(0), multiple)),
        slices(std::max<int64_t>(blocks_for(x.size(1), slice_depth), 1)),
        values({rows, slices * slice_depth}, DType::bf16, Device::cuda()),
        squares({rows}, DType::f32, Device::cuda()) {
    launch("round_rows", round_rows_kernel, {blocks_for(rows, warps), threads}, x.data<float>(), x.size(0),
           x.size(1), rows, slices * slice_depth, factor, padding, values.data<bf16>(),
           squares.data<float>());
  }
};

constexpr int64_t most_exact_pairs = int64_t{1} << 26;

}  // namespace

void CudaBackend::nearest_centroid(const Tensor& x, const Tensor& centroids, const Assignment& out) {
  const int64_t n = x.size(0), m = centroids.size(0), depth = x.size(1);
  const Rounded rows(x, block_rows, 1.0f, 0.0f), columns(centroids, column_multiple, -0.5f, -infinity);
  const Tensor candidates({n, static_cast<int64_t>(sizeof(Candidates) / 4)}, DType::i32, Device::cuda());
  auto* kept = reinterpret_cast<Candidates*>(candidates.data<int32_t>());
  launch("best_two", rows.slices == 1 ? best_two_kernel<true> : best_two_kernel<false>,
         {blocks_for(n, block_rows), score_threads},
         Scores{rows.values.data<bf16>(), columns.values.data<bf16>(), columns.squares.data<float>(), n,
                columns.rows, static_cast<int>(rows.slices), kept});

  const Tensor largest({1}, DType::f32, Device::cuda());
  const bool is_exact = n * m < most_exact_pairs;
  if (is_exact)
    launch("largest_square", largest_square_kernel, {1, threads}, m, columns.squares.data<float>(),
           largest.data<float>());
  launch("choose", choose_kernel, {blocks_for(n, warps), threads},
         Choice{x.data<float>(), centroids.data<float>(), n, depth, m, kept, rows.squares.data<float>(),
                is_exact ? largest.data<float>() : nullptr,
                static_cast<float>(rows.slices * slice_depth) * 0x1p-22f, out.labels.data<int32_t>(),
                out.distances.data<float>()});
}

}  // namespace la
