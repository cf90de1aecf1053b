#include "evaluation/grid_convolution.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "evaluation/fourier.h"
#include "tensor/parallel.h"

namespace la {
namespace {

/// Lines of so many numbers in all are worth a thread.
constexpr int64_t numbers_of_thread = 1 << 15;

int64_t strips_of_thread(int64_t size) { return divide_up(numbers_of_thread, size * FourierLines::lines); }

using Grid = std::vector<std::complex<float>>;

/// Calls change(lines) for all rows of a grid [rows, size], some at a time.
template <class Change>
void for_rows(Grid& grid, int64_t rows, int64_t size, Change change) {
  parallel_for(divide_up(rows, FourierLines::lines), strips_of_thread(size), [&](int64_t begin, int64_t end) {
    FourierLines lines(size);
    for (int64_t strip = begin; strip < end; ++strip) {
      const int64_t first = strip * FourierLines::lines, some = std::min(FourierLines::lines, rows - first);
      for (int64_t r = 0; r < some; ++r)
        for (int64_t i = 0; i < size; ++i) lines.set(r, i, grid[(first + r) * size + i]);
      change(lines);
      for (int64_t r = 0; r < some; ++r)
        for (int64_t i = 0; i < size; ++i) grid[(first + r) * size + i] = lines.at(r, i);
    }
  });
}

/// Calls change(lines, first) for all columns, from number `first` on; below the grid's rows there are zeros.
template <class Change>
void for_columns(Grid& grid, int64_t rows, int64_t size, Change change) {
  parallel_for(size / FourierLines::lines, strips_of_thread(size), [&](int64_t begin, int64_t end) {
    FourierLines lines(size);
    for (int64_t strip = begin; strip < end; ++strip) {
      const int64_t first = strip * FourierLines::lines;
      for (int64_t row = 0; row < size; ++row)
        for (int64_t c = 0; c < FourierLines::lines; ++c)
          lines.set(c, row, row < rows ? grid[row * size + first + c] : 0);
      change(lines, first);
      for (int64_t row = 0; row < rows; ++row)
        for (int64_t c = 0; c < FourierLines::lines; ++c) grid[row * size + first + c] = lines.at(c, row);
    }
  });
}

/// The transform of a cubic B-spline's values at whole numbers.
double spline_spectrum(int64_t frequency, int64_t size) {
  return (4 +
          2 * std::cos(2 * std::numbers::pi * static_cast<double>(frequency) / static_cast<double>(size))) /
         6;
}

}  // namespace

int64_t GridConvolution::size_for(int64_t nodes) {
  return FourierLines::next_length(std::max(2 * nodes - 1, 2 * FourierLines::lines));
}

GridConvolution::GridConvolution(int64_t nodes, const std::function<double(double)>& kernel)
    : size_(size_for(nodes)), spectrum_(static_cast<size_t>(size_ * size_)) {
  Grid grid(spectrum_.size());
  for (int64_t row = 0; row < size_; ++row)
    for (int64_t column = 0; column < size_; ++column) {
      const auto dy = static_cast<double>(std::min(row, size_ - row)),
                 dx = static_cast<double>(std::min(column, size_ - column));
      grid[row * size_ + column] = static_cast<float>(kernel(dx * dx + dy * dy));
    }
  for_rows(grid, size_, size_, [](FourierLines& lines) { lines.forward(); });
  for_columns(grid, size_, size_, [](FourierLines& lines, int64_t) { lines.forward(); });
  const double area = static_cast<double>(size_ * size_);
  for (int64_t row = 0; row < size_; ++row)
    for (int64_t column = 0; column < size_; ++column) {
      const double splines = spline_spectrum(row, size_) * spline_spectrum(column, size_);
      spectrum_[row * size_ + column] =
          static_cast<float>(grid[row * size_ + column].real() / (splines * splines * area));
    }
  std::copy(spectrum_.begin(), spectrum_.end(), grid.begin());
  for_rows(grid, size_, size_, [](FourierLines& lines) { lines.backward(); });
  for_columns(grid, size_, size_, [](FourierLines& lines, int64_t) { lines.backward(); });
  for (int64_t row = 0; row < std::ssize(near_); ++row)
    for (int64_t column = 0; column < std::ssize(near_); ++column)
      near_[row][column] = grid[row * size_ + column].real();
}

void GridConvolution::apply(std::vector<std::complex<float>>& grid, int64_t nodes) const {
  for_rows(grid, nodes, size_, [](FourierLines& lines) { lines.forward(); });
  for_columns(grid, nodes, size_, [&](FourierLines& lines, int64_t first) {
    lines.forward();
    for (int64_t row = 0; row < size_; ++row) lines.scale(row, spectrum_.data() + row * size_ + first);
    lines.backward();
  });
  for_rows(grid, nodes, size_, [](FourierLines& lines) { lines.backward(); });
}

}  // namespace la
