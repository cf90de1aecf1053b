// The map of a page, of vectors that la_embed wrote: how long it takes, and its trustworthiness.
//
//   bench_map VECTORS.npy [PERPLEXITY]
//
// bench/peer_map.py prints the same of openTSNE and umap-learn, each with its usual settings. A map depends on its start as on a throw of dice: three starts
// that differ by a thousandth show by how much.

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "evaluation/tsne.h"
#include "tensor/clock.h"
#include "tensor/error.h"
#include "tensor/io/npy.h"
#include "tensor/ops.h"

namespace la {
namespace {

void measure(const Tensor& x, const TsneOptions& options) {
  constexpr int64_t k = 12, sample = 6000;
  double begin = now();
  const int64_t neighbors = std::min<int64_t>(std::llround(3 * options.perplexity), x.size(0) - 1);
  const NeighborGraph graph = neighbor_graph(VectorSearch(x), neighbors);
  const Tensor start = first_plane(x);
  const double before = now() - begin;
  for (const float scale : {1.0f, 1.001f, 0.999f}) {
    begin = now();
    const std::vector<MapPoint> map = tsne(graph, ops::scale(start, scale), options);
    const double steps = now() - begin;
    fmt::print("perplexity {}: {:.1f} s, of which the graph {:.1f} s; trustworthiness {:.5f}\n",
               options.perplexity, before + steps, before,
               trustworthiness(x, map, k, std::min(sample, x.size(0))));
  }
}

}  // namespace
}  // namespace la

int main(int argc, char** argv) try {
  la::check(argc == 2 || argc == 3, "bench_map: expected a file of vectors, and perhaps a perplexity");
  la::TsneOptions options;
  if (argc == 3) options.perplexity = std::stod(argv[2]);
  la::measure(la::read_npy(argv[1]), options);
} catch (const std::exception& error) {
  fmt::print(stderr, "{}\n", error.what());
  return 1;
}
