// Every op on every available device: the op cases and their gradients.
#include <doctest/doctest.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <fstream>
#include <limits>
#include <set>

#include "tensor/ops.h"
#include "tests/op_case.h"
#include "tests/plain_loops.h"

using namespace la;

namespace {

void check_cases(void (*add)(OpCases&)) {
  OpCases cases;
  add(cases);
  for (const OpCase& c : cases) {
    if (c.only_timed) continue;
    const bool in_f32 =
        std::none_of(c.inputs.begin(), c.inputs.end(), [](const Input& x) { return x.dtype == DType::bf16; });
    for (Device device : available_devices()) {
      CAPTURE(c.name());
      CHECK(check_on(c, device) == "");
      if (c.gradient.function && in_f32) CHECK(check_gradient_on(c, device) == "");
    }
  }
}

}  // namespace

TEST_SUITE_BEGIN("devices");

TEST_CASE("ops: filling, copying, random numbers, pointwise") { check_cases(add_pointwise_cases); }
TEST_CASE("ops: rows, channels, matrix products") { check_cases(add_row_cases); }
TEST_CASE("ops: one dimension, softmax, layer normalization") { check_cases(add_dimension_cases); }
TEST_CASE("ops: convolution") { check_cases(add_convolution_cases); }
TEST_CASE("ops: pooling") { check_cases(add_pooling_cases); }
TEST_CASE("ops: batch normalization") { check_cases(add_batch_norm_cases); }
TEST_CASE("ops: batch normalization of parts") { check_cases(add_moment_cases); }
TEST_CASE("ops: tables, selection, k-means") { check_cases(add_table_cases); }
TEST_CASE("ops: losses over rows") { check_cases(add_loss_cases); }
TEST_CASE("ops: optimizers") { check_cases(add_optimizer_cases); }
TEST_CASE("ops: pictures") { check_cases(add_image_cases); }
TEST_CASE("ops: detection") { check_cases(add_detection_cases); }
TEST_CASE("ops: parts of tables") { check_cases(add_part_cases); }

TEST_SUITE_END();

TEST_CASE("nearest_centroid: a NaN shows in the distance of its row alone") {
  std::vector<float> x(6, 1.0f);
  x[3] = NAN;
  const Assignment found = ops::nearest_centroid(Tensor::from(x, {3, 2}), Tensor::zeros({4, 2}));
  const auto distances = found.distances.to_vector<float>();
  CHECK(distances[0] == 2);
  CHECK(std::isnan(distances[1]));
  CHECK(distances[2] == 2);
  CHECK(found.labels.to_vector<int32_t>()[1] < 4);
}

TEST_CASE("sums and norms of rows are the same for any number of threads") {
  for (DType dtype : {DType::f32, DType::bf16})
    for (const Shape& shape : {Shape{1, 50000}, Shape{50000, 1}, Shape{300, 200}, Shape{7, 40, 600}}) {
      const Tensor x = ops::cast(ops::random_normal(shape, {.seed = 1}), dtype),
                   dy = ops::cast(ops::random_normal(shape, {.seed = 2}), dtype),
                   weight = ops::random_normal({shape[-1]}, {.seed = 3});
      check_any_threads([&] {
        const LayerNormResult normalized = ops::layer_norm(x, weight, weight);
        const LayerNormGradients gradients = ops::layer_norm_backward(dy, x, normalized, weight);
        std::vector<std::vector<float>> results;
        for (const Tensor& y : {ops::sum(x), ops::sum(x, 0), ops::sum(x, 1), ops::mean(x, -1),
                                ops::softmax(x), ops::log_softmax_backward(dy, x), normalized.y, gradients.dx,
                                gradients.dweight, gradients.dbias})
          results.push_back(ops::cast(y, DType::f32).to_vector<float>());
        return results;
      });
    }
}

TEST_CASE("max takes the first of equal elements, and a NaN before all") {
  const Tensor x = Tensor::from(std::vector<float>{1, 3, 3, 2, NAN, 3, NAN, 9}, {2, 4});
  const Maximum largest = ops::max(x, 1);
  CHECK(largest.indices.to_vector<int32_t>() == std::vector<int32_t>{1, 0});
  CHECK(largest.values.to_vector<float>()[0] == 3);
  CHECK(std::isnan(largest.values.to_vector<float>()[1]));
}

namespace {

/// The name of the function that a line of a header declares; empty if it declares none.
std::string declared_function(const std::string& line) {
  const size_t bracket = line.find('('), space = line.rfind(' ', bracket);
  const bool declares = !line.empty() && std::isalpha(line[0]) && bracket != std::string::npos;
  return declares ? line.substr(space + 1, bracket - space - 1) : "";
}

}  // namespace

TEST_CASE("every op of tensor/ops.h has a case") {
  std::ifstream header("tensor/ops.h");
  REQUIRE_MESSAGE(header.is_open(), "tensor/ops.h: the tests run in the root of the project");
  std::set<std::string> declared, covered;
  for (std::string line; std::getline(header, line);)
    if (const std::string name = declared_function(line); !name.empty()) declared.insert(name);
  for (const OpCase& c : all_op_cases())
    if (!c.only_timed) covered.insert(c.op);
  CHECK(declared.size() > 40);
  CHECK(declared == covered);
}
