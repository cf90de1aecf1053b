#include "apps/neighbor_gallery.h"

#include <algorithm>
#include <filesystem>
#include <numeric>

#include "apps/contact_sheet.h"
#include "evaluation/sample.h"
#include "tensor/format.h"
#include "tensor/text.h"

namespace la {
namespace {

constexpr int64_t galleries = 8, others = 9;

void add(ContactSheet& sheet, const Dataset& pictures, int64_t number, const std::string& title,
         bool framed) {
  try {
    sheet.add({pictures.picture(number), title,
               printable(std::filesystem::path(pictures.name(number)).filename().string()), framed});
  } catch (const BadPicture&) {  // is told of where it is trained on
  }
}

}  // namespace

NeighborGallery neighbor_gallery(const ShardedRows& vectors) {
  const std::vector<int32_t> pictures = evenly_spread(vectors.n, galleries);
  const VectorSearch search(vectors.own, vectors.shards.ranks());
  return {pictures, search.nearest(vectors.gather("vectors of the gallery", pictures),
                                   std::min(others + 1, vectors.n))};
}

PixelCanvas draw_neighbors(const NeighborGallery& gallery, size_t i, const Dataset& pictures) {
  const size_t found = gallery.nearest.numbers.size() / gallery.pictures.size();
  std::vector<size_t> places(found);
  std::iota(places.begin(), places.end(), i * found);
  const std::vector<float>& similarities = gallery.nearest.similarities;
  std::stable_sort(places.begin(), places.end(),
                   [&](size_t a, size_t b) { return similarities[a] > similarities[b]; });
  ContactSheet sheet;
  add(sheet, pictures, gallery.pictures[i], "query", true);
  for (const size_t place : places)
    if (gallery.nearest.numbers[place] != gallery.pictures[i] && sheet.size() <= others)
      add(sheet, pictures, gallery.nearest.numbers[place], formatted("{:.4f}", similarities[place]), false);
  return sheet.drawn();
}

}  // namespace la
