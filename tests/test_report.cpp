// The page of a report: its parts, the program as a user calls it, and the page in a real browser, where there is one.
#include <doctest/doctest.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/page/run_record.h"
#include "apps/page/thumbnails.h"
#include "data/codecs/jpeg_writer.h"
#include "data/decode.h"
#include "tensor/format.h"
#include "tensor/io/files.h"
#include "tests/browser.h"
#include "tests/called_program.h"
#include "tests/own_picture.h"
#include "tests/page_checks.h"
#include "tests/picture_files.h"
#include "tests/temporary_folder.h"
#include "tests/trained_runs.h"

using namespace la;
namespace fs = std::filesystem;

TEST_CASE("a JPEG file of a picture has its pixels, nearly") {
  for (const int channels : {1, 3}) {
    OwnPicture own(40, 24, channels);
    for (size_t i = 0; i < own.pixels.size(); ++i)
      own.pixels[i] = static_cast<uint8_t>(i % own.pixels.size() / (own.pixels.size() / 200 + 1));
    const std::string file = jpeg_of(own.picture, 95);
    const Picture read =
        decode_picture({reinterpret_cast<const uint8_t*>(file.data()), file.size()}, {.gray = channels == 1});
    REQUIRE(read.height == 40);
    REQUIRE(read.width == 24);
    for (size_t i = 0; i < own.pixels.size(); ++i) CHECK(std::abs(int{read.pixels[i]} - own.pixels[i]) <= 8);
  }
}

TEST_CASE(
    "thumbnails lie row by row, each whole in its square, and get smaller where there are more bytes than "
    "may be") {
  const TemporaryFolder folder;
  make_pictures(folder.path(), false);
  const DataSource data = open_data({.path = folder.path(), .max_bad = 1});
  const Thumbnails large = make_thumbnails(*data.train, 10'000'000);
  CHECK(large.cell == 96);
  CHECK(large.columns == 21);
  REQUIRE(large.sheets.size() == 1);
  const std::string& sheet = large.sheets.front();
  const Picture read = decode_picture({reinterpret_cast<const uint8_t*>(sheet.data()), sheet.size()});
  CHECK(read.width == 21 * 96);
  CHECK(read.height == 3 * 96);
  const auto mean = [&](int row, int column) {  // of the middle of a cell
    int64_t sum = 0;
    for (int y = row * 96 + 32; y < row * 96 + 64; ++y)
      for (int x = column * 96 + 32; x < column * 96 + 64; ++x) sum += read.pixels[3 * (y * read.width + x)];
    return static_cast<double>(sum) / (32 * 32);
  };
  CHECK(mean(0, 0) == doctest::Approx(63).epsilon(0.2));   // 0-00.jpg
  CHECK(mean(1, 9) == doctest::Approx(190).epsilon(0.2));  // 1-00.jpg
  CHECK(std::abs(int{read.pixels[3 * (4 * read.width + 48)]} - 128) <
        9);  // above the first, which is wider than high
  const Thumbnails small = make_thumbnails(*data.train, 20'000);
  CHECK(small.cell < large.cell);
  CHECK(small.sheets.front().size() <= 20'000);
}

TEST_CASE("what a run's folder says: plan, results, options and metrics") {
  const TemporaryFolder folder;
  write_text_file(folder.file("log.txt"),
                  "run        runs/a, la_train 1\ndata       some: 3 pictures\n           a note\nraw "
                  "pixels\n  kNN top-1 (k=2): 82.1 %\n"
                  "pictures embedded 5/9, 3/s, 1s left\nIR epoch 1/5 step 19/468 loss 8.1 lr 0.01 174 "
                  "images/s, 28m left\nafter LA\n"
                  "  kNN top-1 (k=2): 90.0 %\n  1-NN top-1: 70.0 %\ndone in 3s\n");
  write_text_file(folder.file("config.toml"),
                  "# Data\ndata = \"/a = b\"\n\nepochs = 5\nclusters = [30, 40]\n# end, CRC-32 0\n");
  write_text_file(folder.file("metrics.jsonl"),
                  "{\"epoch\":0,\"step\":0,\"version\":\"1\"}\n{\"epoch\":0,\"step\":5,\"ir_loss\":2.5}\n{"
                  "\"epoch\":1,\"st");
  const RunRecord run = read_run(folder.path());
  CHECK(run.plan == std::vector<std::string>{"run        runs/a, la_train 1", "data       some: 3 pictures",
                                             "           a note"});
  CHECK(run.results == std::vector<std::string>{"raw pixels", "  kNN top-1 (k=2): 82.1 %", "after LA",
                                                "  kNN top-1 (k=2): 90.0 %", "  1-NN top-1: 70.0 %"});
  const std::vector<std::pair<std::string, std::string>> options{
      {"data", "/a = b"}, {"epochs", "5"}, {"clusters", "[30, 40]"}};
  CHECK(run.options == options);
  CHECK(run.metrics.size() == 2);
  CHECK(run.metrics[1]["ir_loss"] == 2.5);
  write_text_file(folder.file("metrics.jsonl"), "nonsense\n{\"epoch\":0,\"step\":5,\"ir_loss\":2.5}\n");
  CHECK_THROWS_WITH_AS(read_run(folder.path()), doctest::Contains("metrics.jsonl: line 1 is no measurement"),
                       Error);
  CHECK_THROWS_WITH_AS(read_run(folder.file("none")), doctest::Contains("none: is no folder of a run"),
                       Error);
}

TEST_CASE("a report of a run is one file that names no other address; wrong uses are told in a line") {
  const TemporaryFolder pictures, work;
  make_pictures(pictures.path(), true);
  const std::string run = work.file("run"), other = work.file("other");
  train(pictures.path(), run);
  train(pictures.path(), other, "--epochs 1 --learning-rate 0.01");

  const Called made = call("la_report " + run);
  CHECK_MESSAGE(made.status == 0, made.output);
  CHECK(made.says("damaged.jpg"));
  const std::string page = read_file(run + "/report.html");
  for (const char* loads : {"src=\"http", "href=\"http", "url(http", "@import", "fetch("})
    CHECK(page.find(loads) == std::string::npos);
  const nlohmann::json report = report_in(run + "/report.html"), &shown = report["pictures"];
  CHECK(shown["count"] == 2 * of_each);  // without the damaged one
  CHECK(shown["of"] == 2 * of_each + 1);
  CHECK(shown["labelNames"] == nlohmann::json{"bright", "dark & <plain>"});
  CHECK(shown["clusterCount"] == 4);
  CHECK(shown["vectors"] == "the vectors of the memory bank");
  CHECK(call("la_report " + run).status == 0);  // again

  const Called both = call(formatted("la_report {} {} --out {}", run, other, work.file("both.html")));
  CHECK_MESSAGE(both.status == 0, both.output);
  CHECK(report_in(work.file("both.html"))["runs"].size() == 2);
  CHECK(call(formatted("la_report {} --out {}", run, work.file("both.html")))
            .says("exists already; --force overwrites it"));

  const Called table = call(formatted("la_report --table {} {}", run, other));
  CAPTURE(table.output);
  CHECK(table.status == 0);
  CHECK(table.says(
      "| epochs | learning-rate | seeds | pixels | untrained | kNN | kNN of the bank | 1-NN of the bank |"));
  for (const char* protocol :
       {"pixels: kNN top-1 (k=60, tau=0.07, normalized pixels of unit length, leave-one-out over 61",
        "kNN: kNN top-1 (k=60, tau=0.07, train embeddings recomputed, leave-one-out over 61",
        "kNN of the bank: kNN top-1 (k=60, tau=0.07, vectors of the memory bank, ",
        "1-NN of the bank: 1-NN top-1 (nearest vector of the memory bank, "})
    CHECK(table.says(protocol));

  fs::rename(pictures.path(), pictures.path() + "-moved");
  const Called gone = call(formatted("la_report {}", run));
  CHECK(gone.status == 1);
  CHECK(gone.says("--data names where the pictures of the run are now, --no-pictures leaves them out"));
  CHECK(call(formatted("la_report {} --data {}-moved", run, pictures.path())).status == 0);
  CHECK(call(formatted("la_report {} --no-pictures", run)).status == 0);
  CHECK_FALSE(report_in(run + "/report.html").contains("pictures"));
  fs::rename(pictures.path() + "-moved", pictures.path());
  CHECK(call("la_report " + work.file("none")).says("none: is no folder of a run"));
  CHECK(call("la_report").status == 2);
}

TEST_CASE("a browser shows reports, large and small, by day and by night, with and without labels") {
  if (Browser::program().empty()) {
    MESSAGE("no chromium here: what a browser shows was not tested ('make check-deps' installs it)");
    return;
  }
  const TemporaryFolder pictures, unlabeled, work, profile;
  make_pictures(pictures.path(), true);
  make_pictures(unlabeled.path(), false);
  train(pictures.path(), work.file("labeled"));
  train(unlabeled.path(), work.file("unlabeled"));
  REQUIRE(call("la_report " + work.file("labeled")).status == 0);
  REQUIRE(call("la_report " + work.file("unlabeled")).status == 0);
  REQUIRE(call(formatted("la_report {0}/labeled {0}/unlabeled --out {0}/both.html", work.path())).status ==
          0);
  Browser browser(profile.path());

  for (const int width : {400, 1600})
    for (const bool dark : {false, true})
      for (const std::string name : {"labeled/report", "unlabeled/report", "both"}) {
        CAPTURE(name);
        CAPTURE(width);
        CAPTURE(dark);
        const Browser::View view{.width = width, .height = 1000, .dark = dark};
        browser.open(formatted("{}/{}.html", work.path(), name), view);
        keep_screenshot(
            browser, formatted("{}-{}-{}", name.substr(0, name.find('/')), width, dark ? "dark" : "light"));
        check_page(browser, view);
        const bool labeled = name.starts_with("labeled"), has_pictures = name != "both";
        CHECK(count(browser, "#map:not([hidden])") == (has_pictures ? 1 : 0));
        CHECK(count(browser, "#confusion:not([hidden])") == (labeled ? 1 : 0));
        CHECK(count(browser, "#curves figure svg path.series") > 0);
      }

  browser.open(work.file("labeled/report.html"), {});
  // Walking: a neighbor, back, by name, by number.
  CHECK(shown_picture(browser) == "0");
  const std::string nearest = browser.evaluate("String(pictures.neighbors[0])");
  browser.click("#by-embedding .thumb");
  CHECK(shown_picture(browser) == nearest);
  browser.click("#walk-back");
  CHECK(shown_picture(browser) == "0");
  browser.evaluate("find('1-07')");
  CHECK(browser.evaluate(
            "nameOf(Number(document.getElementById('walk').dataset.picture)).endsWith('1-07.jpg')") == true);
  browser.evaluate("find('nothing like that')");
  CHECK(browser.evaluate("document.getElementById('walk-says').textContent.includes('no picture')") == true);
  // Two kinds of noise, dark and bright: by pixels, dark ones are not told from bright ones by direction alone, but some are listed.
  CHECK(browser.evaluate("new Promise(done => setTimeout(() => done(document.querySelectorAll('#by-pixels "
                         ".thumb').length), 0))") == 12);

  // The map: zoom by wheel, by key and by button, all of it again, a click on a point.
  const auto zoom_now = [&] {
    return std::stod(browser.evaluate("(drawNow(), document.querySelector('#map canvas').dataset.zoom)")
                         .get<std::string>());
  };
  CHECK(zoom_now() == 1);
  browser.wheel("#map canvas", -300);
  const double by_wheel = zoom_now();
  CHECK(by_wheel > 1);
  browser.evaluate("document.querySelector('#map canvas').focus()");
  browser.press("+");
  CHECK(zoom_now() > by_wheel);
  const double left = browser.evaluate("view.x");
  browser.press("ArrowRight");
  CHECK(browser.evaluate("view.x") == left - 60);
  browser.press("0");
  CHECK(zoom_now() == 1);
  browser.evaluate(
      "window.aim = (() => { const c = document.querySelector('#map canvas'); return [screenX(5) - "
      "c.clientWidth / 2, screenY(5) - "
      "c.clientHeight / 2]; })()");
  browser.click("#map canvas", browser.evaluate("aim[0]"), browser.evaluate("aim[1]"));
  CHECK(browser.evaluate("Math.hypot(screenX(chosen) - screenX(5), screenY(chosen) - screenY(5)) < 3") ==
        true);
  const auto first_colors = [&] { return browser.evaluate("[...colors.slice(0, 60)]"); };
  const Browser::Json by_label = first_colors();
  browser.evaluate(
      "(() => { const s = document.getElementById('color-by'); s.value = 'distance'; s.dispatchEvent(new "
      "Event('change')); })()");
  CHECK(first_colors() != by_label);
  // Clusters in another order.
  CHECK(count(browser, "#cluster-list .cluster") <= 4);
  check_no_complaints(browser);
}
