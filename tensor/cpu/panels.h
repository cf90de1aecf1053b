// Scores of many rows against many columns that are used at once and never stored: the product kernel of the
// nearest neighbors and of k-means. The vectors of the columns are packed into panels of `panel_width`
// columns, laid out [depth][panel_width], so that one step along the depth multiplies one number of a row by
// a few whole SIMD registers of the panel. A score is one chain of multiply-adds in the order of the depth:
// it has the same bits wherever its row and column lie in a tile and whichever thread computes it.
#pragma once

#include "tensor/parallel.h"
#include "tensor/vector_math.h"

namespace la {

// A tile of sums fills the registers: 8 x 3 of 32 with AVX-512, 4 x 3 of 16 before.
constexpr int tile_rows = simd_lanes / 2;
constexpr int tile_vectors = 3;
constexpr int panel_width = tile_vectors * simd_lanes;

/// The scores of one row against a panel.
using PanelScores = Floats[tile_vectors];

/// Number of panels that hold `columns` columns.
constexpr int64_t panel_count(int64_t columns) { return divide_up(columns, panel_width); }

/// Packs n <= panel_width columns, `stride` floats apart and each of `depth` numbers; missing ones are zeros.
void pack_panel(const float* columns, int64_t n, int64_t stride, int64_t depth, float* panel);

/// sums[r] <- start + rows[r] . panel for `count` rows.
template <int count>
inline void multiply_panel(const float* rows, int64_t depth, const float* panel, const PanelScores& start,
                           PanelScores (&sums)[count]) {
  for (int r = 0; r < count; ++r)
    for (int v = 0; v < tile_vectors; ++v) sums[r][v] = start[v];
  for (int64_t d = 0; d < depth; ++d) {
    Floats columns[tile_vectors];
    for (int v = 0; v < tile_vectors; ++v) columns[v] = load(panel + d * panel_width + v * simd_lanes);
    for (int r = 0; r < count; ++r)
      for (int v = 0; v < tile_vectors; ++v) sums[r][v] += rows[r * depth + d] * columns[v];
  }
}

/// Calls use(r, scores) for each row r of `rows` [n, depth] with its scores against the panel, to which
/// `start` is added.
template <class Use>
inline void score_rows(const float* rows, int64_t n, int64_t depth, const float* panel,
                       const PanelScores& start, Use&& use) {
  const int64_t tiled = n - n % tile_rows;
  for (int64_t r = 0; r < tiled; r += tile_rows) {
    PanelScores sums[tile_rows];
    multiply_panel(rows + r * depth, depth, panel, start, sums);
    for (int i = 0; i < tile_rows; ++i) use(r + i, sums[i]);
  }
  for (int64_t r = tiled; r < n; ++r) {
    PanelScores sums[1];
    multiply_panel(rows + r * depth, depth, panel, start, sums);
    use(r, sums[0]);
  }
}

}  // namespace la
