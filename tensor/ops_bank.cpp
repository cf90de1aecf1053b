// The ops on tables, selection, the losses over rows of scores and k-means: checks, outputs, calls.
#include <limits>

#include "tensor/backend.h"
#include "tensor/ops.h"
#include "tensor/ops_checks.h"

namespace la::ops {
namespace {

constexpr int64_t any = -1;

/// One operand as an op expects it: of this type, with these extents (`any` allows every extent), on the
/// device of `reference`.
void expect(const char* op, const char* name, const Tensor& t, DType dtype,
            const std::vector<int64_t>& extents, const Tensor& reference) {
  check_dtype(op, name, t, dtype);
  bool fits = t.rank() == static_cast<int>(extents.size());
  for (int d = 0; fits && d < t.rank(); ++d) {
    const int64_t extent = extents[static_cast<size_t>(d)];
    fits = extent == any || t.size(d) == extent;
  }
  if (!fits) {
    std::string expected;
    for (int64_t extent : extents)
      expected += (expected.empty() ? "" : ", ") + (extent == any ? "any" : std::to_string(extent));
    fail("{}: {} has shape {}, expected [{}]", op, name, t.shape(), expected);
  }
  check_same_device(op, t, reference);
}

/// A matrix [rows, columns] of f32.
void expect_matrix(const char* op, const char* name, const Tensor& t, int64_t rows, int64_t columns,
                   const Tensor& reference) {
  expect(op, name, t, DType::f32, {rows, columns}, reference);
}

/// Rows of a table are numbered by i32.
void check_table_size(const char* op, int64_t n) {
  check(n <= std::numeric_limits<int32_t>::max(), "{}: a table of {} rows, expected fewer than 2^31", op, n);
}

void check_k(const char* op, int64_t k, int64_t n) {
  check(k >= 1 && k <= n, "{}: k is {}, expected 1 to {}, the number of rows or columns to choose from", op,
        k, n);
}

/// The table of gather_rows and scatter_rows: f32 or i32, [N, D] or [N].
void expect_table(const char* op, const Tensor& table) {
  check(table.defined(), "{}: the table is undefined", op);
  check(table.dtype() == DType::f32 || table.dtype() == DType::i32,
        "{}: the table is {}, expected f32 or i32", op, table.dtype());
  check(table.rank() == 1 || table.rank() == 2, "{}: the table has shape {}, expected [N, D] or [N]", op,
        table.shape());
  check_table_size(op, table.size(0));
}

/// The shape of `count` rows of a table.
std::vector<int64_t> rows_shape(const Tensor& table, int64_t count) {
  return table.rank() == 1 ? std::vector<int64_t>{count} : std::vector<int64_t>{count, table.size(1)};
}

/// The rows of x, each with a label below m.
void check_labels(const char* op, const Tensor& x, const Tensor& labels, int64_t m) {
  expect_matrix(op, "x", x, any, any, x);
  expect(op, "labels", labels, DType::i32, {x.size(0)}, x);
  check(m >= 1, "{}: the number of labels is {}, expected at least 1", op, m);
  check_table_size(op, x.size(0));
}

RowLosses row_losses(const Tensor& scores, const Tensor& gradient) {
  return {Tensor({scores.size(0)}, DType::f32, scores.device()), gradient};
}

}  // namespace

Tensor rows_of_part(const Tensor& rows, int64_t begin, int64_t end) {
  check_dtype("rows_of_part", "rows", rows, DType::i32);
  check(begin >= 0 && begin <= end, "rows_of_part: rows {} to {}", begin, end);
  check_table_size("rows_of_part", end);
  const Tensor y(rows.shape(), DType::i32, rows.device());
  backend(rows.device()).rows_of_part(rows, begin, end, y);
  return y;
}

Tensor gather_rows(const Tensor& table, const Tensor& rows) {
  expect_table("gather_rows", table);
  expect("gather_rows", "rows", rows, DType::i32, {any}, table);
  Shape shape;
  for (int64_t extent : rows_shape(table, rows.size(0))) shape.append(extent);
  const Tensor y(shape, table.dtype(), table.device());
  backend(table.device()).gather_rows(table, rows, y);
  return y;
}

Tensor gather_rows(const Tensor& table, const std::vector<int32_t>& rows) {
  return gather_rows(table, Tensor::from(rows, {std::ssize(rows)}, table.device()));
}

void scatter_rows(const Tensor& table, const Tensor& rows, const Tensor& source) {
  expect_table("scatter_rows", table);
  expect("scatter_rows", "rows", rows, DType::i32, {any}, table);
  expect("scatter_rows", "source", source, table.dtype(), rows_shape(table, rows.size(0)), table);
  backend(table.device()).scatter_rows(rows, source, table);
}

void set_column(const Tensor& matrix, int64_t column, const Tensor& values) {
  expect("set_column", "matrix", matrix, DType::i32, {any, any}, matrix);
  expect("set_column", "values", values, DType::i32, {matrix.size(0)}, matrix);
  check(column >= 0 && column < matrix.size(1), "set_column: column {} of a matrix of shape {}", column,
        matrix.shape());
  backend(matrix.device()).set_column(values, column, matrix);
}

void ema_update_rows(const Tensor& table, const Tensor& rows, const Tensor& source, float keep) {
  constexpr auto op = "ema_update_rows";
  expect_matrix(op, "table", table, any, any, table);
  check_table_size(op, table.size(0));
  expect(op, "rows", rows, DType::i32, {any}, table);
  expect_matrix(op, "source", source, rows.size(0), table.size(1), table);
  check(keep >= 0.0f && keep <= 1.0f, "{}: keep is {}, expected 0 to 1", op, keep);
  backend(table.device()).ema_update_rows(rows, source, keep, table);
}

Tensor gather_dot(const Tensor& queries, const Tensor& table, const Tensor& indices) {
  expect_matrix("gather_dot", "table", table, any, any, table);
  check_table_size("gather_dot", table.size(0));
  expect_matrix("gather_dot", "queries", queries, any, table.size(1), table);
  expect("gather_dot", "indices", indices, DType::i32, {queries.size(0), any}, table);
  const Tensor y(indices.shape(), DType::f32, table.device());
  backend(table.device()).gather_dot(queries, table, indices, y);
  return y;
}

Tensor gather_sum(const Tensor& coefficients, const Tensor& indices, const Tensor& table) {
  expect_matrix("gather_sum", "table", table, any, any, table);
  check_table_size("gather_sum", table.size(0));
  expect_matrix("gather_sum", "coefficients", coefficients, any, any, table);
  expect("gather_sum", "indices", indices, DType::i32, {coefficients.size(0), coefficients.size(1)}, table);
  const Tensor y({coefficients.size(0), table.size(1)}, DType::f32, table.device());
  backend(table.device()).gather_sum(coefficients, indices, table, y);
  return y;
}

TopK top_k(const Tensor& scores, int64_t k) {
  expect_matrix("top_k", "scores", scores, any, any, scores);
  check_table_size("top_k", scores.size(1));
  check_k("top_k", k, scores.size(1));
  const Shape shape{scores.size(0), k};
  const TopK out{Tensor(shape, DType::f32, scores.device()), Tensor(shape, DType::i32, scores.device())};
  backend(scores.device()).top_k(scores, out);
  return out;
}

TopK nearest_rows(const Tensor& queries, const Tensor& table, int64_t k, const Tensor& include) {
  constexpr auto op = "nearest_rows";
  expect_matrix(op, "table", table, any, any, table);
  check_table_size(op, table.size(0));
  expect_matrix(op, "queries", queries, any, table.size(1), table);
  check(table.size(1) > 0, "{}: the rows of the table have no elements", op);
  check_k(op, k, table.size(0));
  if (include.defined()) expect(op, "include", include, DType::i32, {queries.size(0)}, table);
  const Shape shape{queries.size(0), k};
  const TopK out{Tensor(shape, DType::f32, table.device()), Tensor(shape, DType::i32, table.device())};
  backend(table.device()).nearest_rows(queries, table, include, out);
  return out;
}

Tensor same_cluster_mask(const Tensor& labels, const Tensor& own, const Tensor& indices,
                         SharedClusters shared) {
  expect("same_cluster_mask", "labels", labels, DType::i32, {any, any}, labels);
  expect("same_cluster_mask", "indices", indices, DType::i32, {any, any}, labels);
  expect("same_cluster_mask", "own", own, DType::i32, {indices.size(0), labels.size(1)}, labels);
  check(shared != SharedClusters::count || labels.size(1) <= 255,
        "same_cluster_mask: {} labelings are counted, expected at most 255", labels.size(1));
  const Tensor mask(indices.shape(), DType::u8, labels.device());
  backend(labels.device()).same_cluster_mask(labels, own, indices, shared, mask);
  return mask;
}

namespace {

void expect_mask(const char* op, const Tensor& scores, const Tensor& mask) {
  expect_matrix(op, "scores", scores, any, any, scores);
  if (mask.defined()) expect(op, "mask", mask, DType::u8, {scores.size(0), scores.size(1)}, scores);
}

Tensor row_numbers(const Tensor& scores) { return Tensor({scores.size(0)}, DType::f32, scores.device()); }

}  // namespace

LogSums log_sums(const Tensor& scores, const Tensor& mask, float factor) {
  expect_mask("log_sums", scores, mask);
  const LogSums out{row_numbers(scores), mask.defined() ? row_numbers(scores) : Tensor()};
  backend(scores.device()).log_sums(scores, mask, factor, out);
  return out;
}

Tensor log_sums_gradient(const Tensor& scores, const Tensor& mask, float factor, const LogSums& sums) {
  constexpr auto op = "log_sums_gradient";
  expect_mask(op, scores, mask);
  expect(op, "all", sums.all, DType::f32, {scores.size(0)}, scores);
  if (mask.defined()) expect(op, "marked", sums.marked, DType::f32, {scores.size(0)}, scores);
  const Tensor y = mask.defined() ? Tensor(scores.shape(), DType::f32, scores.device()) : scores;
  backend(scores.device()).log_sums_gradient(scores, mask, factor, sums, y);
  return y;
}

RowLosses softmax_cross_entropy(const Tensor& scores, const Tensor& target, float factor) {
  expect_matrix("softmax_cross_entropy", "scores", scores, any, any, scores);
  expect("softmax_cross_entropy", "target", target, DType::i32, {scores.size(0)}, scores);
  const RowLosses out = row_losses(scores, scores);
  backend(scores.device()).softmax_cross_entropy(scores, target, factor, out);
  return out;
}

RowLosses logistic_loss(const Tensor& scores, float factor, float offset) {
  expect_matrix("logistic_loss", "scores", scores, any, any, scores);
  const RowLosses out = row_losses(scores, Tensor(scores.shape(), DType::f32, scores.device()));
  backend(scores.device()).logistic_loss(scores, factor, offset, out);
  return out;
}

Assignment nearest_centroid(const Tensor& x, const Tensor& centroids) {
  expect_matrix("nearest_centroid", "x", x, any, any, x);
  expect_matrix("nearest_centroid", "centroids", centroids, any, x.size(1), x);
  check(centroids.size(0) >= 1, "nearest_centroid: there are no centroids");
  check_table_size("nearest_centroid", centroids.size(0));
  const Assignment out{Tensor({x.size(0)}, DType::i32, x.device()),
                       Tensor({x.size(0)}, DType::f32, x.device())};
  backend(x.device()).nearest_centroid(x, centroids, out);
  return out;
}

Tensor sum_by_label(const Tensor& x, const Tensor& labels, int64_t m) {
  check_labels("sum_by_label", x, labels, m);
  const Tensor y({m, x.size(1)}, DType::f32, x.device());
  backend(x.device()).sum_by_label(x, labels, y);
  return y;
}

Tensor count_labels(const Tensor& labels, int64_t m) {
  expect("count_labels", "labels", labels, DType::i32, {any}, labels);
  check(m >= 1, "count_labels: the number of labels is {}, expected at least 1", m);
  const Tensor counts({m}, DType::i32, labels.device());
  backend(labels.device()).count_labels(labels, counts);
  return counts;
}

}  // namespace la::ops
