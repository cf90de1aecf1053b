// LearntPictures: what a trained network has made of the pictures of its training, as the report shows it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "apps/page/thumbnails.h"
#include "evaluation/cluster_members.h"
#include "evaluation/knn.h"
#include "evaluation/neighbor_graph.h"
#include "evaluation/tsne.h"
#include "la/model.h"

namespace la {

struct LearntPictures {
  std::vector<int64_t> numbers;    // of those that are shown, in the data set
  std::vector<std::string> names;  // of their files; empty where they have none
  std::vector<int32_t> labels;     // -1: unknown; empty if there are none at all
  int64_t all = 0;                 // pictures of the data set
  std::string vectors;             // which vectors are shown, in words
  NeighborGraph graph;
  std::vector<MapPoint> map;
  double trustworthiness = 0;
  int64_t trusted = 0;     // pictures of which it is measured
  std::string clustering;  // in words; empty where nothing was clustered
  ClusterMembers clusters;
  Guesses guesses;       // of kNN; empty without labels
  std::string protocol;  // of the guesses
  Thumbnails thumbnails;
};

/// How near on the map is near enough for trustworthiness.
constexpr int64_t trusted_neighbors = 12;

struct LearntOptions {
  int64_t most_pictures = 100'000;  // of more, so many are shown, evenly spread
  int64_t most_thumbnail_bytes = 7'000'000;
};

/// The vectors are those of the memory bank, where the checkpoint has one of these pictures, else embeddings. An Error if there are
/// fewer than 3 pictures.
LearntPictures look_at_pictures(Model& model, const DataSource& data, const LearntOptions& options,
                                const ProgressCallback& progress);

}  // namespace la
