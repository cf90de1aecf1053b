// la_detect, as a user calls it: from a network of la_train to a detector, its accuracy, and what it finds.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "data/detection.h"
#include "tensor/io/files.h"
#include "tests/called_program.h"
#include "tests/detection_world.h"
#include "tests/idx_files.h"
#include "tests/temporary_folder.h"

using namespace la;
namespace fs = std::filesystem;

namespace {

/// Bright and dark squares of 16 pixels, as files of MNIST.
void write_squares(const std::string& folder) {
  fs::create_directories(folder);
  std::vector<uint8_t> pixels, labels;
  for (int i = 0; i < 16; ++i) {
    for (int p = 0; p < 256; ++p)
      pixels.push_back(static_cast<uint8_t>(i % 2 == 0 ? 200 + p % 50 : 60 + p % 40));
    labels.push_back(static_cast<uint8_t>(i % 2));
  }
  for (const char* part : {"train", "t10k"}) write_idx(folder, part, 16, 16, pixels, labels);
}

std::vector<nlohmann::json> lines_of(const std::string& text) {
  std::vector<nlohmann::json> lines;
  for (size_t begin = 0, end; (end = text.find('\n', begin)) != text.npos; begin = end + 1)
    lines.push_back(nlohmann::json::parse(text.substr(begin, end - begin)));
  return lines;
}

}  // namespace

TEST_CASE("from a network to a detector, its accuracy, and objects in other pictures") {
  const TemporaryFolder folder;
  const std::string squares = folder.file("squares"), world = folder.file("VOC1"),
                    network = folder.file("network"), run = folder.file("run");
  write_squares(squares);
  write_detection_world(
      world, open_data({.path = squares}), {"bright", "dark"},
      {.train = 4, .test = 3, .size = 48, .most_objects = 2, .smallest = 0.9f, .largest = 1.1f});
  const Called trained =
      call(formatted("la_train --data {} --network resnet8-wide --dim 8 --batch 8 --epochs 1 "
                     "--warm-start-epochs 1 --ir-loss softmax "
                     "--clusters 2 --background 8 --device cpu --threads 1 --run {}",
                     squares, network));
  REQUIRE_MESSAGE(trained.status == 0, trained.output);

  const std::string settings = "--device cpu --threads 1 --proposals 20";
  const Called learnt =
      call(formatted("la_detect {} --data {} --short-side 48 --long-side 48 --anchor-scales 4 "
                     "--anchor-ratios 1 --rpn-channels 8 "
                     "--regions 8 --train-proposals 30 --steps 6 --save-every 3 --run {} {}",
                     network, world, run, settings));
  REQUIRE_MESSAGE(learnt.status == 0, learnt.output);
  for (const char* line : {"4 pictures, 4 with objects; 2 categories", "resnet8-wide, weights of ",
                           "step 6/6 loss", "VOC1 test: 3 pictures", "bright", "COCO: AP"})
    CHECK_MESSAGE(learnt.says(line), learnt.output);
  for (const char* file : {"results.json", "comp4_det_test_dark.txt", "pictures.png"})
    CHECK(fs::exists(run + "/results-test/" + file));
  const auto results = nlohmann::json::parse(read_file(run + "/results-test/results.json"));
  CHECK(results["measures"]["categories"].size() == 2);

  SUBCASE("a run goes on where it was, to the same bytes") {
    const std::string last = run + "/checkpoint-00000-000000006.safetensors", whole = read_file(last);
    fs::remove(last);
    const Called resumed = call(formatted("la_detect --resume --run {}", run));
    CHECK_MESSAGE(resumed.status == 0, resumed.output);
    CHECK(resumed.says("3 steps are done"));
    CHECK(read_file(last) == whole);
    const Called other = call(formatted("la_detect --resume --run {} --steps 9", run));
    CHECK(other.status == 2);
    CHECK(other.says("--steps 9: the run has 6"));
  }
  SUBCASE("a detector is measured again, with the same result") {
    const Called measured = call(formatted("la_detect {} --evaluate --data {} --results {} {}", run, world,
                                           folder.file("again"), settings));
    CHECK_MESSAGE(measured.status == 0, measured.output);
    const auto again = nlohmann::json::parse(read_file(folder.file("again/results.json")));
    CHECK(again["measures"] == results["measures"]);
  }
  SUBCASE("a checkpoint in the working folder is measured there") {
    const fs::path before = fs::current_path();
    const char* const programs = std::getenv("LA_PROGRAMS");
    const std::string program = (before / (programs != nullptr ? programs : ".") / "la_detect").string();
    const int status =
        std::system(formatted("cd {} && {} checkpoint-00000-000000006.safetensors --evaluate --data {} "
                              "--test-set trainval {} > log 2>&1",
                              run, program, world, settings)
                        .c_str());
    CHECK(status == 0);
    CHECK(fs::exists(run + "/results-trainval/results.json"));
  }
  SUBCASE("pictures and boxes come from COCO's files too") {
    using nlohmann::json;
    json coco{{"images", json::array()}, {"annotations", json::array()}, {"categories", json::array()}};
    const DetectionData data = read_voc(world, "test", {"bright", "dark"});
    for (int64_t c = 0; c < 2; ++c)
      coco["categories"].push_back({{"id", 5 + c}, {"name", data.categories[static_cast<size_t>(c)]}});
    for (const AnnotatedPicture& picture : data.pictures) {
      const int64_t id = std::stoll(picture.name);
      coco["images"].push_back(
          {{"id", id}, {"file_name", picture.name + ".png"}, {"width", 48}, {"height", 48}});
      for (const Object& o : picture.objects)
        coco["annotations"].push_back({{"id", coco["annotations"].size() + 1},
                                       {"image_id", id},
                                       {"category_id", 5 + o.category},
                                       {"iscrowd", 0},
                                       {"area", o.box.area()},
                                       {"bbox", {o.box.left, o.box.top, o.box.width(), o.box.height()}}});
    }
    const std::string file = folder.file("boxes.json");
    write_text_file(file, coco.dump());
    const Called measured =
        call(formatted("la_detect {} --evaluate --data {}/JPEGImages --test-set {} --results {} {}", run,
                       world, file, folder.file("of-coco"), settings));
    CHECK_MESSAGE(measured.status == 0, measured.output);
    CHECK(nlohmann::json::parse(read_file(folder.file("of-coco/results.json")))["measures"] ==
          results["measures"]);
    CHECK(fs::exists(folder.file("of-coco/coco-results.json")));
  }
  SUBCASE("objects are found in a folder, and a bad picture is passed over") {
    const std::string pictures = world + "/JPEGImages", found = folder.file("found.jsonl");
    write_bytes(pictures + "/zzz.png", "no picture");
    const Called detected =
        call(formatted("la_detect {} --detect {} --out {} --drawn {} --least-score 0 --most 3 {}", run,
                       pictures, found, folder.file("drawn"), settings));
    CHECK_MESSAGE(detected.status == 0, detected.output);
    CHECK(detected.says("zzz.png: it is no picture"));
    const auto lines = lines_of(read_file(found));
    REQUIRE(lines.size() == 7);
    for (const auto& line : lines) {
      CHECK(line["width"] == 48);
      CHECK(line["objects"].size() == 3);
      for (const auto& object : line["objects"]) {
        CHECK((object["category"] == "bright" || object["category"] == "dark"));
        CHECK(object["box"][0] >= 0);
        CHECK(object["box"][2] <= 48);
        CHECK(object["box"][0] < object["box"][2]);
      }
    }
    CHECK(fs::exists(folder.file("drawn/000001.png.png")));
  }
  SUBCASE("what is wrong is said in a line") {
    const auto refuses = [&](const std::string& arguments, int status, const std::string& text) {
      const Called called = call("la_detect " + arguments);
      CAPTURE(called.output);
      CHECK(called.status == status);
      CHECK(called.says(text));
      CHECK(std::count(called.output.begin(), called.output.end(), '\n') == 1);
    };
    refuses(formatted("{} --data {}", run, world), 1, "holds a detector: --evaluate");
    refuses(formatted("{} --evaluate --data {}", network, world), 1, "holds no detector");
    refuses(formatted("{} --data {} --train-set none", network, world), 1, "none.txt");
    refuses(network, 2, "--data is required");
    refuses(formatted("--data {}", world), 2, "expected a checkpoint");
    refuses(formatted("{} --detect {}", run, folder.file("absent")), 1, "absent");
    refuses(formatted("{} --data {} --short-side 16 --long-side 16 --anchor-scales 8 --device cpu", network,
                      world),
            1, "the first of 48 x 48 pixels: smaller --anchor-scales are needed");
    refuses(formatted("--resume --run {} --evaluate", run), 2, "--resume goes on with a training");
    refuses(formatted("{} --data {} --run {}", network, world, run), 1, "exists already");
  }
}
