// What Local Aggregation adds to a step, and k-means, over a bank that several processes share. Started by mpirun or alone:
//   bench_shards PICTURES
// prints the medians, of the slowest process. One thread each.
#include <algorithm>
#include <string>
#include <vector>

#include "la/kmeans.h"
#include "la/losses.h"
#include "tensor/clock.h"
#include "tensor/format.h"
#include "tensor/ops.h"

using namespace la;

namespace {

constexpr int64_t batch = 128, dim = 128, background = 4096, labelings = 3, clusters = 3000;
constexpr float temperature = 0.07f;

/// Unit vectors in clouds: rows `rows` of what a trained bank looks like.
Tensor clouds(const RowRange& rows, uint64_t seed) {
  const Tensor centers = ops::random_normal({clusters, dim}, {1, RandomStream::test, 0});
  const Tensor cloud = ops::random_below({rows.size()}, clusters,
                                         {seed, RandomStream::test, static_cast<uint64_t>(rows.begin)});
  const Tensor spread({rows.size(), dim});
  ops::random_normal_into(spread, {seed, RandomStream::test, 2}, rows.begin * dim);
  return ops::l2_normalize(ops::add(ops::gather_rows(centers, cloud), spread)).y;
}

/// The slowest process's seconds of `work`, the median of so many times.
template <class Work>
double median_seconds(Collectives& ranks, int times, Work work) {
  std::vector<double> seconds;
  for (int i = 0; i <= times; ++i) {
    ranks.barrier("begin");
    const double begin = now();
    work();
    const Tensor took = Tensor::full({1}, static_cast<float>(now() - begin));
    ranks.all_reduce("seconds", took, Reduction::max);
    if (i > 0) seconds.push_back(took.item());
  }
  std::nth_element(seconds.begin(), seconds.begin() + times / 2, seconds.end());
  return seconds[static_cast<size_t>(times / 2)];
}

}  // namespace

int main(int argc, char** argv) {
  const auto ranks = join_processes();
  const int64_t n = argc > 1 ? std::stoll(argv[1]) : 60'000;
  set_num_threads(1);
  const Shards shards(*ranks, ranks->size());
  const RowRange rows = shards.own_rows(n), own = shards.own_rows(batch);
  MemoryBank bank(n, dim, 0.5f, 1, {}, shards);
  bank.assign_all(clouds(rows, 1));
  const Tensor labels = ops::random_below({rows.size(), labelings}, clusters, {3, RandomStream::test, 0});
  std::vector<int32_t> numbers;
  for (int64_t i = 0; i < batch; ++i) numbers.push_back(static_cast<int32_t>(i * 4999 % n));
  const Tensor pictures = Tensor::from(numbers, {batch});
  const Tensor v = clouds({0, batch}, 2).rows(own.begin, own.end);

  const double step = median_seconds(*ranks, 15, [&] {
    const Variable x(v, true);
    const Tensor all = shards.gather("embeddings", v, batch);
    const Background near = background_neighbors(bank, all, pictures, background);
    const CloseMasks close = close_by_clusters(bank, labels, pictures, near);
    backward(local_aggregation_loss(x, bank, near, close, temperature));
    bank.update(pictures, all);
  });
  const double kmeans_seconds =
      median_seconds(*ranks, 3, [&] { kmeans(bank.rows(), {.clusters = clusters, .iterations = 3}); });
  if (ranks->rank() == 0)
    print("{} processes, {} pictures: LA's part of a step {:.1f} ms, k-means of 3 iterations {:.2f} s\n",
          ranks->size(), n, 1e3 * step, kmeans_seconds);
}
