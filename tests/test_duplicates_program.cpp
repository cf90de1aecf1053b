// la_duplicates, as a user calls it: copies that are planted among pictures are found, and little else; the table, the page, and
// what is kept.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>

#include "data/dataset.h"
#include "tensor/format.h"
#include "tensor/io/csv.h"
#include "tensor/io/files.h"
#include "tests/browser.h"
#include "tests/called_program.h"
#include "tests/own_picture.h"
#include "tests/page_checks.h"
#include "tests/picture_files.h"
#include "tests/temporary_folder.h"

using namespace la;
namespace fs = std::filesystem;

namespace {

/// A picture that owns its pixels.
struct Pixels {
  int height, width, channels;
  std::vector<uint8_t> values;

  Pixels(int h, int w, int c) : height(h), width(w), channels(c), values(static_cast<size_t>(h * w * c)) {}
  uint8_t& at(int y, int x, int c) { return values[static_cast<size_t>((y * width + x) * channels + c)]; }
  uint8_t at(int y, int x, int c) const {
    return values[static_cast<size_t>((y * width + x) * channels + c)];
  }
  Picture picture() const { return {values.data(), height, width, channels, nullptr}; }
};

/// Each pixel of a new picture from a place in the old one.
template <class Place>
Pixels rearranged(const Pixels& from, int height, int width, Place place) {
  Pixels result(height, width, from.channels);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      const auto [source_y, source_x] = place(y, x);
      for (int c = 0; c < from.channels; ++c) result.at(y, x, c) = from.at(source_y, source_x, c);
    }
  return result;
}

constexpr int kinds = 5;

/// A copy as a file, by other means than the program's own copies are made.
void write_copy(const std::string& stem, const Pixels& from, int kind, int number) {
  const int h = from.height, w = from.width;
  if (kind == 0) {  // a tenth less, from some corner
    const int top = number % 2 * (h / 10), left = number / 2 % 2 * (w / 10);
    const auto inner =
        rearranged(from, h - h / 10, w - w / 10, [&](int y, int x) { return std::pair(y + top, x + left); });
    write_bytes(stem + "-cropped.png", png_bytes(inner.picture()));
  } else if (kind == 1) {
    const auto mirrored = rearranged(from, h, w, [&](int y, int x) { return std::pair(y, w - 1 - x); });
    write_bytes(stem + "-mirrored.png", png_bytes(mirrored.picture()));
  } else if (kind == 2) {
    const auto doubled =
        rearranged(from, 2 * h, 2 * w, [&](int y, int x) { return std::pair(y / 2, x / 2); });
    write_bytes(stem + "-rescaled.png", png_bytes(doubled.picture()));
  } else if (kind == 3) {
    Pixels darker = from;
    for (uint8_t& value : darker.values)
      value =
          static_cast<uint8_t>(20 + std::lround(200 * std::pow(value / 255.0, number % 2 == 0 ? 0.8 : 1.25)));
    write_bytes(stem + "-recolored.png", png_bytes(darker.picture()));
  } else {
    write_bytes(stem + "-recompressed.jpg", jpeg_bytes(from.picture(), {.quality = 60 + number % 30}));
  }
}

/// Pictures with copies of some of them, each with a name that begins with its original's.
void plant(const std::string& folder, const std::vector<Pixels>& pictures, int copies) {
  fs::create_directories(folder);
  for (size_t i = 0; i < pictures.size(); ++i)
    write_bytes(formatted("{}/{:04}.png", folder, i), png_bytes(pictures[i].picture()));
  for (int copy = 0; copy < copies; ++copy) {
    const size_t i = static_cast<size_t>(copy) * pictures.size() / static_cast<size_t>(copies);
    write_copy(formatted("{}/{:04}", folder, i), pictures[i], copy % kinds, copy / kinds);
  }
}

std::vector<Pixels> fashion_pictures(int64_t count) {
  const DataSource source = open_data({.path = "/usr/share/datasets/fashion-mnist", .limit = count});
  std::vector<Pixels> pictures;
  for (int64_t i = 0; i < count; ++i) {
    const Picture shown = source.train->picture(i);
    pictures.emplace_back(shown.height, shown.width, shown.channels);
    std::copy_n(shown.pixels, pictures.back().values.size(), pictures.back().values.begin());
  }
  return pictures;
}

/// Like photographs: colored areas that pass into one another, and grain.
std::vector<Pixels> photographs(int count) {
  constexpr int height = 72, width = 96, cell = 24;
  std::vector<Pixels> pictures;
  for (int number = 0; number < count; ++number) {
    const OwnPicture coarse(height / cell + 2, width / cell + 2, 3, static_cast<uint64_t>(1 + number)),
        grain(height, width, 3, static_cast<uint64_t>(10'000 + number));
    Pixels photo(height, width, 3);
    for (int y = 0; y < height; ++y)
      for (int x = 0; x < width; ++x)
        for (int c = 0; c < 3; ++c) {
          const double fy = y % cell / double{cell}, fx = x % cell / double{cell};
          const auto corner = [&](int j, int i) {
            return coarse
                .pixels[static_cast<size_t>(((y / cell + j) * (width / cell + 2) + x / cell + i) * 3 + c)];
          };
          const double smooth = (1 - fy) * ((1 - fx) * corner(0, 0) + fx * corner(0, 1)) +
                                fy * ((1 - fx) * corner(1, 0) + fx * corner(1, 1));
          const double grainy = grain.pixels[static_cast<size_t>((y * width + x) * 3 + c)];
          photo.at(y, x, c) =
              static_cast<uint8_t>(std::lround(std::clamp(smooth + (grainy - 128) / 8, 0.0, 255.0)));
        }
    pictures.push_back(std::move(photo));
  }
  return pictures;
}

void train(const std::string& pictures, const std::string& run, int epochs, int image_size) {
  const Called trained = call(
      formatted("la_train --data {} --run {} --epochs {} --warm-start-epochs {} --image-size {} --network "
                "resnet20 --dim 32 --head "
                "linear-bn --batch 16 --ir-loss softmax --background 0 --clusters 0 --device cpu --threads 2",
                pictures, run, epochs, epochs, image_size));
  REQUIRE_MESSAGE(trained.status == 0, trained.output);
}

struct Found {
  int pairs = 0, right = 0;
  std::set<std::string> copies;
};

CsvTable table_of(const std::string& folder) { return read_csv(folder + "/duplicates.csv"); }

/// A copy is found if its original is in its group; a group of n is n - 1 pairs, right as far as they have one original.
Found score(const CsvTable& table) {
  std::map<std::string, std::vector<std::string>> groups;
  for (const auto& row : table.rows) groups[row[0]].push_back(fs::path(row[1]).filename());
  Found found;
  for (const auto& [group, files] : groups) {
    std::map<std::string, int> of_original;
    for (const std::string& file : files) ++of_original[file.substr(0, 4)];
    found.pairs += static_cast<int>(std::ssize(files)) - 1;
    for (const auto& [original, count] : of_original) found.right += count - 1;
    for (const std::string& file : files)
      if (file[4] == '-' && of_original[file.substr(0, 4)] > 1) found.copies.insert(file);
  }
  return found;
}

}  // namespace

TEST_CASE("la_duplicates finds planted copies among clothes and among photographs") {
  constexpr int copies = 100;
  for (const bool color : {false, true}) {
    CAPTURE(color);
    const TemporaryFolder work;
    const std::string folder = work.file("pictures"), run = work.file("run");
    plant(folder, color ? photographs(400) : fashion_pictures(1000), copies);
    train(folder, run, color ? 10 : 4, color ? 32 : 28);
    // The networks have been trained for some seconds, which more neighbors and a lower threshold make up for.
    const Called called = call(
        formatted("la_duplicates {} {} --device cpu --threads 2 --neighbors 50 --recall 0.998", run, folder));
    REQUIRE_MESSAGE(called.status == 0, called.output);
    CHECK(called.says("have a likeness of at least"));
    const Found found = score(table_of(run + "/duplicates-pictures"));
    INFO(found.copies.size() << " found, " << found.right << " of " << found.pairs << " right");
    CHECK(std::ssize(found.copies) >= 0.95 * copies);
    CHECK(found.right >= 0.95 * found.pairs);
  }
}

namespace {

/// Photographs, some of which are there more than once, in different files.
struct Run {
  TemporaryFolder work;
  std::string folder = work.file("pictures"), run = work.file("run"), out = run + "/duplicates-pictures";

  Run() {
    const std::vector<Pixels> photos = photographs(24);
    fs::create_directories(folder + "/b, \"c\"");
    for (size_t i = 0; i < photos.size(); ++i)
      write_bytes(formatted("{}/{:04}.png", folder, i), png_bytes(photos[i].picture()));
    write_bytes(file("0003 small.jpg"), jpeg_bytes(photos[3].picture(), {.quality = 60}));
    write_bytes(file("0003 <large>.jpg"), jpeg_bytes(photos[3].picture(), {.quality = 100}));
    write_bytes(file("b, \"c\"/0005.jpg"),
                jpeg_bytes(photos[5].picture(), {.quality = 60, .orientation = 1}));
    write_bytes(file("damaged.jpg"), "no picture");
    train(folder, run, 1, 32);
  }
  std::string file(const std::string& name) const { return folder + "/" + name; }
  Called find(const std::string& more = "") const {
    return call(
        formatted("la_duplicates {} {} --device cpu --threads 2 --neighbors 20 {}", run, folder, more));
  }
};

using Lines = std::vector<std::pair<std::string, std::string>>;

/// Files, below the folder, and whether they are kept.
Lines lines_of(const Run& run) {
  Lines lines;
  for (const auto& row : table_of(run.out).rows)
    lines.emplace_back(fs::path(row[1]).lexically_relative(run.folder), row[2]);
  return lines;
}

}  // namespace

TEST_CASE("la_duplicates keeps the file with EXIF data, then the largest, and says what it has found") {
  const Run run;
  const Called found = run.find();
  REQUIRE_MESSAGE(found.status == 0, found.output);
  CHECK(found.says("damaged.jpg: it is no picture"));
  CHECK(found.says("5 of 27 pictures are in 2 groups of copies; without the copies"));
  CHECK(found.says(run.out + ": duplicates.csv and duplicates.html, to look at"));
  const CsvTable table = table_of(run.out);
  CHECK(table.columns ==
        std::vector<std::string>{"group", "file", "keep", "likeness", "bytes", "width", "height", "exif"});
  // The PNG file of a photograph is larger than its JPEG files.
  CHECK(lines_of(run) == Lines{{"0003.png", "yes"},
                               {"0003 <large>.jpg", "no"},
                               {"0003 small.jpg", "no"},
                               {"b, \"c\"/0005.jpg", "yes"},
                               {"0005.png", "no"}});
  for (const auto& row : table.rows) {
    CHECK(std::stoll(row[4]) == static_cast<int64_t>(fs::file_size(row[1])));
    CHECK(row[5] == "96");
    CHECK(row[6] == "72");
    CHECK(row[7] == (row[1].ends_with("0005.jpg") ? "yes" : "no"));
    CHECK(std::stod(row[3]) > 0.99);
    CHECK((row[2] == "yes") <= (std::stod(row[3]) == 1));
  }
  // Nothing is moved, nothing overwritten, unless asked; the same pictures give the same again.
  CHECK(fs::exists(run.file("0003 small.jpg")));
  const std::string before = read_file(run.out + "/duplicates.csv"), copies = run.work.file("copies");
  const Called again = run.find();
  CHECK(again.status == 1);
  CHECK(again.says("duplicates-pictures: is not empty; --force overwrites"));
  const std::string small = read_file(run.file("0003 small.jpg"));
  const Called moved = run.find("--force --move " + copies);
  REQUIRE_MESSAGE(moved.status == 0, moved.output);
  CHECK(moved.says("3 files moved to " + copies));
  CHECK(read_file(run.out + "/duplicates.csv") == before);
  for (const auto& [file, keep] : Lines{{"0003.png", "yes"},
                                        {"0003 <large>.jpg", "no"},
                                        {"0003 small.jpg", "no"},
                                        {"b, \"c\"/0005.jpg", "yes"},
                                        {"0005.png", "no"},
                                        {"0004.png", "yes"}}) {
    CHECK(fs::exists(run.file(file)) == (keep == "yes"));
    CHECK(fs::exists(copies + "/" + file) == (keep == "no"));
  }
  CHECK(read_file(copies + "/0003 small.jpg") == small);
  const Called none = run.find("--force");
  CHECK(none.status == 0);
  CHECK(none.says("None of 24 pictures is a copy of another."));
  CHECK(table_of(run.out).rows.empty());
}

TEST_CASE("la_duplicates moves no link, nothing from elsewhere, and never the last file") {
  const Run run;
  // A link before its target, and a folder from elsewhere with a copy.
  fs::create_symlink(run.file("0007.png"), run.file("0000 link.png"));
  const std::string elsewhere = run.work.file("elsewhere");
  fs::create_directories(elsewhere);
  fs::copy_file(run.file("0008.png"), elsewhere + "/zz.png");
  fs::create_directory_symlink(elsewhere, run.file("linked"));
  const Called moved = run.find("--move " + run.work.file("copies"));
  CHECK(moved.status == 1);
  CHECK_MESSAGE(moved.says("0000 link.png: left where it is: it is a link or has changed"), moved.output);
  CHECK(moved.says("linked/zz.png: left where it is: it is not in"));
  CHECK(moved.says("3 files moved"));
  CHECK(fs::exists(run.file("0000 link.png")));
  CHECK(fs::exists(run.file("0007.png")));
  CHECK(fs::exists(elsewhere + "/zz.png"));
}

TEST_CASE("la_duplicates: pictures that cannot be compared by detail lower no threshold") {
  const Run run;
  const TemporaryFolder others;
  const std::vector<Pixels> photos = photographs(6);
  for (size_t i = 0; i < photos.size(); ++i) {
    const auto panorama = rearranged(photos[i], 12, 96, [](int y, int x) { return std::pair(5 * y, x); });
    write_bytes(others.file(formatted("{}-long.png", i)), png_bytes(panorama.picture()));
    write_bytes(others.file(formatted("{}.png", i)), png_bytes(photos[i].picture()));
    Pixels blank(40, 40, 3);
    std::fill(blank.values.begin(), blank.values.end(), static_cast<uint8_t>(20 * i));
    write_bytes(others.file(formatted("{}-blank.png", i)), png_bytes(blank.picture()));
  }
  const Called found = call(
      formatted("la_duplicates {} {} --device cpu --out {}", run.run, others.path(), run.work.file("x")));
  CHECK_MESSAGE(found.says("None of 18 pictures is a copy of another."), found.output);
}

TEST_CASE("a browser shows the page of la_duplicates") {
  const Run run;
  REQUIRE(run.find().status == 0);
  const std::string page = read_file(run.out + "/duplicates.html");
  CHECK(page.find("0003 &lt;large>.jpg") != std::string::npos);
  if (Browser::program().empty()) {
    MESSAGE("no chromium here: what a browser shows was not tested ('make check-deps' installs it)");
    return;
  }
  const TemporaryFolder profile;
  Browser browser(profile.path());
  for (const int width : {400, 1600})
    for (const bool dark : {false, true}) {
      const Browser::View view{.width = width, .height = 1000, .dark = dark};
      browser.open(run.out + "/duplicates.html", view);
      keep_screenshot(browser, formatted("duplicates-{}-{}", width, dark ? "dark" : "light"));
      check_page(browser, view);
      CHECK(browser.evaluate("document.querySelectorAll('.group').length") == 2);
      CHECK(browser.evaluate("document.querySelectorAll('figure.kept').length") == 2);
      CHECK(browser.evaluate("document.querySelectorAll('figure.copy').length") == 3);
      CHECK(browser.evaluate(
                "[...document.querySelectorAll('.group span')].every(e => e.getAttribute('aria-label') && "
                "getComputedStyle(e).backgroundImage.startsWith('url(\"data:'))") == true);
    }
}

TEST_CASE("la_duplicates refuses what it cannot do in one line") {
  const Run run;
  const auto refused = [&](const std::string& more, int status, const std::string& words) {
    const Called called = run.find(more);
    CHECK(called.status == status);
    CHECK_MESSAGE(called.says(words), called.output);
  };
  refused("--out " + run.file("results"), 1, "expected a folder that is neither in that of the pictures");
  refused("--recall 2", 2, "recall");
  refused("--neighbors 0", 2, "neighbors");
  const TemporaryFolder one;
  write_bytes(one.file("a.png"), png_bytes(OwnPicture(20, 20, 3).picture));
  const Called single =
      call(formatted("la_duplicates {} {} --device cpu --out {}", run.run, one.path(), run.work.file("x")));
  CHECK(single.status == 1);
  CHECK_MESSAGE(single.says("expected at least 2 pictures that can be read"), single.output);
  const Called arrays =
      call(formatted("la_duplicates {} /usr/share/datasets/fashion-mnist --device cpu --move {} --out {}",
                     run.run, run.work.file("y"), run.work.file("x")));
  CHECK(arrays.status == 1);
  refused("--move " + run.folder + "/copies", 1, "expected a folder that is neither in that of the pictures");
  refused("--move " + run.run, 1, "expected a new or an empty folder");
}
