// The numbers that fixtures of whole networks are made with: tests/make_fixtures.py draws the same.
#pragma once

#include <cmath>
#include <cstdint>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace la {

/// Pseudorandom, uniform in [-1, 1): multiplicative hashing of the element's place, as in make_fixtures.py.
inline std::vector<float> numbers_of(uint64_t number, int64_t count) {
  std::vector<float> numbers(static_cast<size_t>(count));
  for (uint64_t i = 0; i < numbers.size(); ++i) {
    uint64_t x = (i + (number << 32)) * 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 29)) * 0xBF58476D1CE4E5B9u;
    numbers[i] = static_cast<float>(x >> 40) / 0x1p23f - 1;
  }
  return numbers;
}

/// The parameter's values in torchvision's layout: weights as large as He's, scales around 1,
/// shifts around 0.
inline Tensor values_of(const std::string& name, uint64_t number, const Shape& shape) {
  std::vector<float> values = numbers_of(number, shape.numel());
  const bool is_weight = shape.rank() > 1;
  const auto fan_in = static_cast<float>(shape.numel() / shape[0]);
  for (float& value : values)
    value = is_weight ? value * std::sqrt(3 / fan_in) : name.ends_with("weight") ? 1 + value / 2 : value / 4;
  return Tensor::from(values, shape);
}

inline double norm_of(const Tensor& x) {
  double squares = 0;
  for (float value : x.to_vector<float>()) squares += static_cast<double>(value) * value;
  return std::sqrt(squares);
}

inline std::vector<std::string> words_of(const std::string& text) {
  std::istringstream stream(text);
  return {std::istream_iterator<std::string>(stream), {}};
}

}  // namespace la
