// Cases of parts of tables, and of selection over several parts. Scores are coarse: there are many ties.
#include <algorithm>
#include <limits>
#include <numeric>

#include "tensor/format.h"
#include "tensor/ops.h"
#include "tests/op_case.h"

namespace la {
namespace {

OpCase rows_of_part_case(int64_t n, int64_t begin, int64_t end) {
  return {.op = "rows_of_part",
          .options = formatted("{} to {}", begin, end),
          .inputs = {below({n}, 100)},
          .run = [=](const Tensors& in) -> Tensors { return {ops::rows_of_part(in[0], begin, end)}; },
          .reference = [=](const Arrays& in) -> Arrays {
            Array y({n}, DType::i32);
            for (int64_t i = 0; i < n; ++i) {
              const int64_t row = in[0].index(i);
              y[i] = static_cast<double>(row >= begin && row < end ? row - begin : absent_row);
            }
            return {y};
          }};
}

OpCase count_labels_case(int64_t n, int64_t m, int64_t used) {
  return {.op = "count_labels",
          .options = formatted("m={}", m),
          .inputs = {below({n}, used)},
          .run = [=](const Tensors& in) -> Tensors { return {ops::count_labels(in[0], m)}; },
          .reference = [=](const Arrays& in) -> Arrays {
            Array y({m}, DType::i32);
            for (int64_t i = 0; i < n; ++i) y[in[0].index(i)] = y[in[0].index(i)].value + 1;
            return {y};
          }};
}

/// Elements `first` on of a longer sequence.
OpCase random_normal_into_case(const Shape& shape, int64_t first) {
  const RandomKey key{.seed = 5, .stream = RandomStream::test, .index = 7};
  return {.op = "random_normal_into",
          .options = formatted("first={}", first),
          .inputs = {constant(shape, 0)},
          .run = [=](const Tensors& in) -> Tensors {
            ops::random_normal_into(in[0], key, first);
            return {in[0]};
          },
          .reference = [=](const Arrays&) -> Arrays {
            Array y(shape);
            for (int64_t i = 0; i < y.numel(); ++i) y[i] = reference::random_normal(key, first + i);
            return {y};
          }};
}

/// The k largest of rows in two parts, with one of the first part that is always among them; and, of the first part, what is kept.
/// The ops of the radix select have a meaning together alone.
Tensors select_from_two(const Tensors& in, int64_t k) {
  const TopK parts[] = {{in[0], in[1]}, {in[2], in[3]}};
  const int64_t rows = in[0].size(0);
  const Device device = in[0].device();
  const Tensor none = Tensor::full({rows}, static_cast<float>(absent_row), DType::i32, device);
  const Tensor always[] = {in[4], none}, chosen({rows, 2}, DType::i32, device);
  for (int place = 0; place < 4; ++place) {
    const Tensor counts = Tensor::zeros({rows, 256}, DType::i32, device);
    for (int p = 0; p < 2; ++p) ops::count_digits(counts, parts[p], always[p], place, chosen);
    ops::choose_digit(counts, place, k, chosen);
  }
  const Tensor ties = Tensor::zeros({2, rows}, DType::i32, device);
  for (int p = 0; p < 2; ++p)
    ops::count_digits(ties.rows(p, p + 1).reshape({rows, 1}), parts[p], always[p], 4, chosen);
  const Tensor first = ops::mark_largest(parts[0], always[0], chosen, ties, 0);
  const Tensor second = ops::mark_largest(parts[1], always[1], chosen, ties, 1);
  return {first, second, ops::keep_marked(in[0], first)};
}

Arrays select_by_sorting(const Arrays& in, int64_t k) {
  const int64_t rows = in[0].rows(), n = in[0].columns(), m = in[2].columns();
  Array first(in[0].shape, DType::u8), second(in[2].shape, DType::u8), kept(in[0].shape);
  for (int64_t i = 0; i < rows; ++i) {
    const auto score = [&](int64_t j) {
      if (j == in[4].index(i)) return std::numeric_limits<double>::infinity();
      return j < n ? in[0].at(i, j).value : in[2].at(i, j - n).value;
    };
    std::vector<int64_t> order(static_cast<size_t>(n + m));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return score(a) > score(b); });
    for (int64_t j = 0; j < n; ++j) kept.at(i, j) = -std::numeric_limits<double>::infinity();
    for (int64_t place = 0; place < k; ++place) {
      const int64_t j = order[static_cast<size_t>(place)];
      if (j < n) {
        first.at(i, j) = 1;
        kept.at(i, j) = in[0].at(i, j);
      } else {
        second.at(i, j - n) = 1;
      }
    }
  }
  return {first, second, kept};
}

OpCase selection_case(const char* op, int64_t rows, int64_t n, int64_t m, int64_t k) {
  const auto columns = [](const Shape& shape) {
    return Input{shape, DType::i32, [width = shape[1]](int64_t i, RandomGenerator&) {
                   return static_cast<double>(i % std::max<int64_t>(width, 1));
                 }};
  };
  return {.op = op,
          .options = formatted("k={}", k),
          .inputs = {coarse({rows, n}), columns({rows, n}), coarse({rows, m}), columns({rows, m}),
                     below({rows}, n)},
          .run = [k](const Tensors& in) { return select_from_two(in, k); },
          .reference = [k](const Arrays& in) { return select_by_sorting(in, k); }};
}

}  // namespace

void add_part_cases(OpCases& cases) {
  cases.push_back(rows_of_part_case(1, 0, 0));
  cases.push_back(rows_of_part_case(700, 20, 60));
  for (const int64_t first : {0, 1, 2, 513}) {
    cases.push_back(random_normal_into_case({1}, first));
    cases.push_back(random_normal_into_case({7, 33}, first));
  }
  cases.push_back(count_labels_case(1, 1, 1));
  cases.push_back(count_labels_case(5000, 300, 290));
  for (const char* op : {"count_digits", "choose_digit", "mark_largest", "keep_marked"})
    for (const auto& [n, m, k] :
         {std::array<int64_t, 3>{1, 1, 1}, {5, 3, 4}, {100, 300, 77}, {33, 1, 34}, {600, 40, 1}})
      cases.push_back(selection_case(op, 3, n, m, k));
}

}  // namespace la
