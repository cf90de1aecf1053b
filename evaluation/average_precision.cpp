#include "evaluation/average_precision.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "tensor/error.h"
#include "tensor/format.h"
#include "tensor/io/files.h"

namespace la {
namespace {

enum class Outcome { right, wrong, passed_over };

/// The detections of one category, from the highest score down.
std::vector<Detection> of_category(const std::vector<Detection>& all, int category) {
  std::vector<Detection> some;
  for (const Detection& d : all)
    if (d.category == category) some.push_back(d);
  std::stable_sort(some.begin(), some.end(),
                   [](const Detection& a, const Detection& b) { return a.score > b.score; });
  return some;
}

/// The objects of one category, by picture.
struct Truth {
  std::vector<std::vector<Object>> objects;
  std::vector<std::vector<bool>> taken;
  int64_t to_find = 0;

  Truth(const DetectionData& data, int category) {
    for (const AnnotatedPicture& picture : data.pictures) {
      std::vector<Object>& some = objects.emplace_back();
      for (const Object& object : picture.objects)
        if (object.category == category) some.push_back(object);
      taken.emplace_back(some.size());
      to_find += std::count_if(some.begin(), some.end(), [](const Object& o) { return !o.difficult; });
    }
  }
};

/// Precision and recall after each detection that counts.
struct Curve {
  std::vector<double> precision, recall;

  Curve(const std::vector<Outcome>& outcomes, int64_t to_find) {
    double right = 0, counted = 0;
    for (const Outcome outcome : outcomes) {
      if (outcome == Outcome::passed_over) continue;
      right += outcome == Outcome::right;
      ++counted;
      precision.push_back(right / counted);
      recall.push_back(right / static_cast<double>(to_find));
    }
    // The envelope: the largest precision at this recall or any higher one.
    for (size_t i = precision.size(); i-- > 1;) precision[i - 1] = std::max(precision[i - 1], precision[i]);
  }

  double precision_at(double least_recall) const {
    const auto found = std::lower_bound(recall.begin(), recall.end(), least_recall);
    return found == recall.end() ? 0 : precision[static_cast<size_t>(found - recall.begin())];
  }
  double area() const {
    double sum = 0, before = 0;
    for (size_t i = 0; i < recall.size(); ++i) {
      sum += (recall[i] - before) * precision[i];
      before = recall[i];
    }
    return sum;
  }
  /// The mean at recalls 0, 1 / parts, ..., 1.
  double mean_at(int parts) const {
    double sum = 0;
    for (int i = 0; i <= parts; ++i) sum += precision_at(static_cast<double>(i) / parts);
    return sum / (parts + 1);
  }
};

Outcome voc_outcome(const Detection& detection, Truth& truth, double overlap) {
  const std::vector<Object>& objects = truth.objects.at(static_cast<size_t>(detection.picture));
  double best = -1;
  size_t object = 0;
  for (size_t i = 0; i < objects.size(); ++i) {
    const double share = intersection_over_union(detection.box, objects[i].box);
    if (share > best) {
      best = share;
      object = i;
    }
  }
  if (!(best > overlap)) return Outcome::wrong;
  if (objects[object].difficult) return Outcome::passed_over;
  auto taken = truth.taken[static_cast<size_t>(detection.picture)][object];
  if (taken) return Outcome::wrong;
  taken = true;
  return Outcome::right;
}

Outcome coco_outcome(const Detection& detection, Truth& truth, double overlap) {
  const std::vector<Object>& objects = truth.objects.at(static_cast<size_t>(detection.picture));
  std::vector<bool>& taken = truth.taken[static_cast<size_t>(detection.picture)];
  // Boxes that count come before those that don't: a crowd is taken only where nothing else fits.
  for (const bool difficult : {false, true}) {
    double best = std::min(overlap, 1 - 1e-10);
    std::optional<size_t> object;
    for (size_t i = 0; i < objects.size(); ++i) {
      if (objects[i].difficult != difficult || (taken[i] && !objects[i].crowd)) continue;
      const double share = objects[i].crowd
                               ? intersection(detection.box, objects[i].box) / detection.box.area()
                               : intersection_over_union(detection.box, objects[i].box);
      if (share < best) continue;
      best = share;
      object = i;
    }
    if (!object) continue;
    taken[*object] = true;
    return difficult ? Outcome::passed_over : Outcome::right;
  }
  return Outcome::wrong;
}

/// At most so many of each picture, from the first on.
std::vector<Detection> at_most(int64_t count, const std::vector<Detection>& all) {
  std::map<int64_t, int64_t> of_picture;
  std::vector<Detection> some;
  for (const Detection& d : all)
    if (of_picture[d.picture]++ < count) some.push_back(d);
  return some;
}

/// value(category): nothing where no object has to be found.
template <class Value>
AveragePrecision over_categories(const DetectionData& data, Value value) {
  AveragePrecision result;
  double sum = 0, count = 0;
  for (int c = 0; c < static_cast<int>(data.categories.size()); ++c) {
    result.by_category.push_back(value(c));
    if (!result.by_category.back()) continue;
    sum += *result.by_category.back();
    ++count;
  }
  result.mean = count > 0 ? sum / count : 0;
  return result;
}

}  // namespace

AveragePrecision voc_average_precision(const std::vector<Detection>& detections, const DetectionData& data,
                                       ApKind kind, double overlap) {
  return over_categories(data, [&](int category) -> std::optional<double> {
    Truth truth(data, category);
    if (truth.to_find == 0) return {};
    std::vector<Outcome> outcomes;
    for (const Detection& d : of_category(detections, category))
      outcomes.push_back(voc_outcome(d, truth, overlap));
    const Curve curve(outcomes, truth.to_find);
    return kind == ApKind::area ? curve.area() : curve.mean_at(10);
  });
}

AveragePrecision coco_average_precision(const std::vector<Detection>& detections, const DetectionData& data,
                                        double overlap) {
  constexpr int64_t most = 100;
  std::vector<Detection> by_picture = detections;  // so of equal scores those of the first picture come first
  std::stable_sort(by_picture.begin(), by_picture.end(),
                   [](const Detection& a, const Detection& b) { return a.picture < b.picture; });
  return over_categories(data, [&](int category) -> std::optional<double> {
    Truth truth(data, category);
    if (truth.to_find == 0) return {};
    std::vector<Outcome> outcomes;
    for (const Detection& d : at_most(most, of_category(by_picture, category)))
      outcomes.push_back(coco_outcome(d, truth, overlap));
    return Curve(outcomes, truth.to_find).mean_at(100);
  });
}

double coco_average_precision(const std::vector<Detection>& detections, const DetectionData& data) {
  double sum = 0;
  constexpr int overlaps = 10;
  for (int i = 0; i < overlaps; ++i)
    sum += coco_average_precision(detections, data, 0.5 + i * ((0.95 - 0.5) / (overlaps - 1))).mean;
  return sum / overlaps;
}

void write_voc_results(const std::string& folder, const std::string& set,
                       const std::vector<Detection>& detections, const DetectionData& data) {
  for (size_t c = 0; c < data.categories.size(); ++c) {
    std::string text;
    for (const Detection& d : detections) {
      if (d.category != static_cast<int>(c)) continue;
      text += formatted("{} {:.6f} {:.1f} {:.1f} {:.1f} {:.1f}\n",
                        data.pictures.at(static_cast<size_t>(d.picture)).name, d.score, d.box.left + 1,
                        d.box.top + 1, d.box.right, d.box.bottom);
    }
    std::string name = data.categories[c];
    std::replace(name.begin(), name.end(), '/', '-');
    write_text_file(formatted("{}/comp4_det_{}_{}.txt", folder, set, name), text);
  }
}

void write_coco_results(const std::string& path, const std::vector<Detection>& detections,
                        const DetectionData& data) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Detection& d : detections) {
    const auto category = static_cast<size_t>(d.category);
    list.push_back({{"image_id", std::stoll(data.pictures.at(static_cast<size_t>(d.picture)).name)},
                    {"category_id", data.category_ids.at(category)},
                    {"bbox", {d.box.left, d.box.top, d.box.width(), d.box.height()}},
                    {"score", d.score}});
  }
  write_text_file(path, list.dump() + "\n");
}

}  // namespace la
