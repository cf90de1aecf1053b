// Parts of tables on the CPU: whose rows are whose, and selection of the k largest of rows whose scores lie in several parts.
#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "tensor/cpu/cpu_backend.h"
#include "tensor/parallel.h"

namespace la {
namespace {

constexpr int64_t elements_per_part = 1 << 14;  // a thread is worth waking for more

/// Floats and the unsigned integers of the same order; zeros of both signs are equal.
uint32_t order_of(float score) {
  const uint32_t bits = std::bit_cast<uint32_t>(score + 0.0f);  // turns -0 into 0
  return bits ^ (bits >> 31 != 0 ? 0xffffffffu : 0x80000000u);
}

/// Calls row(i, key) for each row of a part, where key(j) is the number of score j, the largest for the row that is always
/// taken.
template <class Row>
void for_each_row(const TopK& part, const Tensor& always, Row&& row) {
  const int64_t n = part.values.size(1);
  parallel_for(part.values.size(0), elements_per_part / std::max<int64_t>(n, 1) + 1,
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) {
                   const float* value = part.values.data<float>() + i * n;
                   const int32_t* index = part.indices.data<int32_t>() + i * n;
                   const int32_t taken = always.defined() ? always.data<int32_t>()[i] : absent_row;
                   row(i, [=](int64_t j) {
                     return taken != absent_row && index[j] == taken ? std::numeric_limits<uint32_t>::max()
                                                                     : order_of(value[j]);
                   });
                 }
               });
}

/// The two numbers of a row of `chosen`.
uint32_t& digits_of(const Tensor& chosen, int64_t row) {
  return reinterpret_cast<uint32_t*>(chosen.data<int32_t>())[2 * row];
}
int32_t& left_of(const Tensor& chosen, int64_t row) { return chosen.data<int32_t>()[2 * row + 1]; }

}  // namespace

void CpuBackend::rows_of_part(const Tensor& rows, int64_t begin, int64_t end, const Tensor& y) {
  const int32_t* row = rows.data<int32_t>();
  int32_t* of_part = y.data<int32_t>();
  const auto first = static_cast<int32_t>(begin), last = static_cast<int32_t>(end);
  for (int64_t i = 0; i < rows.numel(); ++i)
    of_part[i] = row[i] >= first && row[i] < last ? row[i] - first : absent_row;
}

void CpuBackend::count_digits(const TopK& part, const Tensor& always, int place, const Tensor& chosen,
                              const Tensor& counts) {
  const int64_t n = part.values.size(1), width = counts.size(1);
  for_each_row(part, always, [&](int64_t i, auto key) {
    int32_t* count = counts.data<int32_t>() + i * width;
    if (width == 1) {
      for (int64_t j = 0; j < n; ++j) count[0] += key(j) == digits_of(chosen, i) ? 1 : 0;
      return;
    }
    const int shift = 24 - 8 * place;
    // Of 64 bits, for those of all digits before the first are a shift by 32.
    const uint64_t before = place == 0 ? 0 : digits_of(chosen, i);
    for (int64_t j = 0; j < n; ++j) {
      const uint64_t number = key(j);
      if (number >> (shift + 8) == before) ++count[number >> shift & 255];
    }
  });
}

void CpuBackend::choose_digit(const Tensor& counts, int place, int64_t k, const Tensor& chosen) {
  for (int64_t i = 0; i < counts.size(0); ++i) {
    const int32_t* count = counts.data<int32_t>() + i * digit_values;
    uint32_t& digits = digits_of(chosen, i);
    int32_t& left = left_of(chosen, i);
    if (place == 0) {
      digits = 0;
      left = static_cast<int32_t>(k);
    }
    uint32_t digit = 255;
    for (; digit > 0 && count[digit] < left; --digit) left -= count[digit];
    digits = digits << 8 | digit;
  }
}

void CpuBackend::mark_largest(const TopK& part, const Tensor& always, const Tensor& chosen,
                              const Tensor& ties, int64_t p, const Tensor& mask) {
  const int64_t n = part.values.size(1), rows = part.values.size(0);
  for_each_row(part, always, [&](int64_t i, auto key) {
    const uint32_t smallest = digits_of(chosen, i);
    int64_t left = left_of(chosen, i);
    for (int64_t before = 0; before < p; ++before) left -= ties.data<int32_t>()[before * rows + i];
    uint8_t* mark = mask.data<uint8_t>() + i * n;
    for (int64_t j = 0; j < n; ++j) {
      const uint32_t number = key(j);
      const bool tie = number == smallest;
      mark[j] = static_cast<uint8_t>((number > smallest) | (tie & (left > 0)));
      left -= tie;
    }
  });
}

void CpuBackend::keep_marked(const Tensor& scores, const Tensor& mask, const Tensor& y) {
  const float* from = scores.data<float>();
  const uint8_t* mark = mask.data<uint8_t>();
  float* to = y.data<float>();
  parallel_for(scores.numel(), elements_per_part, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      to[i] = mark[i] != 0 ? from[i] : -std::numeric_limits<float>::infinity();
  });
}

}  // namespace la
