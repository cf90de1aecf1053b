// A gallery of neighbors: some pictures, and what is nearest to each by the memory bank.
#pragma once

#include <vector>

#include "apps/pixel_canvas.h"
#include "data/dataset.h"
#include "evaluation/vector_search.h"
#include "tensor/shards.h"

namespace la {

struct NeighborGallery {
  std::vector<int32_t> pictures;  // evenly spread
  Neighbors nearest;              // as many of each, itself among them or a twin of its own
};

/// vectors: of the pictures, on the unit sphere. All processes make the call, and have the result.
NeighborGallery neighbor_gallery(const ShardedRows& vectors);

/// A sheet for the i-th picture: the picture, then the nearest others, the nearest one first. Those that cannot be read are
/// left out.
PixelCanvas draw_neighbors(const NeighborGallery& gallery, size_t i, const Dataset& pictures);

}  // namespace la
