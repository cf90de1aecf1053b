#include "tests/detection_world.h"

#include <algorithm>
#include <cmath>
#include <pugixml.hpp>
#include <sstream>

#include "data/detection.h"
#include "tensor/format.h"
#include "tensor/image/resize.h"
#include "tensor/io/files.h"
#include "tensor/random.h"
#include "tests/picture_files.h"

namespace la {
namespace {

/// Gray values in [0, 1], row by row.
struct Plane {
  int height, width;
  std::vector<float> values;

  Plane(int rows, int columns)
      : height(rows), width(columns), values(static_cast<size_t>(rows) * static_cast<size_t>(columns)) {}
  float& at(int y, int x) { return values[static_cast<size_t>(y * width + x)]; }
  float at(int y, int x) const { return values[static_cast<size_t>(y * width + x)]; }
};

/// Random values on a grid of cells x cells, blended between its points.
void add_noise(Plane& plane, int cells, float strength, RandomGenerator& random) {
  Plane grid(cells + 1, cells + 1);
  for (float& value : grid.values) value = random.uniform(-strength, strength);
  for (int y = 0; y < plane.height; ++y)
    for (int x = 0; x < plane.width; ++x) {
      const float down = static_cast<float>(y * cells) / static_cast<float>(plane.height),
                  across = static_cast<float>(x * cells) / static_cast<float>(plane.width);
      const int row = static_cast<int>(down), column = static_cast<int>(across);
      const float v = down - static_cast<float>(row), u = across - static_cast<float>(column);
      plane.at(y, x) += (1 - v) * ((1 - u) * grid.at(row, column) + u * grid.at(row, column + 1)) +
                        v * ((1 - u) * grid.at(row + 1, column) + u * grid.at(row + 1, column + 1));
    }
}

void add_line(Plane& plane, RandomGenerator& random) {
  const float angle = random.uniform(0, 3.1416f), shade = random.uniform(-0.4f, 0.4f);
  const float x0 = random.uniform() * static_cast<float>(plane.width),
              y0 = random.uniform() * static_cast<float>(plane.height);
  const float half_width = random.uniform(0.5f, 2.0f);
  for (int y = 0; y < plane.height; ++y)
    for (int x = 0; x < plane.width; ++x) {
      const float away = std::abs((static_cast<float>(x) - x0) * std::sin(angle) -
                                  (static_cast<float>(y) - y0) * std::cos(angle));
      if (away < half_width) plane.at(y, x) += shade;
    }
}

/// From coarse to fine ever weaker noise, and some lines.
Plane make_ground(int size, RandomGenerator& random) {
  Plane ground(size, size);
  std::fill(ground.values.begin(), ground.values.end(), random.uniform(0.25f, 0.75f));
  float strength = random.uniform(0.1f, 0.4f);
  for (int cells : {3, 8, 20, 50}) {
    add_noise(ground, cells, strength, random);
    strength *= 0.6f;
  }
  for (uint32_t lines = random.below(4); lines > 0; --lines) add_line(ground, random);
  return ground;
}

/// How much of the ground a value of a picture hides.
float opacity(float value) {
  constexpr float opaque = 0.2f;
  return std::min(value / opaque, 1.0f);
}

Plane resized(const Picture& picture, float scale) {
  check(picture.channels == 1, "the detection world is made of gray pictures, these have {} channels",
        picture.channels);
  const auto extent = [&](int pixels) {
    return std::max(1, static_cast<int>(std::lround(scale * static_cast<float>(pixels))));
  };
  Plane plane(extent(picture.height), extent(picture.width));
  const Crop whole{0, 0, static_cast<float>(picture.width), static_cast<float>(picture.height)};
  resize_crop(picture, whole, plane.height, plane.width, false, plane.values.data());
  return plane;
}

/// Around what hides the ground by at least a half, if it stands at (x, y); without area if nothing does.
Box tight_box(const Plane& plane, int x, int y) {
  int left = plane.width, right = 0, top = plane.height, bottom = 0;
  for (int row = 0; row < plane.height; ++row)
    for (int column = 0; column < plane.width; ++column)
      if (opacity(plane.at(row, column)) >= 0.5f) {
        left = std::min(left, column);
        right = std::max(right, column + 1);
        top = std::min(top, row);
        bottom = std::max(bottom, row + 1);
      }
  const auto edge = [](int pixels) { return static_cast<float>(pixels); };
  return {edge(x + left), edge(y + top), edge(x + right), edge(y + bottom)};
}

void paste(Plane& canvas, const Plane& plane, int x, int y) {
  for (int row = 0; row < plane.height; ++row)
    for (int column = 0; column < plane.width; ++column) {
      const float value = plane.at(row, column), share = opacity(value);
      float& pixel = canvas.at(y + row, x + column);
      pixel = (1 - share) * pixel + share * value;
    }
}

bool hides_too_much(const Box& box, const std::vector<Object>& objects) {
  return std::any_of(objects.begin(), objects.end(), [&](const Object& below) {
    return intersection(box, below.box) > below.box.area() / 2;
  });
}

/// Draws the canvas, and appends what stands on it.
Plane make_canvas(const Dataset& pictures, const DetectionWorld& world, RandomGenerator& random,
                  std::vector<Object>& objects) {
  Plane canvas = make_ground(world.size, random);
  const size_t wanted = 1 + random.below(static_cast<uint32_t>(world.most_objects));
  while (objects.size() < wanted) {
    const int64_t number = random.below(static_cast<uint32_t>(pictures.size()));
    const Plane object = resized(pictures.picture(number), random.uniform(world.smallest, world.largest));
    check(object.height <= world.size && object.width <= world.size,
          "a picture of {} x {} pixels does not fit on a canvas of {}", object.width, object.height,
          world.size);
    const auto x = static_cast<int>(random.below(static_cast<uint32_t>(world.size - object.width + 1))),
               y = static_cast<int>(random.below(static_cast<uint32_t>(world.size - object.height + 1)));
    const Box box = tight_box(object, x, y);
    if (box.width() < 1 || box.height() < 1 || hides_too_much(box, objects)) continue;
    paste(canvas, object, x, y);
    objects.push_back({.box = box, .category = pictures.label(number)});
  }
  return canvas;
}

std::string png_of(const Plane& plane) {
  std::vector<uint8_t> pixels;
  for (const float value : plane.values)
    pixels.push_back(static_cast<uint8_t>(std::lround(255 * std::clamp(value, 0.0f, 1.0f))));
  return png_bytes({pixels.data(), plane.height, plane.width, 1, nullptr});
}

/// VOC counts pixels from 1, and names the last one of a box.
std::string annotation_of(const std::string& name, int size, const std::vector<Object>& objects,
                          const std::vector<std::string>& categories) {
  pugi::xml_document document;
  pugi::xml_node root = document.append_child("annotation");
  const auto add = [](pugi::xml_node to, const char* element, const auto& value) {
    to.append_child(element).text().set(value);
  };
  add(root, "filename", (name + ".png").c_str());
  pugi::xml_node extents = root.append_child("size");
  add(extents, "width", size);
  add(extents, "height", size);
  add(extents, "depth", 1);
  for (const Object& object : objects) {
    pugi::xml_node node = root.append_child("object");
    add(node, "name", categories.at(static_cast<size_t>(object.category)).c_str());
    add(node, "difficult", 0);
    pugi::xml_node box = node.append_child("bndbox");
    add(box, "xmin", static_cast<int>(object.box.left) + 1);
    add(box, "ymin", static_cast<int>(object.box.top) + 1);
    add(box, "xmax", static_cast<int>(object.box.right));
    add(box, "ymax", static_cast<int>(object.box.bottom));
  }
  std::ostringstream text;
  document.save(text, " ");
  return text.str();
}

}  // namespace

const std::vector<std::string>& fashion_categories() {
  static const std::vector<std::string> names{"t-shirt", "trouser", "pullover", "dress", "coat",
                                              "sandal",  "shirt",   "sneaker",  "bag",   "ankle-boot"};
  return names;
}

void write_detection_world(const std::string& folder, const DataSource& pictures,
                           const std::vector<std::string>& categories, const DetectionWorld& world) {
  check(pictures.test != nullptr, "the detection world needs test pictures");
  for (const char* part : {"JPEGImages", "Annotations", "ImageSets/Main"})
    make_folders(formatted("{}/{}", folder, part));
  uint64_t number = 0;
  const auto write_set = [&](const char* set, const Dataset& source, int canvases) {
    std::string list;
    for (int i = 0; i < canvases; ++i) {
      RandomGenerator random({world.seed, RandomStream::test, ++number});
      const std::string name = formatted("{:06}", number);
      std::vector<Object> objects;
      const Plane canvas = make_canvas(source, world, random, objects);
      write_text_file(formatted("{}/JPEGImages/{}.png", folder, name), png_of(canvas));
      write_text_file(formatted("{}/Annotations/{}.xml", folder, name),
                      annotation_of(name, world.size, objects, categories));
      list += name + "\n";
    }
    write_text_file(formatted("{}/ImageSets/Main/{}.txt", folder, set), list);
  };
  write_set("trainval", *pictures.train, world.train);
  write_set("test", *pictures.test, world.test);
}

}  // namespace la
