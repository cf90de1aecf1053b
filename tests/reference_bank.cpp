// Reference loops of tables, selection, losses over rows of scores, and k-means.
#include <algorithm>
#include <numeric>

#include "tests/reference.h"

namespace la::reference {
namespace {

Bounded dot(const Array& a, int64_t row_a, const Array& b, int64_t row_b) {
  Sum sum;
  for (int64_t d = 0; d < a.columns(); ++d) sum.add(a.at(row_a, d) * b.at(row_b, d));
  return sum.total();
}

/// The columns of a row in the order of their values, the largest first; of equal ones the lower column.
std::vector<int64_t> largest_first(const Array& scores, int64_t row) {
  std::vector<int64_t> order(static_cast<size_t>(scores.columns()));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return scores.at(row, a).value > scores.at(row, b).value; });
  return order;
}

/// The logits factor * s of one row; if there is a mask, each as many times as that says.
std::vector<Bounded> logits(const Array& scores, int64_t row, float factor, const Array* mask = nullptr) {
  std::vector<Bounded> result;
  for (int64_t j = 0; j < scores.columns(); ++j)
    for (int64_t times = mask ? mask->index(row * mask->columns() + j) : 1; times > 0; --times)
      result.push_back(Bounded(factor) * scores.at(row, j));
  return result;
}

/// log sum exp, computed after the largest logit has been taken out.
struct LogSum {
  Bounded max, sum;  // sum of exp(logit - max)

  explicit LogSum(const std::vector<Bounded>& l) {
    max =
        *std::max_element(l.begin(), l.end(), [](const auto& a, const auto& b) { return a.value < b.value; });
    Sum terms;
    for (const Bounded& x : l) terms.add(exp(x - max));
    sum = terms.total();
  }
  Bounded log_sum() const { return max + log(sum); }
  Bounded probability(const Bounded& logit) const { return exp(logit - max) / sum; }
};

}  // namespace

Array gather_rows(const Array& table, const Array& rows) {
  const int64_t row_size = table.numel() / table.size(0);
  Array y(table.shape.rank() == 1 ? Shape{rows.numel()} : Shape{rows.numel(), row_size}, table.dtype);
  for (int64_t i = 0; i < y.numel(); ++i) y[i] = table[rows.index(i / row_size) * row_size + i % row_size];
  return y;
}

Array gather_dot(const Array& queries, const Array& table, const Array& indices) {
  Array y(indices.shape);
  for (int64_t i = 0; i < y.numel(); ++i) y[i] = dot(queries, i / y.columns(), table, indices.index(i));
  return y;
}

Array gather_sum(const Array& coefficients, const Array& indices, const Array& table) {
  Array y({coefficients.rows(), table.columns()});
  for (int64_t i = 0; i < y.rows(); ++i)
    for (int64_t d = 0; d < y.columns(); ++d) {
      Sum sum;
      for (int64_t j = 0; j < indices.columns(); ++j)
        sum.add(coefficients.at(i, j) * table.at(indices.index(i * indices.columns() + j), d));
      y.at(i, d) = sum.total();
    }
  return y;
}

Arrays top_k(const Array& scores, int64_t k) {
  Array values({scores.rows(), k}), indices({scores.rows(), k}, DType::i32);
  for (int64_t i = 0; i < scores.rows(); ++i) {
    const std::vector<int64_t> order = largest_first(scores, i);
    for (int64_t j = 0; j < k; ++j) {
      indices.at(i, j) = static_cast<double>(order[static_cast<size_t>(j)]);
      values.at(i, j) = scores.at(i, order[static_cast<size_t>(j)]);
    }
  }
  return {values, indices};
}

Arrays nearest_rows(const Array& queries, const Array& table, int64_t k, const Array& include) {
  const MatmulOptions options{.transpose_b = true};
  const Array scores = matmul(queries, table, options, {});
  Array values({scores.rows(), k}), indices({scores.rows(), k}, DType::i32);
  for (int64_t i = 0; i < scores.rows(); ++i) {
    std::vector<int64_t> chosen = largest_first(scores, i);
    chosen.resize(static_cast<size_t>(k));
    if (include.shape.rank() > 0 && std::find(chosen.begin(), chosen.end(), include.index(i)) == chosen.end())
      chosen.back() = include.index(i);
    std::sort(chosen.begin(), chosen.end());
    for (int64_t j = 0; j < k; ++j) {
      indices.at(i, j) = static_cast<double>(chosen[static_cast<size_t>(j)]);
      values.at(i, j) = scores.at(i, chosen[static_cast<size_t>(j)]);
    }
  }
  return {values, indices};
}

Array same_cluster_mask(const Array& labels, const Array& own, const Array& indices, SharedClusters shared) {
  Array mask(indices.shape, DType::u8);
  for (int64_t i = 0; i < mask.rows(); ++i)
    for (int64_t j = 0; j < mask.columns(); ++j) {
      int64_t count = 0;
      for (int64_t h = 0; h < labels.columns(); ++h)
        count += labels.at(indices.index(i * mask.columns() + j), h).value == own.at(i, h).value;
      const bool any = count > 0, all = count == labels.columns();
      mask.at(i, j) = static_cast<double>(shared == SharedClusters::any   ? any
                                          : shared == SharedClusters::all ? all
                                                                          : count);
    }
  return mask;
}

// The logarithms of both sums, their difference and its gradient: d / d s_j = factor (P_j - Q_j), P and Q the softmax over all and over the marked columns, each of these as
// many times as its mark says.
Arrays log_sums(const Array& scores, const Array& mask, float factor) {
  Array sum_all({scores.rows()}), sum_marked({scores.rows()}), loss({scores.rows()}), gradient(scores.shape);
  for (int64_t i = 0; i < scores.rows(); ++i) {
    const LogSum all(logits(scores, i, factor)), marked(logits(scores, i, factor, &mask));
    sum_all[i] = all.log_sum();
    sum_marked[i] = marked.log_sum();
    loss[i] = sum_all[i] - sum_marked[i];
    for (int64_t j = 0; j < scores.columns(); ++j) {
      const Bounded logit = Bounded(factor) * scores.at(i, j);
      const Bounded weight = mask.at(i, j);
      const Bounded q = weight.value != 0 ? weight * marked.probability(logit) : Bounded();
      gradient.at(i, j) = Bounded(factor) * (all.probability(logit) - q);
    }
  }
  return {sum_all, sum_marked, loss, gradient};
}

// d loss / d s_j = factor (P_j - [j = target]).
Arrays softmax_cross_entropy(const Array& scores, const Array& target, float factor) {
  Array loss({scores.rows()}), gradient(scores.shape);
  for (int64_t i = 0; i < scores.rows(); ++i) {
    const LogSum all(logits(scores, i, factor));
    loss[i] = all.log_sum() - Bounded(factor) * scores.at(i, target.index(i));
    for (int64_t j = 0; j < scores.columns(); ++j) {
      const Bounded p = all.probability(Bounded(factor) * scores.at(i, j));
      gradient.at(i, j) = Bounded(factor) * (p - Bounded(j == target.index(i) ? 1 : 0));
    }
  }
  return {loss, gradient};
}

Array softmax(const Array& x) {
  Array y(x.shape, x.dtype);
  for (int64_t i = 0; i < x.rows(); ++i) {
    const LogSum row(logits(x, i, 1));
    for (int64_t j = 0; j < x.columns(); ++j) y.at(i, j) = row.probability(x.at(i, j));
  }
  return y;
}

Array log_softmax(const Array& x) {
  Array y(x.shape, x.dtype);
  for (int64_t i = 0; i < x.rows(); ++i) {
    const LogSum row(logits(x, i, 1));
    for (int64_t j = 0; j < x.columns(); ++j) y.at(i, j) = (x.at(i, j) - row.max) - log(row.sum);
  }
  return y;
}

// -log sigmoid(l) = log(1 + exp(-l)) = max(0, -l) + log(1 + exp(-|l|)); -log(1 - sigmoid(l)) is that of -l.
Arrays logistic_loss(const Array& scores, float factor, float offset) {
  Array loss({scores.rows()}), gradient(scores.shape);
  for (int64_t i = 0; i < scores.rows(); ++i) {
    Sum sum;
    for (int64_t j = 0; j < scores.columns(); ++j) {
      const Bounded l = Bounded(factor) * scores.at(i, j) + Bounded(offset);
      const Bounded size(std::abs(l.value), l.error);
      sum.add(positive_part(j == 0 ? -l : l) + log(Bounded(1) + exp(-size)));
      gradient.at(i, j) = Bounded(factor) * (sigmoid(l) - Bounded(j == 0 ? 1 : 0));
    }
    loss[i] = sum.total();
  }
  return {loss, gradient};
}

// The bound is that of |x|^2 - 2 x . c + |c|^2, the form with the larger error.
Arrays nearest_centroid(const Array& x, const Array& centroids) {
  Array labels({x.rows()}, DType::i32), distances({x.rows()});
  for (int64_t i = 0; i < x.rows(); ++i)
    for (int64_t c = 0; c < centroids.rows(); ++c) {
      const Bounded distance =
          dot(x, i, x, i) - Bounded(2) * dot(x, i, centroids, c) + dot(centroids, c, centroids, c);
      if (c > 0 && distance.value >= distances[i].value) continue;
      labels[i] = static_cast<double>(c);
      distances[i] = distance;
    }
  return {labels, distances};
}

Array sum_by_label(const Array& x, const Array& labels, int64_t m) {
  Array y({m, x.columns()});
  for (int64_t i = 0; i < y.numel(); ++i) {
    Sum sum;
    for (int64_t r = 0; r < x.rows(); ++r)
      if (labels.index(r) == i / x.columns()) sum.add(x.at(r, i % x.columns()));
    y[i] = sum.total();
  }
  return y;
}

}  // namespace la::reference
