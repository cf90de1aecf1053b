// The map of embeddings: its graph, Fourier transforms, repulsion and quality beside plain loops; and that it keeps together what is.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <numbers>

#include "evaluation/fourier.h"
#include "evaluation/neighbor_graph.h"
#include "evaluation/repulsion.h"
#include "evaluation/tsne.h"
#include "tensor/ops.h"
#include "tests/with_threads.h"

using namespace la;

namespace {

Tensor random_unit_vectors(int64_t n, int64_t dim, uint64_t seed) {
  return ops::l2_normalize(ops::random_normal({n, dim}, {.seed = seed})).y;
}

/// `blobs` groups, one after the other, each around a center of its own.
Tensor unit_vectors_in_blobs(int64_t blobs, int64_t of_each, int64_t dim) {
  const Tensor centers = random_unit_vectors(blobs, dim, 5),
               noise = ops::random_normal({blobs * of_each, dim}, {.seed = 6});
  std::vector<int32_t> blob_of;
  for (int64_t i = 0; i < blobs * of_each; ++i) blob_of.push_back(static_cast<int32_t>(i / of_each));
  const Tensor around = ops::gather_rows(centers, Tensor::from(blob_of, {blobs * of_each}));
  return ops::l2_normalize(ops::add(around, ops::scale(noise, 0.05f))).y;
}

double dot(const Tensor& x, int64_t i, int64_t j) {
  double sum = 0;
  for (int64_t d = 0; d < x.size(1); ++d)
    sum += double{x.data<float>()[i * x.size(1) + d]} * x.data<float>()[j * x.size(1) + d];
  return sum;
}

/// The others of vector i, the nearest first.
std::vector<int64_t> others_by_similarity(const Tensor& x, int64_t i) {
  std::vector<int64_t> others;
  for (int64_t j = 0; j < x.size(0); ++j)
    if (j != i) others.push_back(j);
  std::stable_sort(others.begin(), others.end(),
                   [&](int64_t a, int64_t b) { return dot(x, i, a) > dot(x, i, b); });
  return others;
}

double squared_distance(const MapPoint& a, const MapPoint& b) {
  const double dx = double{a.x} - b.x, dy = double{a.y} - b.y;
  return dx * dx + dy * dy;
}

std::vector<MapPoint> random_points(int64_t n, float side, uint64_t seed) {
  const std::vector<float> numbers = ops::random_uniform({2 * n}, 0, 1, {.seed = seed}).to_vector<float>();
  std::vector<MapPoint> points;
  for (size_t i = 0; i < numbers.size(); i += 2) points.push_back({side * numbers[i], side * numbers[i + 1]});
  return points;
}

/// The same by the equations, in double precision.
struct PlainRepulsion {
  std::vector<double> weight, x, y;
  double total = 0;

  explicit PlainRepulsion(const std::vector<MapPoint>& points)
      : weight(points.size()), x(points.size()), y(points.size()) {
    for (size_t i = 0; i < points.size(); ++i)
      for (size_t j = 0; j < points.size(); ++j) {
        const double w = 1 / (1 + squared_distance(points[i], points[j]));
        weight[i] += w * w;
        x[i] += w * w * points[j].x;
        y[i] += w * w * points[j].y;
        if (i != j) total += w;
      }
  }
};

/// Of each point's weight and center the largest error, in parts of its weight and of its weight times the map's side.
double largest_error(const std::vector<MapPoint>& points, double side) {
  Repulsion repulsion;
  repulsion.compute(points);
  const PlainRepulsion plain(points);
  double error = std::abs(repulsion.total() - plain.total) / plain.total;
  for (size_t i = 0; i < points.size(); ++i) {
    const Repulsion::Sums& sums = repulsion.sums()[i];
    error = std::max({error, std::abs(sums.weight - plain.weight[i]) / plain.weight[i],
                      std::abs(sums.center.x - plain.x[i]) / (plain.weight[i] * side),
                      std::abs(sums.center.y - plain.y[i]) / (plain.weight[i] * side)});
  }
  return error;
}

}  // namespace

TEST_CASE("the neighbor graph has the others that are nearest, in their order, beside a plain loop") {
  const Tensor x = random_unit_vectors(300, 16, 1);
  const NeighborGraph graph = neighbor_graph(VectorSearch(x), 7);
  for (int64_t i = 0; i < 300; ++i) {
    const std::vector<int64_t> others = others_by_similarity(x, i);
    for (size_t j = 0; j < 7; ++j) {
      CHECK(graph.of(i).numbers[j] == others[j]);
      CHECK(graph.of(i).similarities[j] == doctest::Approx(dot(x, i, others[j])).epsilon(1e-5));
    }
  }
}

TEST_CASE("no vector is its own neighbor, though many are the same") {
  const Tensor x = ops::l2_normalize(ops::add_bias(ops::scale(random_unit_vectors(20, 4, 1), 0.0f),
                                                   Tensor::from(std::vector<float>{1, 0, 0, 0}, {4})))
                       .y;
  const NeighborGraph graph = neighbor_graph(VectorSearch(x), 3);
  for (int64_t i = 0; i < 20; ++i) {
    const auto numbers = graph.of(i).numbers;
    CHECK(std::find(numbers.begin(), numbers.end(), i) == numbers.end());
  }
  CHECK_THROWS_WITH_AS(neighbor_graph(VectorSearch(x), 20),
                       "the nearest 20 others of 20 vectors; expected at least 1, and fewer than vectors",
                       Error);
}

TEST_CASE("Fourier transforms of lines equal the sums that define them, and come back") {
  for (const int64_t length : {1, 2, 3, 4, 6, 8, 12, 24, 32, 48, 96, 128}) {
    FourierLines fourier(length);
    const auto numbers =
        ops::random_normal({FourierLines::lines * length * 2}, {.seed = 2}).to_vector<float>();
    const auto number = [&](int64_t line, int64_t i) {
      const auto at = static_cast<size_t>(2 * (line * length + i));
      return std::complex<float>(numbers[at], numbers[at + 1]);
    };
    for (int64_t line = 0; line < FourierLines::lines; ++line)
      for (int64_t i = 0; i < length; ++i) fourier.set(line, i, number(line, i));
    fourier.forward();
    // Each of log2 n passes rounds a few times; numbers are some sqrt(n) large.
    const double tolerance =
        1e-6 * std::sqrt(static_cast<double>(length)) * (1 + std::log2(static_cast<double>(length)));
    for (int64_t line = 0; line < FourierLines::lines; ++line)
      for (int64_t k = 0; k < length; ++k) {
        std::complex<double> sum;
        for (int64_t i = 0; i < length; ++i)
          sum += std::complex<double>(number(line, i)) *
                 std::polar(1.0, -2 * std::numbers::pi * static_cast<double>(i * k % length) /
                                     static_cast<double>(length));
        CHECK(std::abs(std::complex<double>(fourier.at(line, k)) - sum) < 3 * tolerance);
      }
    fourier.backward();
    for (int64_t line = 0; line < FourierLines::lines; ++line)
      for (int64_t i = 0; i < length; ++i)
        CHECK(std::abs(fourier.at(line, i) / static_cast<float>(length) - number(line, i)) < 3 * tolerance);
  }
  CHECK(FourierLines::next_length(17) == 24);
  CHECK(FourierLines::next_length(25) == 32);
  CHECK_THROWS_WITH_AS(FourierLines(10), doctest::Contains("of length 10"), Error);
}

TEST_CASE("repulsion at the nodes of its grid is that of a plain loop, for there splines interpolate") {
  // Nodes of a square of 30 by 30 cells, from its corners on.
  std::vector<MapPoint> points{{0, 0}, {30, 30}, {0, 30}};
  for (const MapPoint& p : random_points(400, 30, 3)) points.push_back({std::floor(p.x), std::floor(p.y)});
  for (MapPoint& p : points) p = {Repulsion::finest_spacing * p.x, Repulsion::finest_spacing * p.y};
  // Coordinates at the nodes round by some 30 half units in the last place, of which splines see the derivative; as many for the
  // Fourier transforms of numbers up to 18^2 * 403 of which the total is made.
  CHECK(largest_error(points, 18) < 3e-5);
}

TEST_CASE("repulsion anywhere is near that of a plain loop") {
  // A cubic spline differs from w^2, whose fourth derivative is at most 72, by 72 h^4 / 384 = 0.024 in its middle; that happens at both
  // ends and along both sides.
  for (const float side : {0.01f, 3.0f, 12.0f})
    CHECK(largest_error(random_points(500, side, 4), side) < 4 * 0.0243);
}

TEST_CASE("repulsion and map are the same for any number of threads") {
  const Tensor x = unit_vectors_in_blobs(3, 60, 8);
  const NeighborGraph graph = neighbor_graph(VectorSearch(x), 15);
  const auto map = [&] {
    return tsne(graph, first_plane(x), {.perplexity = 5, .exaggerated_steps = 60, .steps = 60});
  };
  const auto map_with = [&](int threads) {
    const WithThreads scope(threads);
    return map();
  };
  const std::vector<MapPoint> one = map_with(1), three = map_with(3);
  for (size_t i = 0; i < one.size(); ++i) {
    CHECK(one[i].x == three[i].x);
    CHECK(one[i].y == three[i].y);
  }
}

TEST_CASE(
    "the map begins with the first two principal components, with a deviation of 1e-4 along the first") {
  // Along (0.6, 0.8, 0) far more than along the third axis; the mean is not 0.
  const auto noise = ops::random_normal({200, 2}, {.seed = 8}).to_vector<float>();
  const Tensor x({200, 3});
  for (int64_t i = 0; i < 200; ++i) {
    const float far = 3 * noise[2 * i], near = noise[2 * i + 1];
    x.data<float>()[3 * i] = 1 + 0.6f * far;
    x.data<float>()[3 * i + 1] = 0.8f * far;
    x.data<float>()[3 * i + 2] = 2 + near;
  }
  const Tensor plane = first_plane(x);
  double sum[2] = {}, squares = 0, along = 0, far_squares = 0;
  for (int64_t i = 0; i < 200; ++i) {
    for (int c = 0; c < 2; ++c) sum[c] += plane.data<float>()[2 * i + c];
    squares += std::pow(plane.data<float>()[2 * i], 2);
  }
  double mean_far = 0;
  for (int64_t i = 0; i < 200; ++i) mean_far += noise[2 * i] / 200;
  for (int64_t i = 0; i < 200; ++i) {
    along += plane.data<float>()[2 * i] * (noise[2 * i] - mean_far);
    far_squares += std::pow(noise[2 * i] - mean_far, 2);
  }
  CHECK(std::abs(sum[0]) < 1e-6);
  CHECK(std::abs(sum[1]) < 1e-6);
  CHECK(std::sqrt(squares / 200) == doctest::Approx(1e-4).epsilon(1e-3));
  // The sample's own first direction is turned from the planted one by some sqrt(1 / 200) / 9 at most.
  CHECK(std::abs(along) / std::sqrt(squares * far_squares) > 0.999);
}

TEST_CASE("groups of vectors are groups on the map") {
  constexpr int64_t blobs = 5, of_each = 80;
  const Tensor x = unit_vectors_in_blobs(blobs, of_each, 16);
  const std::vector<MapPoint> map =
      tsne(neighbor_graph(VectorSearch(x), 45), first_plane(x), {.perplexity = 15});
  for (int64_t i = 0; i < blobs * of_each; ++i) {
    double own = 0, other = 1e30;  // the farthest of its group, the nearest of the others
    for (int64_t j = 0; j < blobs * of_each; ++j) {
      const double d = squared_distance(map[i], map[j]);
      if (i / of_each == j / of_each)
        own = std::max(own, d);
      else
        other = std::min(other, d);
    }
    CHECK(own < other);
  }
}

TEST_CASE("a few vectors, or the same, make a map too") {
  for (const int64_t n : {2, 3, 5}) {
    const Tensor x = random_unit_vectors(n, 4, 9);
    const auto map = tsne(neighbor_graph(VectorSearch(x), n - 1), first_plane(x), {});
    for (const MapPoint& p : map) CHECK((std::isfinite(p.x) && std::isfinite(p.y)));
  }
  const Tensor same =
      ops::gather_rows(random_unit_vectors(1, 4, 9), Tensor::from(std::vector<int32_t>(50), {50}));
  for (const MapPoint& p : tsne(neighbor_graph(VectorSearch(same), 15), first_plane(same), {}))
    CHECK((std::isfinite(p.x) && std::isfinite(p.y)));
}

TEST_CASE("trustworthiness is what its equation says") {
  constexpr int64_t n = 60, k = 5;
  const Tensor x = random_unit_vectors(n, 6, 10);
  const std::vector<MapPoint> map = random_points(n, 1, 11);
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    const std::vector<int64_t> by_vector = others_by_similarity(x, i);
    std::vector<int64_t> by_map = by_vector;
    std::sort(by_map.begin(), by_map.end(), [&](int64_t a, int64_t b) {
      return squared_distance(map[i], map[a]) < squared_distance(map[i], map[b]);
    });
    for (int64_t j = 0; j < k; ++j) {
      const auto rank = std::find(by_vector.begin(), by_vector.end(), by_map[j]) - by_vector.begin() + 1;
      sum += std::max<double>(static_cast<double>(rank - k), 0);
    }
  }
  const double expected = 1 - 2 * sum / (n * k * (2.0 * n - 3 * k - 1));
  CHECK(trustworthiness(x, map, k, n) == doctest::Approx(expected).epsilon(1e-12));
}
