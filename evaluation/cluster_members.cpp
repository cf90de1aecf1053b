#include "evaluation/cluster_members.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tensor/ops.h"

namespace la {
namespace {

/// Differences are taken first: |v|^2 - 2 v c + |c|^2 loses the digits of small distances.
std::vector<double> distances_of(const Tensor& vectors, const Tensor& centroids,
                                 const std::vector<int32_t>& labels) {
  const Tensor v = vectors.to(Device::cpu()), c = centroids.to(Device::cpu());
  const int64_t dim = v.size(1);
  std::vector<double> distances;
  for (size_t i = 0; i < labels.size(); ++i) {
    const float* row = v.data<float>() + static_cast<int64_t>(i) * dim;
    const float* centroid = c.data<float>() + labels[i] * dim;
    double squares = 0;
    for (int64_t d = 0; d < dim; ++d) squares += std::pow(double{row[d]} - centroid[d], 2);
    distances.push_back(std::sqrt(squares));
  }
  return distances;
}

}  // namespace

double ClusterMembers::mean_distance(int64_t cluster) const {
  const std::vector<int32_t>& own = members.at(static_cast<size_t>(cluster));
  double sum = 0;
  for (const int32_t member : own) sum += distances[static_cast<size_t>(member)];
  return sum / static_cast<double>(own.size());
}

ClusterMembers members_of(const Tensor& vectors, const Tensor& centroids) {
  ClusterMembers result;
  result.labels = ops::nearest_centroid(vectors, centroids).labels.to_vector<int32_t>();
  result.distances = distances_of(vectors, centroids, result.labels);
  result.ranks.resize(result.labels.size());
  result.members.resize(static_cast<size_t>(centroids.size(0)));
  for (size_t i = 0; i < result.labels.size(); ++i)
    result.members[static_cast<size_t>(result.labels[i])].push_back(static_cast<int32_t>(i));
  for (std::vector<int32_t>& members : result.members) {
    std::stable_sort(members.begin(), members.end(), [&](int32_t a, int32_t b) {
      return result.distances[static_cast<size_t>(a)] < result.distances[static_cast<size_t>(b)];
    });
    for (size_t rank = 0; rank < members.size(); ++rank)
      result.ranks[static_cast<size_t>(members[rank])] = static_cast<int64_t>(rank) + 1;
  }
  return result;
}

Tensor largest_first(const Tensor& centroids, const ClusterMembers& clusters) {
  std::vector<int32_t> order(clusters.members.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return clusters.members[static_cast<size_t>(a)].size() > clusters.members[static_cast<size_t>(b)].size();
  });
  return ops::gather_rows(centroids, order);
}

}  // namespace la
