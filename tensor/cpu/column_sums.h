// Sums of the columns of a matrix, over all of its rows.
#pragma once

#include <vector>

#include "tensor/parallel.h"
#include "tensor/tensor.h"

namespace la {

/// Calls finish(c, the sum of column c); add_row(r, sums) adds row r to sums [columns]. Sums over fixed
/// blocks of rows, then over blocks: the result does not depend on the threads.
template <class AddRow, class Finish>
void sum_columns(int64_t rows, int64_t columns, AddRow add_row, Finish finish) {
  constexpr int64_t block = 512;
  const int64_t blocks = divide_up(rows, block);
  const Tensor partial({blocks, columns});
  float* sums = partial.data<float>();
  parallel_for(blocks, 1, [=](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      float* sum = sums + b * columns;
      std::fill(sum, sum + columns, 0.0f);
      for (int64_t r = b * block; r < std::min((b + 1) * block, rows); ++r) add_row(r, sum);
    }
  });
  for (int64_t c = 0; c < columns; ++c) {
    double sum = 0;
    for (int64_t b = 0; b < blocks; ++b) sum += sums[b * columns + c];
    finish(c, static_cast<float>(sum));
  }
}

}  // namespace la
