// Cases of tables, selection, losses over rows and k-means. Where a result depends on which of two
// scores is larger, the inputs are coarse: their scores are exact in f32, so that every implementation
// sees the same ties.
#include "tensor/format.h"
#include "tensor/ops.h"
#include "tests/op_case.h"

namespace la {
namespace {

// ---- Tables -----------------------------------------------------------------------------------------------

OpCase gather_rows_case(const Shape& table, DType dtype, int64_t count) {
  return {.op = "gather_rows",
          .inputs = {below(table, 1000, dtype), below({count}, table[0])},
          .run = [](const Tensors& in) -> Tensors { return {ops::gather_rows(in[0], in[1])}; },
          .reference = [](const Arrays& in) -> Arrays { return {reference::gather_rows(in[0], in[1])}; }};
}

/// table with `change` applied to each named row: change(row of the table, row of the source).
template <class Change>
Array with_rows_changed(const Array& table, const Array& rows, Change change) {
  Array y = table;
  for (int64_t i = 0; i < rows.numel(); ++i) change(y, rows.index(i), i);
  return y;
}

OpCase scatter_rows_case(const Shape& table, DType dtype, int64_t count) {
  const int64_t row_size = table.rank() == 1 ? 1 : table[1];
  const Shape source = table.rank() == 1 ? Shape{count} : Shape{count, row_size};
  return {.op = "scatter_rows",
          .inputs = {below(table, 1000, dtype), distinct(count, table[0]), below(source, 1000, dtype)},
          .run = [](const Tensors& in) -> Tensors {
            ops::scatter_rows(in[0], in[1], in[2]);
            return {in[0]};
          },
          .reference = [=](const Arrays& in) -> Arrays {
            return {with_rows_changed(in[0], in[1], [&](Array& y, int64_t row, int64_t i) {
              for (int64_t d = 0; d < row_size; ++d) y[row * row_size + d] = in[2][i * row_size + d];
            })};
          }};
}

OpCase set_column_case(int64_t rows, int64_t columns, int64_t column) {
  return {.op = "set_column",
          .options = formatted("column={}", column),
          .inputs = {below({rows, columns}, 1000), below({rows}, 1000)},
          .run = [=](const Tensors& in) -> Tensors {
            ops::set_column(in[0], column, in[1]);
            return {in[0]};
          },
          .reference = [=](const Arrays& in) -> Arrays {
            Array y = in[0];
            for (int64_t i = 0; i < rows; ++i) y[i * columns + column] = in[1][i];
            return {y};
          }};
}

OpCase ema_update_rows_case(int64_t n, int64_t depth, int64_t count, float keep) {
  return {.op = "ema_update_rows",
          .options = formatted("keep={}", keep),
          .inputs = {normal({n, depth}), distinct(count, n), normal({count, depth})},
          .run = [=](const Tensors& in) -> Tensors {
            ops::ema_update_rows(in[0], in[1], in[2], keep);
            return {in[0]};
          },
          .reference = [=](const Arrays& in) -> Arrays {
            return {with_rows_changed(in[0], in[1], [&](Array& y, int64_t row, int64_t i) {
              Array blend({1, depth});
              for (int64_t d = 0; d < depth; ++d)
                blend[d] = Bounded(keep) * y.at(row, d) + (Bounded(1) - Bounded(keep)) * in[2].at(i, d);
              blend = reference::l2_normalize(blend)[0];
              for (int64_t d = 0; d < depth; ++d) y.at(row, d) = blend[d];
            })};
          }};
}

struct TableSizes {
  int64_t queries, table, depth, k;
};

OpCase gather_dot_case(const TableSizes& s) {
  return {
      .op = "gather_dot",
      .inputs = {normal({s.queries, s.depth}), normal({s.table, s.depth}), below({s.queries, s.k}, s.table)},
      .run = [](const Tensors& in) -> Tensors { return {ops::gather_dot(in[0], in[1], in[2])}; },
      .reference = [](const Arrays& in) -> Arrays { return {reference::gather_dot(in[0], in[1], in[2])}; },
      .operations = 2.0 * static_cast<double>(s.queries * s.k * s.depth)};
}

/// The gradient of gather_dot with respect to the queries.
OpCase gather_sum_case(const TableSizes& s) {
  return {
      .op = "gather_sum",
      .inputs = {normal({s.queries, s.k}), below({s.queries, s.k}, s.table), normal({s.table, s.depth}),
                 normal({s.queries, s.depth})},
      .run = [](const Tensors& in) -> Tensors { return {ops::gather_sum(in[0], in[1], in[2])}; },
      .reference = [](const Arrays& in) -> Arrays { return {reference::gather_sum(in[0], in[1], in[2])}; },
      .gradient = {[](const Arrays& in) { return reference::gather_dot(in[3], in[2], in[1]); }, {3}},
      .operations = 2.0 * static_cast<double>(s.queries * s.k * s.depth)};
}

// ---- Selection --------------------------------------------------------------------------------------------

OpCase top_k_case(const Input& scores, int64_t k) {
  return {.op = "top_k",
          .options = formatted("k={}", k),
          .inputs = {scores},
          .run = [=](const Tensors& in) -> Tensors {
            const TopK out = ops::top_k(in[0], k);
            return {out.values, out.indices};
          },
          .reference = [=](const Arrays& in) { return reference::top_k(in[0], k); }};
}

OpCase nearest_rows_case(const TableSizes& s, bool include) {
  OpCase c{.op = "nearest_rows",
           .options = formatted("k={}", s.k),
           .inputs = {coarse({s.queries, s.depth}), coarse({s.table, s.depth})},
           .run = [=](const Tensors& in) -> Tensors {
             const TopK out = ops::nearest_rows(in[0], in[1], s.k, in.size() > 2 ? in[2] : Tensor());
             return {out.values, out.indices};
           },
           .reference =
               [=](const Arrays& in) {
                 return reference::nearest_rows(in[0], in[1], s.k, in.size() > 2 ? in[2] : Array());
               },
           .operations = 2.0 * static_cast<double>(s.queries * s.table * s.depth)};
  if (include) c.inputs.push_back(below({s.queries}, s.table));
  return c;
}

OpCase same_cluster_mask_case(int64_t labelings, const TableSizes& s, int64_t clusters,
                              SharedClusters shared = SharedClusters::any) {
  return {.op = "same_cluster_mask",
          .options = shared == SharedClusters::any   ? ""
                     : shared == SharedClusters::all ? "all"
                                                     : "count",
          .inputs = {below({s.table, labelings}, clusters), below({s.queries, labelings}, clusters),
                     below({s.queries, s.k}, s.table)},
          .run = [=](const Tensors& in) -> Tensors {
            return {ops::same_cluster_mask(in[0], in[1], in[2], shared)};
          },
          .reference = [=](const Arrays& in) -> Arrays {
            return {reference::same_cluster_mask(in[0], in[1], in[2], shared)};
          }};
}

// ---- Losses -----------------------------------------------------------------------------------------------

/// `loss` is the reference of the op; its first result is the function whose gradient is the second.
OpCase loss_case(const char* op, std::vector<Input> inputs, float factor,
                 const std::function<RowLosses(const Tensors&)>& run,
                 const std::function<Arrays(const Arrays&)>& loss) {
  return {.op = op,
          .options = formatted("factor={}", factor),
          .inputs = std::move(inputs),
          .run = [run](const Tensors& in) -> Tensors {
            const RowLosses out = run(in);
            return {out.loss, out.gradient};
          },
          .reference = loss,
          .gradient = {[loss](const Arrays& in) { return loss(in)[0]; }, {-1, 0}, -1}};
}

/// Both sums, and the gradient of their difference, which is the third of the reference's results.
OpCase log_sums_case(const Input& scores, const Input& marks, float factor) {
  return {.op = "log_sums",
          .options = formatted("factor={}", factor),
          .inputs = {scores, marks},
          .run = [=](const Tensors& in) -> Tensors {
            const LogSums sums = ops::log_sums(in[0], in[1], factor);
            return {sums.all, sums.marked, ops::subtract(sums.all, sums.marked),
                    ops::log_sums_gradient(in[0], in[1], factor, sums)};
          },
          .reference = [=](const Arrays& in) { return reference::log_sums(in[0], in[1], factor); },
          .gradient = {[=](const Arrays& in) { return reference::log_sums(in[0], in[1], factor)[2]; },
                       {-1, -1, -1, 0},
                       -1}};
}

/// The same as gradient alone, and of the first sum without marks, which overwrites the scores.
OpCase log_sums_gradient_case(const Input& scores, float factor) {
  return {.op = "log_sums_gradient",
          .options = formatted("factor={}", factor),
          .inputs = {scores, constant(scores.shape, 0, DType::u8)},
          .run = [=](const Tensors& in) -> Tensors {
            const Tensor y = ops::copy(in[0]);
            return {ops::log_sums_gradient(y, {}, factor, ops::log_sums(y, {}, factor))};
          },
          .reference = [=](const Arrays& in) -> Arrays {
            Array first_marked = in[1];
            for (int64_t i = 0; i < first_marked.rows(); ++i) first_marked.at(i, 0) = 1;
            Array y = reference::log_sums(in[0], first_marked, factor)[3];
            for (int64_t i = 0; i < y.rows(); ++i) y.at(i, 0) = y.at(i, 0) + Bounded(factor);
            return {y};
          }};
}

void add_losses(const Input& scores, float factor, OpCases& cases) {
  const int64_t rows = scores.shape[0], n = scores.shape[1];
  // The first column is marked, so that every row has a marked one.
  const Input mask{scores.shape, DType::u8, [n](int64_t i, RandomGenerator& random) {
                     return i % n == 0 || random.below(10) == 0 ? 1 : 0;
                   }};
  const Input weights{scores.shape, DType::u8, [n](int64_t i, RandomGenerator& random) {
                        return i % n == 0 ? 2 : random.below(10) == 0 ? 1 + random.below(5) : 0;
                      }};
  for (const Input& marks : {mask, weights}) cases.push_back(log_sums_case(scores, marks, factor));
  cases.push_back(log_sums_gradient_case(scores, factor));
  cases.push_back(loss_case(
      "softmax_cross_entropy", {scores, below({rows}, n)}, factor,
      [=](const Tensors& in) { return ops::softmax_cross_entropy(in[0], in[1], factor); },
      [=](const Arrays& in) { return reference::softmax_cross_entropy(in[0], in[1], factor); }));
  constexpr float offset = -2.5f;
  cases.push_back(loss_case(
      "logistic_loss", {scores}, factor,
      [=](const Tensors& in) { return ops::logistic_loss(in[0], factor, offset); },
      [=](const Arrays& in) { return reference::logistic_loss(in[0], factor, offset); }));
}

// ---- k-means ----------------------------------------------------------------------------------------------

OpCase nearest_centroid_case(const Input& x, const Input& centroids) {
  return {.op = "nearest_centroid",
          .inputs = {x, centroids},
          .run = [](const Tensors& in) -> Tensors {
            const Assignment out = ops::nearest_centroid(in[0], in[1]);
            return {out.labels, out.distances};
          },
          .reference = [](const Arrays& in) { return reference::nearest_centroid(in[0], in[1]); },
          .operations = 2.0 * static_cast<double>(x.shape[0] * centroids.shape[0] * x.shape[1])};
}

/// As the gradient of gather_rows with respect to the table.
OpCase sum_by_label_case(int64_t n, int64_t depth, int64_t m, int64_t used) {
  return {.op = "sum_by_label",
          .options = formatted("m={}", m),
          .inputs = {normal({n, depth}), below({n}, used), normal({m, depth})},
          .run = [=](const Tensors& in) -> Tensors { return {ops::sum_by_label(in[0], in[1], m)}; },
          .reference = [=](const Arrays& in) -> Arrays { return {reference::sum_by_label(in[0], in[1], m)}; },
          .gradient = {[](const Arrays& in) { return reference::gather_rows(in[2], in[1]); }, {2}}};
}

/// Adds a case that is too large for the reference.
void add_timed(OpCase c, OpCases& cases) {
  c.only_timed = true;
  cases.push_back(std::move(c));
}

}  // namespace

void add_table_cases(OpCases& cases) {
  for (DType dtype : {DType::f32, DType::i32})
    for (const Shape& table : {Shape{1}, Shape{100}, Shape{1, 1}, Shape{50, 17}, Shape{3000, 128}}) {
      cases.push_back(gather_rows_case(table, dtype, table[0] / 2 + 77));
      cases.push_back(scatter_rows_case(table, dtype, (table[0] + 2) / 3));
    }
  cases.push_back(set_column_case(1, 1, 0));
  cases.push_back(set_column_case(300, 17, 0));
  cases.push_back(set_column_case(33, 5, 4));
  for (float keep : {0.0f, 0.5f, 1.0f})
    for (int64_t depth : {1, 17, 128}) cases.push_back(ema_update_rows_case(90, depth, 31, keep));

  for (const TableSizes& s : {TableSizes{1, 1, 1, 1}, {3, 50, 5, 8}, {5, 300, 17, 100}, {2, 400, 128, 65}}) {
    cases.push_back(gather_dot_case(s));
    cases.push_back(gather_sum_case(s));
    cases.push_back(same_cluster_mask_case(1, s, 7));
    cases.push_back(same_cluster_mask_case(10, s, 30));
    for (const SharedClusters shared : {SharedClusters::all, SharedClusters::count})
      cases.push_back(same_cluster_mask_case(3, s, 2, shared));
    for (bool include : {false, true}) {
      cases.push_back(nearest_rows_case({s.queries, s.table, s.depth, std::min(s.k, s.table)}, include));
      cases.push_back(nearest_rows_case({s.queries, s.table, s.depth, s.table}, include));
    }
  }
  for (const auto& [rows, n, k] :
       {std::array<int64_t, 3>{1, 1, 1}, {3, 50, 50}, {2, 999, 1}, {4, 700, 333}}) {
    cases.push_back(top_k_case(normal({rows, n}), k));
    cases.push_back(top_k_case(coarse({rows, n}), k));
    cases.push_back(top_k_case(constant({rows, n}, -1), k));
  }

  // Rows and centroids of more than one block, and depths of one slice and of three.
  for (const auto& [n, depth, m] :
       {std::array<int64_t, 3>{1, 1, 1}, {60, 3, 60}, {390, 24, 1}, {30, 17, 49}, {12, 140, 70}})
    cases.push_back(nearest_centroid_case(coarse({n, depth}), coarse({m, depth})));
  for (const auto& [n, depth, m] : {std::array<int64_t, 3>{50, 128, 200}, {20, 300, 100}})
    cases.push_back(nearest_centroid_case(normal({n, depth}), normal({m, depth})));
  for (const auto& [n, depth, m, used] : {std::array<int64_t, 4>{1, 1, 1, 1},
                                          {500, 19, 40, 37},
                                          {7, 128, 20, 20},
                                          {30, 200, 2, 1},
                                          {2100, 3, 300, 290},
                                          {34000, 1, 3, 2}}) {
    cases.push_back(sum_by_label_case(n, depth, m, used));
  }

  // One batch against the bank of 60,000 pictures.
  const TableSizes bank{128, 60000, 128, 4096};
  for (const OpCase& c : {gather_dot_case(bank), gather_sum_case(bank), nearest_rows_case(bank, true),
                          same_cluster_mask_case(10, bank, 3000),
                          nearest_centroid_case(coarse({60000, 128}), coarse({1000, 128})),
                          sum_by_label_case(60000, 128, 1000, 1000)})
    add_timed(c, cases);
}

void add_loss_cases(OpCases& cases) {
  for (int64_t n : {1, 5, 16, 1000})
    for (float factor : {1.0f, 1 / 0.07f}) {
      add_losses(uniform({3, n}, -1, 1), factor, cases);
      add_losses(uniform({2, n}, -20, 20), factor, cases);  // some exponentials underflow
    }
  add_losses(coarse({4, 33}), 100, cases);
}

}  // namespace la
