// The steps of docs/fast.md against the op: numbers whose scores are exact, many of them equal.
#include "docs/nearest_steps.h"
#include "tensor/ops.h"
#include "tests/plain_loops.h"

using namespace la;

namespace {

struct Sizes {
  int64_t queries, rows, depth, k;
};

void check_same(const TopK& found, const TopK& expected) {
  CHECK(found.indices.to_vector<int32_t>() == expected.indices.to_vector<int32_t>());
  CHECK(found.values.to_vector<float>() == expected.values.to_vector<float>());
}

void check_steps(const Sizes& s, const std::vector<float>& numbers) {
  CAPTURE(s.rows);
  CAPTURE(s.k);
  const Tensor queries = Tensor::from(coarse_floats(s.queries * s.depth, 1), {s.queries, s.depth});
  const Tensor table = Tensor::from(numbers, {s.rows, s.depth});
  const TopK expected = ops::nearest_rows(queries, table, s.k);
  check_same(steps::select_by_sorting(steps::scores_by_loops(queries, table), s.k), expected);
  check_same(steps::select_by_partitioning(steps::scores_by_blocks(queries, table), s.k), expected);
  check_same(steps::select_by_counting(steps::scores_by_library(queries, table), s.k), expected);
  check_same(steps::nearest_by_threshold(queries, table, s.k), expected);
}

}  // namespace

TEST_CASE("all steps to the fast nearest_rows give the same") {
  for (const Sizes& s : {Sizes{3, 1, 2, 1}, {5, 100, 7, 100}, {9, 1000, 16, 33}, {10, 20011, 33, 700}})
    check_steps(s, coarse_floats(s.rows * s.depth, 2));
}

TEST_CASE("the threshold of step 4 may be guessed wrong") {
  const Sizes s{4, 20000, 5, 300};
  std::vector<float> numbers = coarse_floats(s.rows * s.depth, 3);
  for (int64_t row = 0; row < s.rows; row += 24)  // the sample is far above the rest
    for (int64_t d = 0; d < s.depth; ++d) numbers[static_cast<size_t>(row * s.depth + d)] *= 8.0f;
  check_steps(s, numbers);
  check_steps(s, std::vector<float>(numbers.size(), 0.5f));  // all rows are equal
}
