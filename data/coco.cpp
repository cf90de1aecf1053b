#include <map>
#include <nlohmann/json.hpp>

#include "data/detection.h"
#include "tensor/error.h"
#include "tensor/format.h"
#include "tensor/io/files.h"

namespace la {
namespace {

using Json = nlohmann::json;

/// The member of that name; an Error that names the file if it is missing or of another kind.
template <class T>
T member(const Json& object, const char* name, const std::string& path) {
  const auto found = object.find(name);
  check(found != object.end(), "{}: an entry has no \"{}\"", path, name);
  try {
    return found->get<T>();
  } catch (const Json::exception&) {
    fail("{}: \"{}\" is {}", path, name, found->dump().substr(0, 60));
  }
}

}  // namespace

DetectionData read_coco(const std::string& path, const std::string& folder) {
  const std::string text = read_file(path);
  const Json file = Json::parse(text, nullptr, false);
  check(file.is_object(), "{}: is no whole JSON object", path);
  DetectionData data;
  std::map<int64_t, int> category_of;
  for (const Json& category : member<std::vector<Json>>(file, "categories", path)) {
    const auto id = member<int64_t>(category, "id", path);
    check(category_of.emplace(id, static_cast<int>(data.categories.size())).second,
          "{}: two categories have the id {}", path, id);
    data.categories.push_back(member<std::string>(category, "name", path));
    data.category_ids.push_back(id);
  }
  std::map<int64_t, size_t> picture_of;
  for (const Json& image : member<std::vector<Json>>(file, "images", path)) {
    const auto id = member<int64_t>(image, "id", path);
    check(picture_of.emplace(id, data.pictures.size()).second, "{}: two pictures have the id {}", path, id);
    data.pictures.push_back({.name = formatted("{}", id),
                             .file = folder + "/" + member<std::string>(image, "file_name", path),
                             .width = member<int>(image, "width", path),
                             .height = member<int>(image, "height", path)});
  }
  check(!data.pictures.empty(), "{}: names no picture", path);
  int64_t cut = 0, without_area = 0;
  for (const Json& annotation : member<std::vector<Json>>(file, "annotations", path)) {
    const auto id = member<int64_t>(annotation, "image_id", path);
    const auto category = member<int64_t>(annotation, "category_id", path);
    const auto picture = picture_of.find(id);
    check(picture != picture_of.end(), "{}: a box is of picture {}, which is not among \"images\"", path, id);
    const auto number = category_of.find(category);
    check(number != category_of.end(), "{}: a box is of category {}, which is not among \"categories\"", path,
          category);
    const auto box = member<std::vector<float>>(annotation, "bbox", path);
    check(box.size() == 4, "{}: a \"bbox\" has {} numbers, expected x, y, width, height", path, box.size());
    AnnotatedPicture& of = data.pictures[picture->second];
    const Box whole{box[0], box[1], box[0] + box[2], box[1] + box[3]};
    const Box within = part_inside(whole, of.width, of.height);
    if (within.width() <= 0 || within.height() <= 0) {  // COCO has some, and its evaluation passes over them
      ++without_area;
      continue;
    }
    cut += within != whole;
    const bool crowd = annotation.value("iscrowd", 0) != 0;
    of.objects.push_back({.box = within, .category = number->second, .difficult = crowd, .crowd = crowd});
  }
  data.note(path, cut, "box reaches", "boxes reach", "beyond the picture, cut at its edge");
  data.note(path, without_area, "box has", "boxes have", "no area, and is left out");
  data.note(path, data.count_empty(), "picture has", "pictures have", "no object");
  return data;
}

}  // namespace la
