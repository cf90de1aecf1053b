#include "apps/detection_results.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tensor/format.h"
#include "tensor/io/files.h"
#include "tensor/text.h"
#include "tensor/version.h"

namespace la {
namespace {

using Json = nlohmann::ordered_json;

int64_t count_objects(const DetectionData& data, int category) {
  int64_t count = 0;
  for (const AnnotatedPicture& picture : data.pictures)
    for (const Object& o : picture.objects) count += o.category == category && o.to_be_found();
  return count;
}

std::string percent(const std::optional<double>& share) {
  return share ? formatted("{:.1f}", 100 * *share) : "-";
}

Json json_of(const DetectionMeasures& m, const DetectionData& data) {
  Json categories = Json::object();
  for (size_t c = 0; c < data.categories.size(); ++c) {
    Json entry{{"objects", count_objects(data, static_cast<int>(c))}};
    if (m.area.by_category[c]) {
      entry["ap_11_points"] = *m.eleven_points.by_category[c];
      entry["ap_area"] = *m.area.by_category[c];
    }
    categories[data.categories[c]] = entry;
  }
  return {{"voc_map_11_points", m.eleven_points.mean},
          {"voc_map_area", m.area.mean},
          {"coco_ap", m.coco},
          {"coco_ap50", m.coco50},
          {"coco_ap75", m.coco75},
          {"categories", categories}};
}

/// Whether one of the detections is of the object.
bool is_found(const Object& object, const std::vector<Detection>& found) {
  return std::any_of(found.begin(), found.end(), [&](const Detection& d) {
    return d.category == object.category && intersection_over_union(d.box, object.box) > 0.5;
  });
}

/// Pictures evenly spread over the data: what was found, and, dashed, what was missed.
void write_sheet(const std::string& path, const TrainedDetector& detector,
                 const std::vector<Detection>& detections, const DetectionData& data, float shown_score) {
  constexpr size_t most = 20;
  const size_t all = data.pictures.size(), shown = std::min(all, most);
  std::vector<DrawnPicture> drawn;
  for (size_t i = 0; i < shown; ++i) {
    const size_t number = i * all / shown;
    const AnnotatedPicture& annotated = data.pictures[number];
    std::vector<Detection> found;
    for (const Detection& d : detections)
      if (d.picture == static_cast<int64_t>(number) && d.score >= shown_score) found.push_back(d);
    DrawnPicture picture;
    try {
      picture.picture = read_picture(annotated.file, detector.decode_options());
    } catch (const Error&) {
      continue;  // it was told of before
    }
    picture.title = annotated.name;
    picture.boxes = drawn_boxes(found, data.categories);
    for (const Object& object : annotated.objects)
      if (object.to_be_found() && !is_found(object, found))
        picture.boxes.push_back({.box = object.box,
                                 .category = object.category,
                                 .label = data.categories[static_cast<size_t>(object.category)],
                                 .dashed = true});
    drawn.push_back(std::move(picture));
  }
  if (!drawn.empty()) write_drawn_pictures(path, drawn);
}

}  // namespace

std::vector<DrawnBox> drawn_boxes(const std::vector<Detection>& detections,
                                  const std::vector<std::string>& categories) {
  std::vector<DrawnBox> boxes;
  for (const Detection& d : detections)
    boxes.push_back({.box = d.box,
                     .category = d.category,
                     .label = formatted("{} {:.2f}", categories[static_cast<size_t>(d.category)], d.score)});
  std::reverse(boxes.begin(), boxes.end());  // the best on top
  return boxes;
}

DetectionMeasures measure(const std::vector<Detection>& detections, const DetectionData& data) {
  return {.eleven_points = voc_average_precision(detections, data, ApKind::eleven_points),
          .area = voc_average_precision(detections, data, ApKind::area),
          .coco = coco_average_precision(detections, data),
          .coco50 = coco_average_precision(detections, data, 0.5).mean,
          .coco75 = coco_average_precision(detections, data, 0.75).mean};
}

std::vector<std::string> describe(const DetectionMeasures& m, const DetectionData& data,
                                  const std::string& name) {
  size_t width = std::string_view("category").size();
  for (const std::string& category : data.categories) width = std::max(width, category.size());
  std::vector<std::string> lines{
      formatted("{}: {}", name, counted(static_cast<int64_t>(data.pictures.size()), "picture")),
      formatted("  {:<{}}  11-point AP   area AP   objects", "category", width)};
  for (size_t c = 0; c < data.categories.size(); ++c)
    lines.push_back(formatted("  {:<{}}  {:>11}   {:>7}   {:>7}", data.categories[c], width,
                              percent(m.eleven_points.by_category[c]), percent(m.area.by_category[c]),
                              count_objects(data, static_cast<int>(c))));
  lines.push_back(
      formatted("  {:<{}}  {:>11}   {:>7}   (VOC: overlap above 0.5, difficult objects passed over)", "mean",
                width, percent(m.eleven_points.mean), percent(m.area.mean)));
  lines.push_back(
      formatted("  COCO: AP {:.1f}, AP50 {:.1f}, AP75 {:.1f}", 100 * m.coco, 100 * m.coco50, 100 * m.coco75));
  return lines;
}

void write_detection_results(const std::string& folder, const std::string& set,
                             const TrainedDetector& detector, const std::vector<Detection>& detections,
                             const DetectionData& data, const DetectionMeasures& measures,
                             float shown_score) {
  make_folders(folder);
  Json results{{"version", version},
               {"detector", detector.checkpoint},
               {"set", set},
               {"pictures", data.pictures.size()},
               {"measures", json_of(measures, data)}};
  write_text_file(folder + "/results.json",
                  results.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  if (data.category_ids.empty())
    write_voc_results(folder, set, detections, data);
  else
    write_coco_results(folder + "/coco-results.json", detections, data);
  write_sheet(folder + "/pictures.png", detector, detections, data, shown_score);
}

}  // namespace la
