#include "evaluation/tsne.h"

#include <algorithm>
#include <cmath>
#include <eigen3/Eigen/Eigenvalues>
#include <numeric>

#include "evaluation/sample.h"
#include "tensor/error.h"
#include "tensor/ops.h"
#include "tensor/parallel.h"

namespace la {
namespace {

/// p_ij, but for the constant 1 / 2N: of each point the others that attract it, and how much. One that is among its neighbors while it
/// is among theirs stands there twice.
struct Affinities {
  std::vector<int64_t> first;  // [N + 1]
  std::vector<int32_t> other;
  std::vector<float> weight;
};

/// p_{j|i} = exp(-beta d_ij^2) / sum, of which d^2 = 2 - 2 s for unit vectors; says their entropy, in nats.
double softmax(std::span<const float> similarities, double beta, std::vector<double>& p) {
  double sum = 0, weighted = 0;
  for (size_t j = 0; j < p.size(); ++j) {
    const double d2 = 2.0 * (double{similarities[0]} - similarities[j]);  // beyond that of the nearest
    p[j] = std::exp(-beta * d2);
    sum += p[j];
    weighted += p[j] * d2;
  }
  for (double& x : p) x /= sum;
  return std::log(sum) + beta * weighted / sum;
}

/// The p_{j|i} whose entropy is log(perplexity): the larger beta, the lower it is.
void conditional(std::span<const float> similarities, double perplexity, std::vector<double>& p) {
  double low = 0, high = 1;
  while (high < 1e12 && softmax(similarities, high, p) > std::log(perplexity)) high *= 2;
  for (int halving = 0; halving < 50; ++halving) {
    const double beta = (low + high) / 2;
    (softmax(similarities, beta, p) > std::log(perplexity) ? low : high) = beta;
  }
  softmax(similarities, high, p);
}

Affinities affinities(const NeighborGraph& graph, double perplexity) {
  std::vector<float> own(graph.numbers.size());
  parallel_for(graph.size, 64, [&](int64_t begin, int64_t end) {
    std::vector<double> p(static_cast<size_t>(graph.k));
    for (int64_t i = begin; i < end; ++i) {
      conditional(graph.of(i).similarities, perplexity, p);
      std::copy(p.begin(), p.end(), own.begin() + i * graph.k);
    }
  });
  Affinities result;
  result.first.assign(static_cast<size_t>(graph.size + 1), graph.k);
  result.first[0] = 0;
  for (const int32_t j : graph.numbers) ++result.first[j + 1];
  std::partial_sum(result.first.begin(), result.first.end(), result.first.begin());
  result.other.resize(2 * own.size());
  result.weight.resize(2 * own.size());
  std::vector<int64_t> next(result.first.begin(), result.first.end() - 1);
  const auto attract = [&](int64_t i, int64_t j, float p) {
    result.other[next[i]] = static_cast<int32_t>(j);
    result.weight[next[i]++] = p;
  };
  for (int64_t i = 0; i < graph.size; ++i)
    for (int64_t place = i * graph.k; place < (i + 1) * graph.k; ++place) {
      attract(i, graph.numbers[place], own[place]);
      attract(graph.numbers[place], i, own[place]);
    }
  return result;
}

/// sum_j p_ij w_ij (y_i - y_j), but for the constant.
MapPoint attraction(const Affinities& p, const std::vector<MapPoint>& y, int64_t i) {
  MapPoint sum;
  for (int64_t e = p.first[i]; e < p.first[i + 1]; ++e) {
    const MapPoint& other = y[p.other[e]];
    const float dx = y[i].x - other.x, dy = y[i].y - other.y;
    const float pw = p.weight[e] / (1 + dx * dx + dy * dy);
    sum.x += pw * dx;
    sum.y += pw * dy;
  }
  return sum;
}

/// Gradient descent with momentum, and a gain for each coordinate, which grows while it keeps its direction (Jacobs 1988).
struct Coordinate {
  float velocity = 0, gain = 1;

  float step(float gradient, float learning_rate) {
    constexpr float momentum = 0.8f, least_gain = 0.01f;
    const bool turns = (gradient > 0) == (velocity > 0);
    gain = std::max(turns ? gain * 0.8f : gain + 0.2f, least_gain);
    velocity = momentum * velocity - learning_rate * gain * gradient;
    return velocity;
  }
};

class Descent {
 public:
  Descent(const NeighborGraph& graph, const Tensor& start, double perplexity)
      : p_(affinities(graph, perplexity)), y_(static_cast<size_t>(graph.size)), coordinates_(2 * y_.size()) {
    for (size_t i = 0; i < y_.size(); ++i)
      y_[i] = {start.data<float>()[2 * i], start.data<float>()[2 * i + 1]};
  }

  void step(double exaggeration) {
    const auto n = static_cast<double>(y_.size());
    repulsion_.compute(y_);
    const auto learning_rate = static_cast<float>(n / exaggeration);  // Belkina et al. 2019
    const auto attracts = static_cast<float>(exaggeration / (2 * n)),
               repels = static_cast<float>(1 / std::max(repulsion_.total(), 1e-12));
    moved_.resize(y_.size());
    parallel_for(std::ssize(y_), 1024, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const MapPoint a = attraction(p_, y_, i);
        const Repulsion::Sums& r = repulsion_.sums()[i];
        const float dx = 4 * (attracts * a.x - repels * (r.weight * y_[i].x - r.center.x)),
                    dy = 4 * (attracts * a.y - repels * (r.weight * y_[i].y - r.center.y));
        moved_[i] = limited(
            {coordinates_[2 * i].step(dx, learning_rate), coordinates_[2 * i + 1].step(dy, learning_rate)});
      }
    });
    move();
  }

  const std::vector<MapPoint>& points() const { return y_; }

 private:
  /// No step is longer than 5, so that no point leaves the map.
  static MapPoint limited(MapPoint step) {
    constexpr float longest = 5;
    const float length = std::hypot(step.x, step.y);
    return length > longest ? MapPoint{step.x * longest / length, step.y * longest / length} : step;
  }
  /// The mean stays at 0.
  void move() {
    double x = 0, y = 0;
    for (size_t i = 0; i < y_.size(); ++i) {
      y_[i] = {y_[i].x + moved_[i].x, y_[i].y + moved_[i].y};
      x += y_[i].x;
      y += y_[i].y;
    }
    const auto mean_x = static_cast<float>(x / static_cast<double>(y_.size())),
               mean_y = static_cast<float>(y / static_cast<double>(y_.size()));
    for (MapPoint& p : y_) p = {p.x - mean_x, p.y - mean_y};
  }

  Affinities p_;
  std::vector<MapPoint> y_, moved_;
  std::vector<Coordinate> coordinates_;
  Repulsion repulsion_;
};

}  // namespace

std::vector<MapPoint> tsne(const NeighborGraph& graph, const Tensor& start, const TsneOptions& options,
                           const ProgressCallback& progress) {
  const Shape expected{graph.size, 2};
  check(start.shape() == expected, "t-SNE: begins at points of shape {}, expected {}", start.shape(),
        expected);
  const double perplexity = std::clamp(static_cast<double>(graph.k) / 3, 1.0, options.perplexity);
  Descent descent(graph, start, perplexity);
  const int steps = options.exaggerated_steps + options.steps;
  for (int step = 0; step < steps; ++step) {
    descent.step(step < options.exaggerated_steps ? options.exaggeration : 1);
    if (progress) progress("steps of the map", step + 1, steps);
  }
  return descent.points();
}

Tensor first_plane(const Tensor& x) {
  const int64_t n = x.size(0), dim = x.size(1);
  const Tensor host = x.to(Device::cpu()), products = ops::matmul(host, host, {.transpose_a = true});
  using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const Eigen::Map<const Matrix> rows(host.data<float>(), n, dim), sums(products.data<float>(), dim, dim);
  const Eigen::VectorXd mean = rows.colwise().mean().transpose().cast<double>();
  const Eigen::MatrixXd covariance = sums.cast<double>() / static_cast<double>(n) - mean * mean.transpose();
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(covariance);
  check(solver.info() == Eigen::Success, "the principal components of {} vectors were not found", n);
  const Tensor plane({n, 2});
  for (int64_t c = 0; c < std::min<int64_t>(2, dim); ++c) {  // eigenvalues come in ascending order
    const double deviation = std::sqrt(std::max(solver.eigenvalues()(dim - 1), 1e-30));
    const Eigen::VectorXd direction = solver.eigenvectors().col(dim - 1 - c) * (1e-4 / deviation);
    for (int64_t i = 0; i < n; ++i)
      plane.data<float>()[2 * i + c] =
          static_cast<float>((rows.row(i).transpose().cast<double>() - mean).dot(direction));
  }
  return plane;
}

double trustworthiness(const Tensor& x, const std::vector<MapPoint>& map, int64_t k, int64_t n) {
  const int64_t all = x.size(0), dim = x.size(1);
  const std::vector<int32_t> sample = evenly_spread(all, n);
  std::vector<double> intruders(sample.size());
  parallel_for(n, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> similarity(static_cast<size_t>(all)), distance(static_cast<size_t>(all));
    std::vector<int64_t> order(static_cast<size_t>(all));
    for (int64_t s = begin; s < end; ++s) {
      const int64_t i = sample[static_cast<size_t>(s)];
      const Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>> rows(
          x.data<float>(), all, dim);
      Eigen::Map<Eigen::VectorXf>(similarity.data(), all) = rows * rows.row(i).transpose();
      for (int64_t j = 0; j < all; ++j) {
        const float dx = map[j].x - map[i].x, dy = map[j].y - map[i].y;
        distance[j] = dx * dx + dy * dy;
      }
      similarity[i] = 3, distance[i] = -1;  // before all others
      std::iota(order.begin(), order.end(), 0);
      std::nth_element(order.begin(), order.begin() + k, order.end(),
                       [&](int64_t a, int64_t b) { return distance[a] < distance[b]; });
      for (int64_t j = 0; j <= k; ++j) {
        const float own = similarity[order[j]];
        const auto rank =
            std::count_if(similarity.begin(), similarity.end(), [&](float other) { return other > own; });
        intruders[s] += static_cast<double>(std::max<int64_t>(rank - k, 0));
      }
    }
  });
  const double sum = std::accumulate(intruders.begin(), intruders.end(), 0.0);
  return 1 - 2 * sum / (static_cast<double>(n * k) * static_cast<double>(2 * all - 3 * k - 1));
}

}  // namespace la
