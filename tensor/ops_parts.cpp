// The ops that select from several parts of a table: checks, outputs, calls.
#include "tensor/backend.h"
#include "tensor/ops.h"
#include "tensor/ops_checks.h"

namespace la::ops {
namespace {

/// Scores [R, K] with the rows of the part that they are of, and of each row one that is always taken.
void expect_part(const char* op, const TopK& part, const Tensor& always) {
  check_dtype(op, "values", part.values, DType::f32);
  check_dtype(op, "indices", part.indices, DType::i32);
  check(part.values.rank() == 2 && part.indices.shape() == part.values.shape(),
        "{}: values of shape {} with indices of shape {}, expected two matrices of one shape", op,
        part.values.shape(), part.indices.shape());
  check_same_device(op, part.values, part.indices);
  if (!always.defined()) return;
  check_dtype(op, "always", always, DType::i32);
  check(always.shape() == Shape{part.values.size(0)}, "{}: always has shape {}, expected [{}]", op,
        always.shape(), part.values.size(0));
  check_same_device(op, part.values, always);
}

void expect_numbers(const char* op, const char* name, const Tensor& t, const Shape& shape,
                    const Tensor& reference) {
  check_dtype(op, name, t, DType::i32);
  check(t.shape() == shape, "{}: {} has shape {}, expected {}", op, name, t.shape(), shape);
  check_same_device(op, t, reference);
}

}  // namespace

void count_digits(const Tensor& counts, const TopK& part, const Tensor& always, int place,
                  const Tensor& chosen) {
  constexpr auto op = "count_digits";
  expect_part(op, part, always);
  check(place >= 0 && place <= digit_places, "{}: place {} of a digit, expected 0 to {}", op, place,
        digit_places);
  const int64_t rows = part.values.size(0);
  expect_numbers(op, "chosen", chosen, {rows, 2}, part.values);
  expect_numbers(op, "counts", counts, {rows, place == digit_places ? 1 : digit_values}, part.values);
  backend(part.values.device()).count_digits(part, always, place, chosen, counts);
}

void choose_digit(const Tensor& counts, int place, int64_t k, const Tensor& chosen) {
  constexpr auto op = "choose_digit";
  check(place >= 0 && place < digit_places, "{}: place {} of a digit, expected 0 to {}", op, place,
        digit_places - 1);
  check(k >= 1, "{}: k is {}, expected at least 1", op, k);
  check_dtype(op, "counts", counts, DType::i32);
  expect_numbers(op, "counts", counts, {counts.size(0), digit_values}, counts);
  expect_numbers(op, "chosen", chosen, {counts.size(0), 2}, counts);
  backend(counts.device()).choose_digit(counts, place, k, chosen);
}

Tensor mark_largest(const TopK& part, const Tensor& always, const Tensor& chosen, const Tensor& ties,
                    int64_t p) {
  constexpr auto op = "mark_largest";
  expect_part(op, part, always);
  const int64_t rows = part.values.size(0);
  expect_numbers(op, "chosen", chosen, {rows, 2}, part.values);
  check_dtype(op, "ties", ties, DType::i32);
  expect_numbers(op, "ties", ties, {ties.size(0), rows}, part.values);
  check(p >= 0 && p < ties.size(0), "{}: part {} of {}", op, p, ties.size(0));
  const Tensor mask(part.values.shape(), DType::u8, part.values.device());
  backend(part.values.device()).mark_largest(part, always, chosen, ties, p, mask);
  return mask;
}

Tensor keep_marked(const Tensor& scores, const Tensor& mask) {
  constexpr auto op = "keep_marked";
  check_dtype(op, "scores", scores, DType::f32);
  check_dtype(op, "mask", mask, DType::u8);
  check(scores.shape() == mask.shape(), "{}: a mask of shape {} for scores of shape {}", op, mask.shape(),
        scores.shape());
  check_same_device(op, scores, mask);
  const Tensor y(scores.shape(), DType::f32, scores.device());
  backend(scores.device()).keep_marked(scores, mask, y);
  return y;
}

}  // namespace la::ops
