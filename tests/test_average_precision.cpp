// Detection data in the layouts of VOC and COCO, and average precision beside plain loops and pycocotools.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "data/detection.h"
#include "evaluation/average_precision.h"
#include "tensor/format.h"
#include "tensor/io/files.h"
#include "tensor/random.h"
#include "tests/temporary_folder.h"

using namespace la;

namespace {

struct VocFolder {
  TemporaryFolder folder;

  VocFolder() {
    for (const char* part : {"Annotations", "ImageSets/Main", "JPEGImages"})
      std::filesystem::create_directories(folder.file(part));
  }
  void add(const std::string& name, const std::string& objects) {
    write(formatted("JPEGImages/{}.jpg", name), "");
    write(
        formatted("Annotations/{}.xml", name),
        formatted("<annotation><size><width>100</width><height>80</height></size>{}</annotation>", objects));
    names_ += name + "\n";
    write("ImageSets/Main/test.txt", names_);
  }
  void write(const std::string& name, const std::string& text) { std::ofstream(folder.file(name)) << text; }
  DetectionData read(const std::vector<std::string>& categories = {}) const {
    return read_voc(folder.path(), "test", categories);
  }

 private:
  std::string names_;
};

std::string object(const char* name, int left, int top, int right, int bottom, const char* more = "") {
  return formatted(
      "<object><name>{}</name>{}<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></"
      "bndbox></object>",
      name, more, left, top, right, bottom);
}

std::string error_of(const VocFolder& voc) {
  try {
    voc.read();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("VOC: boxes, difficult objects, other categories, empty pictures") {
  VocFolder voc;
  voc.add("000005", object("dog", 1, 1, 100, 80) + object("cat", 11, 21, 30, 60, "<difficult>1</difficult>"));
  voc.add("000007", "");
  voc.add("000009", object("dog", 91, 71, 120, 90));
  const DetectionData data = voc.read();
  CHECK(data.categories == voc_categories());
  CHECK(std::is_sorted(data.categories.begin(), data.categories.end()));
  REQUIRE(data.pictures.size() == 3);
  CHECK(data.pictures[0].name == "000005");
  CHECK(data.pictures[0].file == voc.folder.path() + "/JPEGImages/000005.jpg");
  CHECK(data.pictures[0].width == 100);
  REQUIRE(data.pictures[0].objects.size() == 2);
  CHECK(data.pictures[0].objects[0].box == Box{0, 0, 100, 80});  // all of the picture
  CHECK(data.categories[static_cast<size_t>(data.pictures[0].objects[0].category)] == "dog");
  CHECK_FALSE(data.pictures[0].objects[0].difficult);
  CHECK(data.pictures[0].objects[1].difficult);
  CHECK(data.pictures[1].objects.empty());
  CHECK(data.pictures[2].objects[0].box == Box{90, 70, 100, 80});
  const std::string list = voc.folder.path() + "/ImageSets/Main/test.txt: ";
  CHECK(data.notes == std::vector<std::string>{list + "1 box reaches beyond the picture, cut at its edge",
                                               list + "1 picture has no object"});
  const DetectionData dogs = voc.read({"dog"});
  CHECK(dogs.notes[1] == list + "1 object is of another category, and left out");

  voc.add("000010", object("ankle boot", 1, 1, 10, 10));
  CHECK(voc.read().categories == std::vector<std::string>{"ankle boot", "cat", "dog"});
}

TEST_CASE("VOC: what is wrong is one line that names the file") {
  const auto error_with = [](const std::string& objects) {
    VocFolder voc;
    voc.add("1", objects);
    return error_of(voc);
  };
  CHECK(error_with(object("dog", 1, 1, 10, 10)) == "");
  CHECK(error_with(object("dog", 11, 1, 10, 10)).find("1.xml: the box 11, 1 to 10, 10 has no area") !=
        std::string::npos);
  CHECK(error_with(object("", 1, 1, 10, 10)).find("1.xml: an object has no <name>") != std::string::npos);
  CHECK(error_with("<object><name>dog</name></object>").find("1.xml: an object has no <bndbox>") !=
        std::string::npos);
  CHECK(error_with("<object><name>dog</name><bndbox><xmin>x</xmin></bndbox></object>")
            .find("<xmin> is \"x\", expected a number") != std::string::npos);
  VocFolder cut;
  cut.add("1", object("dog", 1, 1, 10, 10));
  cut.write("Annotations/1.xml", "<annotation><size><width>100</width>");
  CHECK(error_of(cut).find("1.xml: is no whole XML") != std::string::npos);
  std::filesystem::remove(cut.folder.file("Annotations/1.xml"));
  CHECK(error_of(cut).find("Annotations/1.xml") != std::string::npos);
  VocFolder gone;
  gone.add("1", object("dog", 1, 1, 10, 10));
  std::filesystem::remove(gone.folder.file("JPEGImages/1.jpg"));
  CHECK(error_of(gone).find("there is no JPEGImages/1.jpg") != std::string::npos);
  VocFolder none;
  none.write("ImageSets/Main/test.txt", "\n");
  CHECK(error_of(none).find("test.txt: names no picture") != std::string::npos);
}

namespace {

struct Scene {
  DetectionData data{.categories = {"a", "b", "absent"}};
  std::vector<Detection> detections;
};

/// Random boxes, difficult ones among them, detections near and far, many scores equal.
Scene random_scene(uint64_t seed) {
  Scene scene;
  RandomGenerator random({.seed = seed});
  const auto box = [&] {
    const float left = random.uniform(0, 60), top = random.uniform(0, 60);
    return Box{left, top, left + random.uniform(10, 40), top + random.uniform(10, 40)};
  };
  const auto score = [&] { return static_cast<float>(random.below(8)) / 8; };
  for (int64_t p = 0; p < 9; ++p) {
    AnnotatedPicture& picture = scene.data.pictures.emplace_back();
    for (uint32_t i = random.below(4); i > 0; --i) {
      const int category = static_cast<int>(random.below(2));
      picture.objects.push_back({.box = box(), .category = category, .difficult = random.below(5) == 0});
      for (uint32_t d = random.below(4); d > 0; --d) {
        Box near = picture.objects.back().box;
        near.left += random.uniform(-6, 6);
        near.bottom += random.uniform(-6, 6);
        scene.detections.push_back({p, category, score(), near});
      }
    }
    scene.detections.push_back({p, static_cast<int>(random.below(3)), score(), box()});
  }
  return scene;
}

double overlap_of(const Box& a, const Box& b) {
  const double width = std::min<double>(a.right, b.right) - std::max<double>(a.left, b.left);
  const double height = std::min<double>(a.bottom, b.bottom) - std::max<double>(a.top, b.top);
  if (width <= 0 || height <= 0) return 0;
  const auto area = [](const Box& x) {
    return (static_cast<double>(x.right) - x.left) * (static_cast<double>(x.bottom) - x.top);
  };
  return width * height / (area(a) + area(b) - width * height);
}

/// By the definition: the first `count` detections of a category are right, wrong, or do not count; all is found anew
/// for each count.
std::pair<int, int> right_and_wrong(const Scene& scene, int category, size_t count) {
  std::vector<Detection> sorted;
  for (const Detection& d : scene.detections)
    if (d.category == category) sorted.push_back(d);
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.score > b.score; });
  int right = 0, wrong = 0;
  std::vector<const Object*> found;
  for (size_t i = 0; i < std::min(count, sorted.size()); ++i) {
    const Object* nearest = nullptr;
    for (const Object& o : scene.data.pictures[static_cast<size_t>(sorted[i].picture)].objects)
      if (o.category == category &&
          (nearest == nullptr || overlap_of(sorted[i].box, o.box) > overlap_of(sorted[i].box, nearest->box)))
        nearest = &o;
    if (nearest == nullptr || overlap_of(sorted[i].box, nearest->box) <= 0.5) {
      ++wrong;
    } else if (!nearest->difficult) {
      const bool again = std::find(found.begin(), found.end(), nearest) != found.end();
      again ? ++wrong : ++right;
      found.push_back(nearest);
    }
  }
  return {right, wrong};
}

}  // namespace

TEST_CASE("average precision of VOC is what its definition says") {
  int measured = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const Scene scene = random_scene(seed);
    for (int category = 0; category < 3; ++category) {
      int to_find = 0;
      for (const auto& picture : scene.data.pictures)
        for (const Object& o : picture.objects) to_find += o.category == category && !o.difficult;
      // best[r]: the largest precision of any prefix that finds at least r objects.
      std::vector<double> best(static_cast<size_t>(to_find) + 1);
      for (size_t count = 1; count <= scene.detections.size(); ++count) {
        const auto [right, wrong] = right_and_wrong(scene, category, count);
        if (right + wrong == 0) continue;
        for (int r = 0; r <= right; ++r)
          best[static_cast<size_t>(r)] =
              std::max(best[static_cast<size_t>(r)], static_cast<double>(right) / (right + wrong));
      }
      const auto eleven = voc_average_precision(scene.detections, scene.data, ApKind::eleven_points);
      const auto area = voc_average_precision(scene.detections, scene.data, ApKind::area);
      const auto c = static_cast<size_t>(category);
      REQUIRE(eleven.by_category[c].has_value() == (to_find > 0));
      if (to_find == 0) continue;
      ++measured;
      double points = 0, sum = 0;
      for (int i = 0; i <= 10; ++i) {
        int needed = 0;  // objects for a recall of at least i / 10
        while (10 * needed < i * to_find) ++needed;
        points += best[static_cast<size_t>(needed)] / 11;
      }
      for (int r = 1; r <= to_find; ++r) sum += best[static_cast<size_t>(r)] / to_find;
      CHECK(*eleven.by_category[c] == doctest::Approx(points).epsilon(1e-12));
      CHECK(*area.by_category[c] == doctest::Approx(sum).epsilon(1e-12));
    }
  }
  CHECK(measured > 30);
}

TEST_CASE("average precision of COCO is that of pycocotools, and its files are read") {
  const auto fixture = nlohmann::json::parse(read_file("tests/fixtures/coco.json"));
  const TemporaryFolder folder;
  write_text_file(folder.file("truth.json"), fixture["truth"].dump());
  const DetectionData data = read_coco(folder.file("truth.json"), "pictures");
  CHECK(data.categories == std::vector<std::string>{"one", "two", "three", "absent"});
  CHECK(data.pictures.size() == 14);
  CHECK(data.pictures[2].file == "pictures/2.png");
  std::vector<Detection> detections;
  for (const auto& d : fixture["detections"]) {
    const auto box = d["bbox"].get<std::vector<float>>();
    const auto id =
        std::find(data.category_ids.begin(), data.category_ids.end(), d["category_id"].get<int64_t>());
    detections.push_back({.picture = d["image_id"].get<int64_t>() - 100,
                          .category = static_cast<int>(id - data.category_ids.begin()),
                          .score = d["score"],
                          .box = {box[0], box[1], box[0] + box[2], box[1] + box[3]}});
  }
  CHECK(coco_average_precision(detections, data) ==
        doctest::Approx(fixture["expected"]["AP"].get<double>()).epsilon(1e-9));
  CHECK(coco_average_precision(detections, data, 0.5).mean ==
        doctest::Approx(fixture["expected"]["AP50"].get<double>()).epsilon(1e-9));
  CHECK(coco_average_precision(detections, data, 0.75).mean ==
        doctest::Approx(fixture["expected"]["AP75"].get<double>()).epsilon(1e-9));
  CHECK_FALSE(coco_average_precision(detections, data, 0.5).by_category[3].has_value());

  write_coco_results(folder.file("results.json"), detections, data);
  const auto written = nlohmann::json::parse(read_file(folder.file("results.json")));
  REQUIRE(written.size() == detections.size());
  for (size_t i = 0; i < written.size(); ++i)
    for (const char* key : {"image_id", "category_id", "bbox", "score"})
      CHECK(written[i][key] == fixture["detections"][i][key]);

  for (const auto& [change, message] : {std::pair{R"({"images": 3})", "has no \"categories\""},
                                        {R"([])", "is no whole JSON object"},
                                        {R"({"categories": [{"id": "x"}]})", "\"id\" is \"x\""},
                                        {R"({"categories": [], "images": []})", "names no picture"}}) {
    write_text_file(folder.file("wrong.json"), change);
    CHECK_THROWS_WITH_AS(read_coco(folder.file("wrong.json"), ""), doctest::Contains(message), Error);
  }
}

TEST_CASE("results of VOC are written as its programs read them") {
  const TemporaryFolder folder;
  DetectionData data{.categories = {"cat", "dog"}};
  data.pictures.push_back({.name = "000012", .file = ""});
  write_voc_results(folder.path(), "test", {{0, 1, 0.25f, {0, 1.5f, 10, 20}}}, data);
  CHECK(read_file(folder.file("comp4_det_test_cat.txt")).empty());
  CHECK(read_file(folder.file("comp4_det_test_dog.txt")) == "000012 0.250000 1.0 2.5 10.0 20.0\n");
}
