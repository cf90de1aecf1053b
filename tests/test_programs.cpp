// The programs, as a user calls them, on a small folder of pictures of every format, some of
// which are damaged.
#include <doctest/doctest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "data/decode.h"
#include "tensor/format.h"
#include "tensor/io/npy.h"
#include "tests/called_program.h"
#include "tests/own_picture.h"
#include "tests/picture_files.h"
#include "tests/temporary_folder.h"

using namespace la;
namespace fs = std::filesystem;

namespace {

void make_file(const fs::path& path, const std::string& bytes) {
  fs::create_directories(path.parent_path());
  write_bytes(path, bytes);
}

/// Pictures in two classes, one dark and one bright, for training and for testing; two of the training
/// pictures are bad. Returns how many can be read of those for training.
int64_t make_pictures(const TemporaryFolder& folder) {
  int64_t good = 0;
  for (const char* part : {"train", "val"})
    for (const int c : {0, 1}) {
      const fs::path place = folder.file(formatted("{}/{}", part, c == 0 ? "dark ones" : "h\xc3\xa4lle"));
      const auto picture = [&](int height, int width, int channels, uint64_t seed) {
        OwnPicture own(height, width, channels, seed + (std::string(part) == "val" ? 100 : 0));
        for (uint8_t& pixel : own.pixels) pixel = static_cast<uint8_t>(pixel / 2 + 127 * c);
        return own;
      };
      const OwnPicture rgb = picture(30, 40, 3, 1), grey = picture(40, 30, 1, 2),
                       inks = picture(28, 28, 4, 3), tiny = picture(1, 1, 3, 4),
                       flat = picture(20, 3000, 3, 5);
      const std::vector<std::pair<const char*, std::string>> files{
          {"rgb.jpg", jpeg_bytes(rgb.picture)},
          {"turned.JPG", jpeg_bytes(rgb.picture, {.orientation = 6})},
          {"progressive.jpeg", jpeg_bytes(rgb.picture, {.progressive = true})},
          {"grey.jpg", jpeg_bytes(grey.picture)},
          {"inks.jpg", jpeg_bytes(inks.picture)},
          {"rgb.png", png_bytes(rgb.picture)},
          {"deep.png", png_bytes(rgb.picture, 16)},
          {"palette.png", palette_png_bytes(grey.picture)},
          {"a.bmp", bmp_bytes(rgb.picture)},
          {"a.gif", gif_bytes(grey.picture)},
          {"a.ppm", pnm_bytes(rgb.picture)},
          {"tiny.png", png_bytes(tiny.picture)},
          {"deep/er/flat.jpg", jpeg_bytes(flat.picture)}};
      for (const auto& [name, bytes] : files) make_file(place / name, bytes);
      if (std::string(part) == "train") good += static_cast<int64_t>(files.size());
    }
  make_file(folder.file("train/dark ones/text.jpg"), "this is a text");
  const OwnPicture cut(30, 40, 3);
  make_file(folder.file("train/dark ones/cut.jpg"), jpeg_bytes(cut.picture).substr(0, 700));
  fs::create_directories(folder.file("train/empty"));
  make_file(folder.file("train/read me.txt"), "no picture");
  return good;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

std::string replaced(std::string text, const std::string& part, const std::string& other) {
  return text.replace(text.find(part), part.size(), other);
}

}  // namespace

TEST_CASE("from a folder of pictures to embeddings, accuracies, similar pictures and an ONNX model") {
  const TemporaryFolder folder, work;
  const int64_t good = make_pictures(folder);
  const std::string run = work.file("run"), train_folder = folder.file("train");
  const std::string settings = formatted(
      "la_train --data {} --network resnet20 --image-size 24 --dim 16 --head linear-bn --batch 8 --epochs 2 "
      "--warm-start-epochs 1 --clusters 2 --background 8 --ir-loss softmax --bank-init forward --device cpu "
      "--threads 2 --loader-threads 2",
      folder.path());

  const Called too_many = call(settings + " --max-bad 0 --run " + work.file("stopped"));
  CHECK(too_many.status == 1);
  CHECK(too_many.says("no picture may be bad (--max-bad 0)"));

  const Called plan = call(settings + " --max-bad 0.1 --dry-run --run " + run);
  CHECK_MESSAGE(plan.status == 0, plan.output);
  CHECK(plan.says("steps      3 an epoch, 6 in all"));
  CHECK(plan.says("an epoch of LA: about"));
  CHECK_FALSE(fs::exists(run));

  const Called trained = call(settings + " --max-bad 0.1 --keep-every '2 steps' --run " + run);
  CHECK_MESSAGE(trained.status == 0, trained.output);
  for (const char* bad : {"text.jpg: it is no picture", "cut.jpg: "}) CHECK(trained.says(bad));
  CHECK(trained.says("28 picture files, 2 classes for training, 26 picture files, 2 classes for testing"));
  CHECK(trained.says("done in"));
  CHECK(fs::exists(run + "/pictures-train.txt"));
  for (const char* kept : {"00000-000000000", "00000-000000002", "00001-000000004", "00002-000000006"})
    CHECK(fs::exists(formatted("{}/model-{}.safetensors", run, kept)));
  const auto embed_with = [&](const char* file, const char* out) {
    const Called called = call(formatted("la_embed {}{} '{}/dark ones/rgb.png' --out {} --device cpu", run,
                                         file, train_folder, work.file(out)));
    CHECK_MESSAGE(called.status == 0, called.output);
    return read_npy(work.file(out)).to_vector<float>();
  };
  const auto at_end = embed_with("", "end.npy");
  CHECK(embed_with("/model-00002-000000006.safetensors", "kept.npy") == at_end);
  CHECK(embed_with("/model-00000-000000000.safetensors", "untrained.npy") != at_end);

  const Called embedded =
      call(formatted("la_embed {} {} --out {} --layers stem,layer2.0.conv1 --whole --max-bad 0.1 --device "
                     "cpu --similar '{}/dark "
                     "ones/rgb.png' --top 30 --sheet {}",
                     run, train_folder, work.file("v.npy"), train_folder, work.file("sheet.png")));
  CHECK_MESSAGE(embedded.status == 0, embedded.output);
  const Tensor v = read_npy(work.file("v.npy"));
  CHECK(v.shape() == Shape{good, 16});
  CHECK(read_npy(work.file("v.stem.npy")).shape() == Shape{good, 24, 24, 16});
  CHECK(read_npy(work.file("v.layer2.0.conv1.npy")).shape() == Shape{good, 12, 12, 32});
  const std::vector<std::string> names = lines_of(read_file(work.file("v.txt")));
  REQUIRE(names.size() == static_cast<size_t>(good));
  CHECK(std::set(names.begin(), names.end()).size() == names.size());
  for (int64_t i = 0; i < good; ++i) {
    double squares = 0;
    for (int64_t d = 0; d < 16; ++d) squares += std::pow(v.data<float>()[i * 16 + d], 2);
    CHECK(squares == doctest::Approx(1.0).epsilon(1e-5));
  }
  CHECK_FALSE(embedded.says(formatted("{}/dark ones/rgb.png", train_folder)));  // the query itself
  CHECK_MESSAGE(embedded.says(formatted("{}/dark ones/", train_folder)), embedded.output);
  const Picture sheet = read_picture(work.file("sheet.png"));
  CHECK(sheet.channels == 3);
  constexpr int row = 8 + 160 + 24, below_picture = 8 + 160 + 5;
  CHECK(sheet.height % row == 8);
  bool written = false;  // the first caption
  for (int y = below_picture; y < row; ++y)
    for (int x = 8; x < 168; ++x) written = written || sheet.pixels[(y * sheet.width + x) * 3] == 0;
  CHECK(written);

  // A list of stimuli keeps its order, and may name one twice; without a crop all of a picture is seen.
  write_text_file(work.file("list.txt"), "dark ones/rgb.png\r\n" + names[1] + "\n\ndark ones/rgb.png\n");
  const auto listed = [&](const std::string& more, const char* out) {
    return call(formatted("la_embed {} {} --list {} --out {} --max-bad 0.1 --device cpu {}", run,
                          train_folder, work.file("list.txt"), work.file(out), more));
  };
  const Called stimuli = listed("", "stimuli.npy");
  CHECK_MESSAGE(stimuli.status == 0, stimuli.output);
  const auto rows = read_npy(work.file("stimuli.npy")).to_vector<float>();
  REQUIRE(rows.size() == 3 * 16);
  CHECK(std::equal(rows.begin(), rows.begin() + 16, rows.begin() + 32));
  CHECK(lines_of(read_file(work.file("stimuli.txt"))).size() == 3);
  for (size_t d = 0; d < 16; ++d) CHECK(std::abs(rows[16 + d] - v.data<float>()[16 + d]) < 1e-5f);
  CHECK(listed("--no-crop", "whole.npy").status == 0);
  CHECK(read_npy(work.file("whole.npy")).to_vector<float>() != rows);
  write_text_file(work.file("list.txt"), names[1] + "\nabsent.png\n");
  CHECK(listed("", "none.npy").says("list.txt: line 2: there is no picture absent.png in"));

  // Principal components of maps, and the maps' coordinates along them.
  const auto of_maps = [&](const std::string& more, const char* out) {
    const Called called =
        call(formatted("la_embed {} {} --layers stem --whole --out {} --max-bad 0.1 --device cpu {}", run,
                       train_folder, work.file(out), more));
    CHECK_MESSAGE(called.status == 0, called.output);
  };
  of_maps("--pca 5", "p.npy");
  of_maps("--project " + work.file("p"), "q.npy");
  const Tensor maps = read_npy(work.file("v.stem.npy")).reshape({good, 24 * 24 * 16});
  const Tensor coordinates = read_npy(work.file("q.stem.npy"));
  REQUIRE(coordinates.shape() == Shape{good, 5});
  CHECK_FALSE(fs::exists(work.file("p.stem.npy")));
  double kept = 0, all = 0;  // of the variance
  for (int64_t i = 0; i < good; ++i)
    for (int64_t k = 0; k < 5; ++k) kept += std::pow(coordinates.data<float>()[i * 5 + k], 2);
  for (int64_t d = 0; d < maps.size(1); ++d) {
    double mean = 0;
    for (int64_t i = 0; i < good; ++i)
      mean += maps.data<float>()[i * maps.size(1) + d] / static_cast<double>(good);
    for (int64_t i = 0; i < good; ++i) all += std::pow(maps.data<float>()[i * maps.size(1) + d] - mean, 2);
  }
  CHECK(kept > 0.5 * all);  // of 28 pictures of noise, shades and lines
  CHECK(kept < all);

  const Called repeated =
      call(formatted("la_embed {} {} --out {} --device cpu", run, train_folder, work.file("v.npy")));
  CHECK(repeated.status == 1);
  CHECK(repeated.says("v.npy: exists already; --force overwrites it"));

  const Called one = call(formatted("la_embed {} '{}/dark ones/rgb.png' --out {} --device cpu", run,
                                    train_folder, work.file("one.npy")));
  CHECK_MESSAGE(one.status == 0, one.output);
  CHECK(read_npy(work.file("one.npy")).shape() == Shape{1, 16});

  // What is wrong is said before anything is computed.
  for (const std::string& wrong :
       {formatted("la_embed {} {} --max-bad 0.1 --device cpu --similar none.png", run, train_folder),
        formatted("la_eval {} --data {} --max-bad 0.1 --device cpu --stages conv9", run, folder.path())}) {
    const Called refused = call(wrong);
    CHECK(refused.status == 1);
    CHECK_MESSAGE(std::count(refused.output.begin(), refused.output.end(), '\n') == 1, refused.output);
    CHECK((refused.says("none.png: it cannot be read") ||
           refused.says("no layer \"conv9\"; its stages are stem, layer1, layer2, layer3; besides, pixels "
                        "and embedding")));
  }

  const Called evaluated =
      call(formatted("la_eval {} --data {} --epochs 3 --batch 8 --ten-crop --low-shot 50,100 --max-bad 0.1 "
                     "--device cpu --out {}",
                     run, folder.path(), work.file("eval.json")));
  CHECK_MESSAGE(evaluated.status == 0, evaluated.output);
  const auto results = nlohmann::json::parse(read_file(work.file("eval.json")));
  REQUIRE(results["evaluations"].size() == 1);
  const nlohmann::json& json = results["evaluations"][0];
  CHECK(json["knn"].size() == 2);
  REQUIRE(json["readout"].size() == 12);  // two shares of the labels; pixels, four stages, embedding
  CHECK(json["readout"][0]["stage"] == "pixels");
  CHECK(json["readout"][7]["stage"] == "stem");
  CHECK(json["readout"][11]["stage"] == "embedding");
  for (const auto& line : json["readout"])
    for (const char* value : {"top1", "top5", "ten_crop_top1"}) {
      CHECK(line[value] >= 0.0);
      CHECK(line[value] <= 1.0);
    }

  // A second time it adds to the same file, and takes the place of what was there.
  const std::string again_by_neighbors =
      formatted("la_eval {} --data {} --knn-only --max-bad 0.1 --device cpu --out {}", run, folder.path(),
                work.file("eval.json"));
  CHECK(call(again_by_neighbors).status == 0);
  const auto added = nlohmann::json::parse(read_file(work.file("eval.json")));
  REQUIRE(added["evaluations"].size() == 1);
  CHECK(added["evaluations"][0]["knn"] == json["knn"]);
  CHECK(added["evaluations"][0]["readout"] == json["readout"]);
  const Called by_bank = call(again_by_neighbors + " --bank");
  CHECK_MESSAGE(by_bank.status == 0, by_bank.output);
  CHECK(by_bank.says("nearest neighbors (vectors of the memory bank"));
  CHECK(nlohmann::json::parse(read_file(work.file("eval.json")))["evaluations"][0]["knn"].size() == 4);
  write_text_file(work.file("eval.json"), "{}");
  const Called other = call(again_by_neighbors);
  CHECK(other.status == 1);
  CHECK(other.says("exists already, and has no results on"));
  CHECK(call(again_by_neighbors + " --force").status == 0);

  const Called exported =
      call(formatted("la_export {} --onnx {} --torch {}", run, work.file("m.onnx"), work.file("torch")));
  CHECK_MESSAGE(exported.status == 0, exported.output);
  CHECK(fs::file_size(work.file("m.onnx")) > 1'000'000);
  CHECK(fs::file_size(work.file("torch/weights.safetensors")) > 1'000'000);
  const auto network = nlohmann::json::parse(read_file(work.file("torch/network.json")));
  CHECK(network["calls"].back()[0] == "l2_normalize");
  CHECK(call(formatted("la_export {} --torch {}", run, work.file("torch"))).says("--force overwrites it"));

  // Another network begins with what fits of the weights.
  const fs::path checkpoint = run + "/checkpoint-00002-000000006.safetensors";
  const std::string again = replaced(settings, "--dim 16", "--dim 8") + " --max-bad 0.1 --run " +
                            work.file("again") + " --init " + checkpoint.string();
  const Called wrong = call(again);
  CHECK(wrong.status == 1);
  CHECK_MESSAGE(wrong.says("tensor \"fc.0.weight\" is f32 [16, 64]; expected f32 [8, 64]"), wrong.output);
  CHECK_FALSE(fs::exists(work.file("again")));
  const Called begun = call(again + " --init-without fc.");
  CHECK_MESSAGE(begun.status == 0, begun.output);
  CHECK_MESSAGE(begun.says("not in the file, so as initialized: fc.0.weight"), begun.output);
}

TEST_CASE("wrong calls of the programs are one line, and a status of 1 or 2") {
  const TemporaryFolder folder;
  const std::string here = folder.path();
  struct Case {
    std::string command;
    int status;
    std::string says;
  };
  for (const Case& c :
       {Case{"la_embed", 2, "checkpoint is missing: a run's folder"},
        Case{"la_embed " + here + " " + here, 2, "--out FILE.npy"},
        Case{"la_embed " + here + " " + here + " --out x.npy --device cpu", 1, here + ": has no checkpoint"},
        Case{"la_import", 2, "file is missing: of torch.save"},
        Case{"la_import x.pth", 2, "--out FILE.safetensors is missing"},
        Case{"la_import x.pth --out y.pth", 2, "--out"},
        Case{"la_import " + here + "/absent.pth --out " + here + "/y.safetensors", 1, "absent.pth"},
        Case{"la_import tests/fixtures/torch_old.pth --out " + here + "/y.safetensors", 1,
             "torch_old.pth: has no network with torchvision's names"},
        Case{"la_import tests/fixtures/coco.json --out " + here + "/y.safetensors", 1,
             "coco.json: is no file of torch.save"},
        Case{"la_import tests/fixtures/tensorflow.index --out " + here + "/y.safetensors", 1,
             "tensorflow.index: has no network"},
        Case{"la_eval " + here, 2, "--data is missing: labeled pictures"},
        Case{"la_eval " + here + " --data x --nonsense", 2, "--nonsense"},
        Case{"la_eval " + here + " --data x --temprature 1", 2, "did you mean 'temperature'?"},
        Case{"la_eval " + here + " --data x --tau 0", 2, "--temperature: must be greater than 0, got 0"},
        Case{"la_eval " + here + " --data x --drops 3,x", 2,
             "--learning-rate-drops: expected a number, got 'x'"},
        Case{"la_eval " + here + " --data x --preset resnett", 2, "did you mean 'resnet'?"},
        Case{"la_embed " + here + " " + here + " --out v.txt --device cpu", 2, "a name that ends in .npy"},
        Case{"la_embed " + here + " " + here + " --out " + here + "/no/v.npy --device cpu", 1,
             "has no checkpoint"},
        Case{"la_export " + here + "/none --onnx x.onnx", 1, here + "/none"},
        Case{"la_export " + here + "/none --onnx x", 2, "a name that ends in .onnx"},
        Case{"la_export " + here + "/none --onnx " + here + "/no/x.onnx", 1, "there is no folder"},
        Case{"la_export " + here, 2, "nothing to do: --onnx FILE and --torch FOLDER"}}) {
    CAPTURE(c.command);
    const Called called = call(c.command);
    CHECK(called.status == c.status);
    CHECK_MESSAGE(called.says(c.says), called.output);
    CHECK(std::count(called.output.begin(), called.output.end(), '\n') == 1);
  }
}
