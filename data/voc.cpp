#include <filesystem>
#include <map>
#include <pugixml.hpp>
#include <set>
#include <sstream>

#include "data/detection.h"
#include "tensor/error.h"
#include "tensor/format.h"
#include "tensor/io/files.h"
#include "tensor/text.h"

namespace la {
namespace {

namespace fs = std::filesystem;

/// What an annotation says, before categories are numbered.
struct NamedObject {
  std::string name;
  Object object;
};

/// The number in an element; an Error that names the file if it is missing or none.
float number_in(const pugi::xml_node& parent, const char* element, const std::string& path) {
  const pugi::xml_node node = parent.child(element);
  check(node, "{}: has no <{}> in <{}>", path, element, parent.name());
  const std::string text = node.text().get();
  try {
    size_t end = 0;
    const float value = std::stof(text, &end);
    if (text.find_first_not_of(" \t\r\n", end) == text.npos) return value;
  } catch (const std::exception&) {
  }
  fail("{}: <{}> is \"{}\", expected a number", path, element, text);
}

/// A box of 1-based, inclusive pixels.
Box box_of(const pugi::xml_node& object, const std::string& path) {
  const pugi::xml_node box = object.child("bndbox");
  check(box, "{}: an object has no <bndbox>", path);
  return {number_in(box, "xmin", path) - 1, number_in(box, "ymin", path) - 1, number_in(box, "xmax", path),
          number_in(box, "ymax", path)};
}

class VocReader {
 public:
  VocReader(std::string folder, const std::string& set)
      : folder_(std::move(folder)), list_(formatted("{}/ImageSets/Main/{}.txt", folder_, set)) {
    std::istringstream lines(read_file(list_));
    for (std::string line; std::getline(lines, line);) {
      const std::string name = line.substr(0, line.find_first_of(" \t\r"));
      if (!name.empty()) read_picture(name);
    }
    check(!pictures_.empty(), "{}: names no picture", list_);
  }

  DetectionData data(std::vector<std::string> categories) const {
    DetectionData data{.categories = std::move(categories)};
    if (data.categories.empty()) data.categories = found_categories();
    std::map<std::string, int> number_of;
    for (const std::string& name : data.categories)
      number_of.emplace(name, static_cast<int>(number_of.size()));
    int64_t others = 0;
    for (size_t i = 0; i < pictures_.size(); ++i) {
      AnnotatedPicture picture = pictures_[i];
      for (const NamedObject& named : objects_[i]) {
        const auto found = number_of.find(named.name);
        others += found == number_of.end();
        if (found == number_of.end()) continue;
        picture.objects.push_back(named.object);
        picture.objects.back().category = found->second;
      }
      data.pictures.push_back(std::move(picture));
    }
    data.note(list_, cut_, "box reaches", "boxes reach", "beyond the picture, cut at its edge");
    data.note(list_, others, "object is", "objects are", "of another category, and left out");
    data.note(list_, data.count_empty(), "picture has", "pictures have", "no object");
    return data;
  }

 private:
  void read_picture(const std::string& name) {
    const std::string path = formatted("{}/Annotations/{}.xml", folder_, name);
    const std::string text = read_file(path);
    pugi::xml_document document;
    const pugi::xml_parse_result parsed = document.load_buffer(text.data(), text.size());
    check(parsed, "{}: is no whole XML: {} at byte {}", path, parsed.description(), parsed.offset);
    const pugi::xml_node annotation = document.child("annotation");
    check(annotation, "{}: has no <annotation>", path);
    const pugi::xml_node size = annotation.child("size");
    check(size, "{}: has no <size>", path);
    AnnotatedPicture picture{.name = name,
                             .file = picture_file(name),
                             .width = static_cast<int>(number_in(size, "width", path)),
                             .height = static_cast<int>(number_in(size, "height", path))};
    check(picture.width > 0 && picture.height > 0, "{}: a picture of {} x {} pixels", path, picture.width,
          picture.height);
    std::vector<NamedObject> objects;
    for (const pugi::xml_node& object : annotation.children("object")) {
      NamedObject named{.name = object.child("name").text().get(), .object = {.box = box_of(object, path)}};
      named.object.difficult = object.child("difficult").text().as_int() != 0;
      check(!named.name.empty(), "{}: an object has no <name>", path);
      const Box whole = named.object.box;
      named.object.box = part_inside(whole, picture.width, picture.height);
      cut_ += named.object.box != whole;
      check(named.object.box.width() > 0 && named.object.box.height() > 0,
            "{}: the box {}, {} to {}, {} has no area in a picture of {} x {} pixels", path, whole.left + 1,
            whole.top + 1, whole.right, whole.bottom, picture.width, picture.height);
      objects.push_back(std::move(named));
    }
    pictures_.push_back(std::move(picture));
    objects_.push_back(std::move(objects));
  }

  std::string picture_file(const std::string& name) const {
    for (const char* ending : {"jpg", "png"}) {
      std::string file = formatted("{}/JPEGImages/{}.{}", folder_, name, ending);
      if (std::error_code ignored; fs::exists(file, ignored)) return file;
    }
    fail("{}: there is no JPEGImages/{}.jpg, which {} names", folder_, name, list_);
  }

  std::vector<std::string> found_categories() const {
    std::set<std::string> names;
    for (const auto& objects : objects_)
      for (const NamedObject& named : objects) names.insert(named.name);
    const auto& voc = voc_categories();
    const bool all_known = std::includes(voc.begin(), voc.end(), names.begin(), names.end());
    return all_known ? voc : std::vector<std::string>(names.begin(), names.end());
  }

  std::string folder_, list_;
  std::vector<AnnotatedPicture> pictures_;
  std::vector<std::vector<NamedObject>> objects_;
  int64_t cut_ = 0;
};

}  // namespace

const std::vector<std::string>& voc_categories() {
  static const std::vector<std::string> names{"aeroplane",   "bicycle", "bird",  "boat",      "bottle",
                                              "bus",         "car",     "cat",   "chair",     "cow",
                                              "diningtable", "dog",     "horse", "motorbike", "person",
                                              "pottedplant", "sheep",   "sofa",  "train",     "tvmonitor"};
  return names;
}

void DetectionData::note(const std::string& path, int64_t count, const char* one, const char* many,
                         const char* what) {
  if (count > 0) notes.push_back(formatted("{}: {} {}", path, counted(count, one, many), what));
}

int64_t DetectionData::count_empty() const {
  return std::count_if(pictures.begin(), pictures.end(),
                       [](const AnnotatedPicture& p) { return p.objects.empty(); });
}

DetectionData read_voc(const std::string& folder, const std::string& set,
                       const std::vector<std::string>& categories) {
  return VocReader(folder, set).data(categories);
}

}  // namespace la
