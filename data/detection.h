// Pictures with boxes around the objects in them, for detection: the layouts of PASCAL VOC and of COCO.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace la {

/// A rectangle by its edges, in pixels: the pixel of column x covers the interval [x, x + 1]. VOC's boxes are
/// 1-based and inclusive, so that its xmin is left + 1 and its xmax is right.
struct Box {
  float left = 0, top = 0, right = 0, bottom = 0;

  float width() const { return right - left; }
  float height() const { return bottom - top; }
  double area() const { return static_cast<double>(width()) * height(); }
  bool operator==(const Box&) const = default;
};

inline double intersection(const Box& a, const Box& b) {
  const double width = static_cast<double>(std::min(a.right, b.right)) - std::max(a.left, b.left);
  const double height = static_cast<double>(std::min(a.bottom, b.bottom)) - std::max(a.top, b.top);
  return width > 0 && height > 0 ? width * height : 0;
}
/// The share of the union of two boxes that both cover, in [0, 1].
inline double intersection_over_union(const Box& a, const Box& b) {
  const double both = intersection(a, b);
  return both > 0 ? both / (a.area() + b.area() - both) : 0;
}

/// The part of a box that lies in a picture of that size.
inline Box part_inside(const Box& box, int width, int height) {
  return {std::max(box.left, 0.0f), std::max(box.top, 0.0f), std::min(box.right, static_cast<float>(width)),
          std::min(box.bottom, static_cast<float>(height))};
}

struct Object {
  Box box;
  int category = 0;        // number among the data's categories
  bool difficult = false;  // of VOC: neither has it to be found, nor is it wrong to find it
  bool crowd = false;      // of COCO: a box around many, which counts as difficult

  bool to_be_found() const { return !difficult && !crowd; }
};

struct AnnotatedPicture {
  std::string name;  // as in the lists of VOC ("000005"), or COCO's number
  std::string file;
  int width = 0, height = 0;
  std::vector<Object> objects = {};
};

struct DetectionData {
  std::vector<std::string> categories;
  std::vector<int64_t> category_ids = {};  // of COCO, which numbers them otherwise
  std::vector<AnnotatedPicture> pictures = {};
  std::vector<std::string> notes = {};  // for the user: what was found, but is not used, and why

  /// Notes what has happened to so many things, if to any: "<path>: 2 boxes reach beyond the picture".
  void note(const std::string& path, int64_t count, const char* one, const char* many, const char* what);
  int64_t count_empty() const;  // pictures without an object
};

/// The twenty categories of PASCAL VOC, in the order of its alphabet.
const std::vector<std::string>& voc_categories();

/// A data set in the layout of VOC: ImageSets/Main/<set>.txt names the pictures, Annotations/<name>.xml has their
/// boxes, JPEGImages/<name>.jpg (or .png) the pixels. Without categories they are VOC's, or where a name is none
/// of these, all names that occur, sorted. As in VOC's own evaluation, objects of other categories do not
/// count; boxes that reach beyond the picture are cut at its edge. Both are noted. An Error that names the file
/// if it is missing or cut off, or has a box without area.
DetectionData read_voc(const std::string& folder, const std::string& set,
                       const std::vector<std::string>& categories = {});

/// A data set in the layout of COCO: a file of annotations (instances_val2017.json), and the folder with the
/// pictures that it names. The same notes and errors.
DetectionData read_coco(const std::string& annotations, const std::string& folder);

}  // namespace la
