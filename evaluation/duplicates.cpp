#include "evaluation/duplicates.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>

#include "data/codecs/codec.h"
#include "evaluation/neighbor_graph.h"
#include "tensor/ops.h"
#include "tensor/parallel.h"

namespace la {
namespace {

constexpr int parts = 4;  // whole, center, top left, bottom right

/// A part of what `all` shows, as a view.
ViewPlan plan_part(const Crop& all, int part) {
  const float margin = 1 - central_share, across = all.width * margin, down = all.height * margin;
  constexpr std::array<float, parts> place = {0, 0.5f, 0, 1};
  const float share = part == 0 ? 1 : central_share, at = place[static_cast<size_t>(part)];
  return {.crop = {all.x + at * across, all.y + at * down, all.width * share, all.height * share},
          .flip = part == 1 || part == 3};
}

/// The views of the parts, and the thumbnails, of some pictures that follow one another.
struct PartViews {
  std::array<Tensor, parts> views = {};  // f32 [n, S, S, C]
  std::vector<GrayThumbnail> thumbnails = {};
};

/// With mean 0 and standard deviation 1, as all pictures have together: whatever its brightness and contrast were.
void standardize(float* view, int64_t values) {
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < values; ++i) {
    sum += view[i];
    squares += static_cast<double>(view[i]) * view[i];
  }
  const auto n = static_cast<double>(values);
  const double mean = sum / n, deviation = std::sqrt(std::max(squares / n - mean * mean, 1e-4));
  for (int64_t i = 0; i < values; ++i) view[i] = static_cast<float>((view[i] - mean) / deviation);
}

void view_parts(const Dataset& pictures, int64_t i, const ViewFormat& format, PartViews& seen,
                int64_t place) {
  // As large as a view of the smallest part must be.
  const int enough = std::max(static_cast<int>(std::ceil(static_cast<float>(format.size) / central_share)),
                              GrayThumbnail::most_side);
  const Excerpt excerpt = pictures.excerpt(i, enough, whole_crop);
  for (int part = 0; part < parts; ++part) {
    Tensor& views = seen.views[static_cast<size_t>(part)];
    const int64_t values = views.numel() / views.size(0);
    float* view = views.data<float>() + place * values;
    make_view(excerpt.picture, plan_part(excerpt.crop, part), format, view);
    standardize(view, values);
  }
  seen.thumbnails[static_cast<size_t>(place)] = gray_thumbnail(excerpt.picture, excerpt.crop);
}

PartViews part_views(const Dataset& pictures, int64_t begin, int64_t end, const AugmentationOptions& view) {
  const ViewFormat format = format_of_views(view, pictures.channels());
  PartViews seen{.thumbnails = std::vector<GrayThumbnail>(static_cast<size_t>(end - begin))};
  for (Tensor& views : seen.views)
    views = Tensor::zeros({end - begin, view.size, view.size, pictures.channels()});
  parallel_for(end - begin, 1, [&](int64_t first, int64_t last) {
    for (int64_t place = first; place < last; ++place) try {
        view_parts(pictures, begin + place, format, seen, place);
      } catch (const BadPicture&) {  // which the data set remembers
      }
  });
  return seen;
}

/// The mean of the embeddings of the views from `first` on, on the unit sphere.
Tensor mean_of(const std::vector<Tensor>& embeddings, size_t first) {
  Tensor sum = embeddings[first];
  for (size_t view = first + 1; view < embeddings.size(); ++view) sum = ops::add(sum, embeddings[view]);
  return ops::l2_normalize(sum).y;
}

/// Products of rows of the same number, a_i . b_i.
std::vector<float> products(const Tensor& a, const Tensor& b) {
  std::vector<int32_t> rows(static_cast<size_t>(a.size(0)));
  std::iota(rows.begin(), rows.end(), 0);
  return ops::gather_dot(a, b, Tensor::from(rows, {a.size(0), 1}).to(a.device())).to_vector<float>();
}

/// 0 of no values.
float quantile(std::vector<float> values, double share) {
  if (values.empty()) return 0;
  const auto at = static_cast<ptrdiff_t>(std::floor(share * static_cast<double>(values.size() - 1)));
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[static_cast<size_t>(at)];
}

/// The least of the similarities of each of n queries.
std::vector<float> farthest(const Neighbors& nearest, size_t n) {
  const auto k = static_cast<ptrdiff_t>(nearest.similarities.size() / n);
  std::vector<float> result;
  for (auto first = nearest.similarities.begin(); first != nearest.similarities.end(); first += k)
    result.push_back(*std::min_element(first, first + k));
  return result;
}

/// Pairs of pictures of which one is near the other, each once.
std::vector<CopyPair> candidates(const ComparedPictures& pictures, int64_t neighbors, float least,
                                 const ProgressCallback& progress) {
  std::vector<CopyPair> pairs;
  const auto take = [&](int64_t i, const Neighborhood& near) {
    for (size_t n = 0; n < near.numbers.size() && near.similarities[n] >= least; ++n) {
      const auto self = static_cast<int32_t>(i);
      pairs.push_back({std::min(self, near.numbers[n]), std::max(self, near.numbers[n])});
    }
  };
  for_each_neighborhood(VectorSearch(pictures.vectors), VectorSearch(pictures.of_parts), neighbors, take,
                        "neighbors found", progress);
  std::sort(pairs.begin(), pairs.end(), [](const CopyPair& a, const CopyPair& b) {
    return std::pair(a.first, a.second) < std::pair(b.first, b.second);
  });
  pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());
  return pairs;
}

}  // namespace

ComparedPictures prepare_comparison(const Embedder& embedder, const AugmentationOptions& view,
                                    const Dataset& pictures, const ProgressCallback& progress) {
  constexpr int64_t block = 64;
  ComparedPictures result;
  std::vector<Tensor> vectors, of_parts;
  for (int64_t begin = 0; begin < pictures.size(); begin += block) {
    const int64_t end = std::min(begin + block, pictures.size());
    PartViews seen = part_views(pictures, begin, end, view);
    std::vector<int32_t> rows;
    for (int64_t i = begin; i < end; ++i) {
      GrayThumbnail& thumbnail = seen.thumbnails[static_cast<size_t>(i - begin)];
      if (pictures.is_bad(i) || thumbnail.whole.pixels.empty()) continue;
      rows.push_back(static_cast<int32_t>(i - begin));
      result.numbers.push_back(i);
      result.thumbnails.push_back(std::move(thumbnail));
    }
    if (!rows.empty()) {
      std::vector<Tensor> embeddings;
      for (const Tensor& views : seen.views)
        embeddings.push_back(ops::gather_rows(embedder.outputs_of_views(views).front(), rows));
      vectors.push_back(mean_of(embeddings, 0));
      of_parts.push_back(mean_of(embeddings, 1));
      check(is_finite(vectors.back()), "the network gives embeddings that are not finite, such as of {}",
            pictures.name(begin + rows.front()));
    }
    if (progress) progress("pictures embedded", end, pictures.size());
  }
  if (vectors.empty()) return result;
  result.vectors = ops::concatenate(vectors, 0);
  result.of_parts = ops::concatenate(of_parts, 0);
  return result;
}

CopiesMeasured measure_copies(const ComparedPictures& pictures, const ComparedPictures& copies,
                              const std::vector<int32_t>& originals, int64_t neighbors, double recall,
                              std::optional<float> least_fine) {
  constexpr double nearly_all = 0.99;
  const size_t n = copies.numbers.size();
  check(n > 0, "there is no copy to measure");
  std::vector<int32_t> original;  // of each copy
  for (const int64_t copy : copies.numbers) original.push_back(originals.at(static_cast<size_t>(copy)));
  std::vector<Likeness> likenesses(n);
  parallel_for(std::ssize(original), 16, [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i)
      likenesses[i] = likeness(copies.thumbnails[i], pictures.thumbnails[static_cast<size_t>(original[i])]);
  });
  // The copy may be near the original, or the original near the copy.
  const Tensor query = ops::gather_rows(pictures.vectors, original),
               parts_of_original = ops::gather_rows(pictures.of_parts, original);
  const std::vector<float> to_original = products(copies.vectors, parts_of_original),
                           to_copy = products(query, copies.of_parts);
  const VectorSearch table(pictures.of_parts);
  // One is the original itself.
  const auto from_copy = farthest(table.nearest(copies.vectors, std::min(neighbors, table.size())), n),
             from_original = farthest(table.nearest(query, std::min(neighbors + 1, table.size())), n);
  std::vector<float> similarities, coarse, fine;
  for (size_t i = 0; i < n; ++i) {
    similarities.push_back(std::max(to_original[i], to_copy[i]));
    if (likenesses[i].coarse == 0) continue;  // of one color: such copies say nothing of the others
    coarse.push_back(likenesses[i].coarse);
    fine.push_back(likenesses[i].fine);
  }
  CopiesMeasured result{.copies = std::ssize(original)};
  CopyThresholds& least = result.thresholds;
  least.similarity = quantile(similarities, 1 - nearly_all);
  least.likeness = {std::max(quantile(coarse, 1 - nearly_all), lowest_likeness),
                    least_fine.value_or(std::max(quantile(fine, 1 - recall), lowest_likeness))};
  for (size_t i = 0; i < n; ++i) {
    if (likenesses[i].fine < least.likeness.fine) continue;
    ++result.alike;
    const bool near = (to_original[i] >= from_copy[i] && to_original[i] >= least.similarity) ||
                      (to_copy[i] >= from_original[i] && to_copy[i] >= least.similarity);
    if (near && are_copies(copies.thumbnails[i], pictures.thumbnails[static_cast<size_t>(original[i])],
                           least.likeness))
      ++result.found;
  }
  return result;
}

std::vector<CopyPair> find_copies(const ComparedPictures& pictures, int64_t neighbors,
                                  const CopyThresholds& thresholds, const ProgressCallback& progress) {
  constexpr int64_t block = 1 << 15;
  const int64_t k = std::min(neighbors, std::ssize(pictures.numbers) - 1);
  std::vector<CopyPair> pairs = candidates(pictures, k, thresholds.similarity, progress);
  const auto n = std::ssize(pairs);
  for (int64_t first = 0; first < n; first += block) {
    const int64_t last = std::min(first + block, n);
#pragma omp parallel for schedule(dynamic, 64)
    for (int64_t i = first; i < last; ++i) {
      CopyPair& pair = pairs[static_cast<size_t>(i)];
      pair.likeness =
          likeness(pictures.thumbnails[static_cast<size_t>(pair.first)],
                   pictures.thumbnails[static_cast<size_t>(pair.second)], thresholds.likeness.coarse)
              .fine;
    }
    if (progress) progress("pairs compared", last, n);
  }
  std::erase_if(pairs, [&](const CopyPair& pair) { return pair.likeness < thresholds.likeness.fine; });
  return pairs;
}

std::vector<std::vector<int32_t>> groups_of(const std::vector<CopyPair>& pairs) {
  std::map<int32_t, int32_t> parents;  // of a group's first, itself
  const auto first_of = [&](int32_t picture) {
    int32_t first = parents.try_emplace(picture, picture).first->second;
    while (parents[first] != first) first = parents[first];
    return parents[picture] = first;
  };
  for (const CopyPair& pair : pairs) {
    const int32_t a = first_of(pair.first), b = first_of(pair.second);
    parents[std::max(a, b)] = std::min(a, b);
  }
  std::map<int32_t, std::vector<int32_t>> groups;
  for (const auto& [picture, ignored] : parents) groups[first_of(picture)].push_back(picture);
  std::vector<std::vector<int32_t>> result;
  for (auto& [first, group] : groups) result.push_back(std::move(group));
  return result;
}

}  // namespace la
